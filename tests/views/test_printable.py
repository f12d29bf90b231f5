"""Nothing that comes from an experiment reaches a terminal, a page or a table raw."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from made_study import make_study

from tune_seeds import SeedResults
from tune_seeds.cli.main import main
from tune_seeds.core.printable import in_one_line, printable

EVIL = "\x1b[2J\x1b]0;owned\x07 \x9b31m \r\x08\x00 \u202egnp.exe \u2066"
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A study with evil names, values and errors."""

    def train(config, seed: int, epoch: int) -> float | Exception:
        number = config["number"]
        return RuntimeError(f"bad {EVIL}") if number == 2 else number + seed / 1e10

    configs = [{"number": k, f"key{EVIL}": f"value{EVIL}{k}"} for k in range(4)]
    return make_study(tmp_path_factory.mktemp("evil") / "study", configs, train)


def test_what_is_obeyed_is_in_words():
    assert printable(EVIL).startswith("\\x1b[2J\\x1b]0;owned\\x07 \\x9b31m")
    assert printable("ä 漢 é\n\tline … ± η") == "ä 漢 é\n\tline … ± η"
    assert in_one_line("a\nb\tc\x1b") == "a\\nb\\tc\\x1b"


def test_a_summary_and_a_notebook_show_nothing_raw(evil: str):
    results = SeedResults(evil)
    for text in (str(results), results._repr_html_(), results.to_json()):
        assert "owned" in text and not OBEYED.search(text)


@pytest.mark.parametrize("ending", ["html", "md", "tex"])
def test_a_report_shows_nothing_raw(evil: str, tmp_path: Path, ending: str):
    text = SeedResults(evil).report(tmp_path / f"report.{ending}").read_text()
    # Plotly's own code holds such characters; changed, it would not match its hash and not run.
    words, *scripts = text.split("<script>")
    assert "owned" in words and not OBEYED.search(words)
    assert len(scripts) == (2 if ending == "html" else 0)
    assert not any(OBEYED.search(script) for script in scripts[1:])  # the study's data


def test_a_command_shows_nothing_raw(evil: str, capsys: pytest.CaptureFixture[str]):
    storage = str(Path(evil).parent)
    for command in (["show", evil], ["best", evil], ["list", storage], ["show", f"/no/{EVIL[:4]}"]):
        main(command)
        out, err = capsys.readouterr()
        assert (out or err) and not OBEYED.search(out + err)
