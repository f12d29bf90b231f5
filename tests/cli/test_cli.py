from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.made_up import MadeUp, make, steps

from tune_seeds import SeedResults
from tune_seeds.cli.main import main
from tune_seeds.engine.search import SEARCH_STATE

CONFIGS = [{"x": k, "name": "</script>"} for k in range(9)]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results")
    make(path / "done", MadeUp(CONFIGS, fails=frozenset({(0, 47)})))
    for n, _ in enumerate(steps(path / "left", MadeUp(CONFIGS))):
        if n == 3:
            break
    next(steps(path / "nothing", MadeUp([{"x": 1}], fails=frozenset({(0, 47)}))))
    edited = path / "nothing" / "ledger.jsonl"
    edited.write_bytes(b"".join(edited.read_bytes().splitlines(keepends=True)[:2]))
    (path / "something else").mkdir()
    (path / "broken").mkdir()
    (path / "broken" / "study.json").write_text("{}")
    return path


def test_list_shows_every_experiment_and_nothing_else(storage, capsys):
    assert main(["list", str(storage)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split() for line in lines[1:]}
    assert set(rows) == {"done", "left", "nothing", "broken"}
    assert "can't be read" in " ".join(rows["broken"])
    best = SeedResults(str(storage / "done")).best
    assert rows["done"][-2:] == [best.group, f"{best.score:.5g}"]
    best = SeedResults(str(storage / "left")).best
    assert rows["left"][-2:] == [best.group, f"{best.score:.5g}"]
    assert rows["nothing"][-2:] == ["-", "-"]


def test_show_is_the_table_of_the_results(storage, capsys):
    assert main(["show", str(storage / "done")]) == 0
    assert capsys.readouterr().out.strip() == str(SeedResults(str(storage / "done"))).strip()


def test_best_is_json(storage, capsys):
    assert main(["best", f"file://{storage}/done"]) == 0
    found = json.loads(capsys.readouterr().out)
    best = SeedResults(str(storage / "done")).best
    assert found["config"] == best.config
    assert found["mean"] == best.mean and found["score"] == best.score
    assert found["interval"] == [best.interval.low, best.interval.high]
    assert found["scores"] == {str(seed): score for seed, score in best.scores.items()}
    assert found["complete"] and found["study"].startswith("finished: 9 of 9 configs")


def test_report_writes_what_it_is_asked_for(storage, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(storage / "done")]) == 0
    assert capsys.readouterr().out.strip() == "done.html"
    assert (tmp_path / "done.html").read_text().startswith("<!DOCTYPE html>")
    assert main(["report", str(storage / "done"), "-o", "ranking.md"]) == 0
    assert (tmp_path / "ranking.md").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "nowhere"], "holds no study.json"),
        (["list", "nowhere"], "there is no "),
        (["best", "nothing"], "no config can be called best"),
        (["report", "done", "-o", "report.pdf"], "ends in .html, .md or .tex"),
        (["confirm", "done", "--seeds", "47", "881"], "47"),
        (["confirm", "done", "--trainable", "module"], "MODULE:NAME"),
    ],
)
def test_what_can_not_be_done_is_said_in_a_line(storage, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(storage)
    status = 1 if arguments[0] == "best" else 2  # there is an answer: none is best yet
    if (storage / arguments[1]).exists():
        arguments[1] = str(storage / arguments[1])
    assert main(arguments) == status
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_every_command_begins_its_errors_with_its_name(storage, tmp_path, capsys):
    for command in ("list", "show", "best", "report", "confirm", "repair", "verify", "audit"):
        assert main([command, str(tmp_path / "nowhere")]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines and all(line.startswith("tune-seeds: ") for line in lines), (command, lines)
    for command in ("verify", "audit"):
        assert main([command, str(storage / "done"), "--run", "g0001/0"]) == 2
        assert capsys.readouterr().err.startswith("tune-seeds: no run 'g0001/0'")


@pytest.mark.parametrize("name", ["report.html", "ranking.md", "ranking.tex"])
def test_a_report_makes_no_folder(storage, tmp_path, capsys, name):
    assert main(["report", str(storage / "done"), "-o", str(tmp_path / "new" / name)]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def older(header):
    """As versions wrote it that knew neither policies nor confirmations."""
    return {k: v for k, v in header.items() if k not in ("policy", "confirm_seeds", "confirm_top")}


@pytest.mark.parametrize("command", ["show", "best", "report", "confirm", "verify", "audit"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (older, "study.json lacks confirm_seeds, confirm_top, policy: tune-seeds 0.1.0 wrote it"),
        (lambda h: {**h, "version": "9.1", "workers": 4}, "holds workers: tune-seeds 9.1 wrote it"),
        (lambda h: {**h, "seeds": 5.5}, "study.json is damaged"),
        (lambda h: {**h, "rungs": [[0, 9]]}, "study.json is damaged"),
        (lambda h: [], "study.json lacks"),
        (lambda h: 3, "study.json is damaged"),
    ],
)
def test_a_header_that_is_damaged_or_of_another_version_is_one_line(
    storage, tmp_path, capsys, command, change, message
):
    path = tmp_path / "study"
    shutil.copytree(storage / "done", path, ignore=shutil.ignore_patterns("*tfevents*"))
    header = json.loads((path / "study.json").read_text())
    (path / "study.json").write_text(json.dumps(change(header)))
    assert main([command, str(path)]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert message in error


def damaged(storage: Path, path: Path, line: bytes) -> Path:
    """A copy of the finished study with one line more in its journal."""
    shutil.copytree(storage / "done", path, ignore=shutil.ignore_patterns("*tfevents*"))
    lines = (path / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (path / "ledger.jsonl").write_bytes(b"".join([*lines[:5], line, *lines[5:]]))
    return path


@pytest.mark.parametrize(
    "line",
    [
        b"\x00\x00\n",
        b"\n",
        b"[1]\n",
        b"[" * 100_000 + b"\n",
        b'{"event":"Measured"}\n',
        b'{"event":"Reported","group":"g0001","seed":47,"loss":1}\n',
        b'{"event":"Reported","group":"g0001","seed":47,"epoch":1,"metrics":{"a":"b"},'
        b'"checkpoint":null}\n',
    ],
)
def test_a_damaged_line_is_read_around_and_can_be_repaired(storage, tmp_path, capsys, caplog, line):
    path = damaged(storage, tmp_path / "study", line)
    assert main(["best", str(path)]) == 0
    found = capsys.readouterr().out
    assert "line 6, no event that this version knows" in caplog.text
    assert main(["best", str(storage / "done")]) == 0
    assert json.loads(found)["scores"] == json.loads(capsys.readouterr().out)["scores"]

    old = (path / "ledger.jsonl").read_bytes()
    assert main(["repair", str(path)]) == 0
    assert "1 lines left out, 0 put back; the old journal is kept as" in capsys.readouterr().out
    assert (path / "ledger.damaged-1.jsonl").read_bytes() == old
    assert (path / "ledger.jsonl").read_bytes() == (storage / "done/ledger.jsonl").read_bytes()
    assert main(["repair", str(path)]) == 0
    assert "the journal is whole" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"event":"RunFailed","group":"g0999","seed":47,"error":"?"}\n', "g0999"),
        (b'{"event":"Promoted","group":"g0001","rung":[5,2]}\n', "5x2"),
        (b'{"event":"GroupAdded","group":"g0001","config":{}}\n', "g0001"),
    ],
)
def test_a_journal_that_contradicts_itself_is_one_line(storage, tmp_path, capsys, line, message):
    path = damaged(storage, tmp_path / "study", line)
    assert main(["show", str(path)]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert message in error and "tune-seeds repair" in error
    assert main(["repair", str(path)]) == 0
    assert main(["show", str(path)]) == 0


def test_an_experiment_is_a_directory_of_one(storage, capsys):
    for place in ("done/study.json", "something else", ".", "http://x/y", "s4://bucket/x"):
        where = place if "://" in place else str(storage / place)
        assert main(["show", where]) == 2
        (error,) = capsys.readouterr().err.splitlines()
        assert error.startswith("tune-seeds: ")


def test_it_unpickles_nothing(storage, tmp_path, monkeypatch):
    """A pickle that would be noticed lies where the study's own are."""
    for name in ("study.pkl", SEARCH_STATE, "searcher-state-1.pkl", "trainable.pkl"):
        (storage / "done" / name).write_bytes(b"not a pickle")

    def refuse(*_):
        raise AssertionError("unpickled")

    monkeypatch.setattr("pickle.loads", refuse)
    monkeypatch.setattr("ray.cloudpickle.loads", refuse)
    for command in ("show", "best"):
        assert main([command, str(storage / "done")]) == 0
    assert main(["report", str(storage / "done"), "-o", str(tmp_path / "r.html")]) == 0


def test_help_has_examples_and_every_command(capsys):
    with pytest.raises(SystemExit) as status:
        main(["--help"])
    assert status.value.code == 0
    text = capsys.readouterr().out
    for command in ("list", "show", "best", "report", "confirm", "repair", "verify", "audit"):
        assert command in text
    assert "examples:" in text


@pytest.mark.slow
def test_a_reader_that_leaves_early_is_no_error(storage):
    command = f"{sys.executable} -m tune_seeds.cli.main show {storage}/done | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr
