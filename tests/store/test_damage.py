"""Journals and headers that were damaged: what is whole is read, and nothing foreign is raised."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from made_study import make_study

from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.rungs import Rung, build_rungs
from tune_seeds.store.codec import decode
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.errors import IntegrityError, UnreadableExperimentError
from tune_seeds.store.journal import read_lines
from tune_seeds.store.live_study import Study
from tune_seeds.store.rebuild.integrity import check_integrity
from tune_seeds.store.rebuild.race import new_race
from tune_seeds.store.rebuild.replay import replay
from tune_seeds.store.rebuild.salvage import replace_journal, salvage
from tune_seeds.store.study_spec import Header
from tune_seeds.testing import Driver

EPOCHS = (1, 3, 9)


def value(config, seed: int, epoch: int) -> float | Exception:
    lr = config.get("lr", 0.0)
    rng = random.Random(f"{lr}/{seed}/{epoch}")
    if rng.random() < 0.004:
        return RuntimeError("planted")
    return lr * (1 - 2**-epoch) + rng.gauss(0, 0.05)


@pytest.fixture(scope="module", params=["adaptive", "ladder", "all"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param) / "study"
    make_study(
        path,
        [{"lr": k / 10} for k in range(9)],
        value,
        rungs=build_rungs(EPOCHS, 3, request.param),
        policy="adaptive" if request.param == "adaptive" else "halving",
        on_seed_failure="drop",
    )
    return path


def with_journal(study: Path, lines: list[bytes]) -> Path:
    path = study.parent / "damaged"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(study, path)
    (path / "ledger.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def mutated(rng: random.Random, line: bytes) -> bytes:
    kind = rng.randrange(5) if line else 2
    if kind == 0:
        return line[: rng.randrange(len(line))]
    if kind == 1:
        place = rng.randrange(len(line))
        return line[:place] + bytes([rng.randrange(256)]).replace(b"\n", b"") + line[place + 1 :]
    if kind == 2:
        return b""
    try:
        record = json.loads(line)
    except ValueError:
        return line  # damaged already
    name = rng.choice(list(record))
    odd = [None, 0, -1, 1.5, 10**30, "g0002", "g0999", [], [1], {}, {"47": "x"}, True, "nan"]
    record[name] = rng.choice(odd)
    return json.dumps(record).encode()


# Not shrunk: the number is all there is to a case.
@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(number=st.integers(0, 10**9), n_mutations=st.integers(1, 4))
@pytest.mark.slow
def test_whatever_is_damaged_the_rest_is_read_and_repaired_and_goes_on(study, number, n_mutations):
    rng = random.Random(number)
    lines = (study / "ledger.jsonl").read_bytes().splitlines()
    lines = lines[: rng.randrange(1, len(lines))]
    for _ in range(n_mutations):
        place = rng.randrange(len(lines))
        if rng.random() < 0.2:
            del lines[place]
            lines = lines or [b""]
        else:
            lines[place] = mutated(rng, lines[place])
    directory = ExperimentDir.at(with_journal(study, lines))
    with contextlib.suppress(IntegrityError):  # every line is whole: left to a repair
        StudyRecord(directory.path)

    header = Header.read(directory)
    found = salvage(new_race(header), *read_lines(directory))
    replace_journal(directory, found)
    race = new_race(header)
    whole, damaged = read_lines(directory)
    assert not damaged
    replay(race, (line.event for line in whole))
    check_integrity(race)
    StudyRecord(directory.path)

    race = new_race(header)
    study_goes_on = Study(directory, race)
    driver = Driver(race, [{"lr": k / 10} for k in range(20)], value, n_slots=2)
    driver.saved.update({k: 0 for k in race.ledger})
    driver.run()
    study_goes_on.journal.close()
    assert race.done
    StudyRecord(directory.path)


HEADER_VALUES = [None, 0, -1, 1.5, float("nan"), 10**30, "max", "", [], [1], [[1, 1]], {}, True]


def test_whatever_is_in_a_header_it_is_read_or_refused_in_our_words(study: Path):
    good = json.loads((study / "study.json").read_text())
    path = with_journal(study, [])
    for name in good:
        for odd in HEADER_VALUES:
            (path / "study.json").write_text(json.dumps({**good, name: odd}))
            try:
                StudyRecord(str(path))
            except UnreadableExperimentError as error:
                assert "study.json" in str(error)


@pytest.mark.parametrize("text", ["", "[" * 100_000, "\x00", "{", "nul", '{"a": 1}'])
def test_a_header_that_is_none_is_refused(study: Path, text: str):
    path = with_journal(study, [])
    (path / "study.json").write_text(text)
    with pytest.raises(UnreadableExperimentError):
        StudyRecord(str(path))


def test_a_header_that_would_take_for_ever_is_refused(study: Path):
    path = with_journal(study, [])
    good = json.loads((path / "study.json").read_text())
    (path / "study.json").write_text(json.dumps({**good, "seeds": list(range(10**6))}))
    with pytest.raises(UnreadableExperimentError, match="1000000 seeds are more than"):
        StudyRecord(str(path))
    (path / "study.json").unlink()
    os.mkfifo(path / "study.json")
    with pytest.raises(OSError, match="is no regular file"):
        StudyRecord(str(path))
    (path / "study.json").unlink()


def test_a_run_whose_report_is_lost_trains_that_epoch_again(tmp_path: Path):
    path = tmp_path / "study"
    configs = [{"lr": k / 10} for k in range(3)]
    make_study(path, configs, lambda c, s, e: c["lr"] + s / e, rungs=(Rung(3, 3),))
    lines = (path / "ledger.jsonl").read_bytes().splitlines()
    events = [decode(line) for line in lines]
    lost = next(k for k, e in enumerate(events) if getattr(e, "epoch", 0) == 2)
    lines[lost] = lines[lost][:10]
    (path / "ledger.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    record = StudyRecord(str(path))
    assert record.damage is not None and "a report after one that is lost" in str(record.damage)
    assert sum(group.heading for group in record.race.groups.values()) == 1
