"""Journals of studies that have grown: read back, damaged, and read around in our own words.

``TUNE_SEEDS_MUTATIONS=5000 pytest tests/store/test_grown_journal.py`` tries as many damages.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
from pathlib import Path

import pytest
from made_study import make_study

from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.events import Grown
from tune_seeds.core.rungs import build_rungs
from tune_seeds.store.codec import decode, encode
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.errors import IntegrityError, UnreadableExperimentError
from tune_seeds.store.live_study import Study
from tune_seeds.store.rebuild.race import new_race
from tune_seeds.store.study_spec import FORMAT, Header
from tune_seeds.testing import Driver
from tune_seeds.views.json_document import to_json
from tune_seeds.views.summary import summary

N_MUTATIONS = int(os.environ.get("TUNE_SEEDS_MUTATIONS", "12"))
ODD = [None, 0, -1, 1.5, 10**30, "g0002", [], [1], [[1, 1]], [1, 1], {}, {"47": "x"}, True, "nan"]


def value(config, seed: int, epoch: int) -> float:
    return config["lr"] * epoch + random.Random(f"{config}/{seed}").gauss(0, 0.1)


@pytest.fixture(scope="module", params=["adaptive", "all"])
def grown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param) / "study"
    kind = request.param
    policy = "adaptive" if kind == "adaptive" else "halving"
    configs = [{"lr": k / 10} for k in range(8)]
    rungs = build_rungs((1, 3), 2, kind)
    make_study(path, configs[:5], value, seeds=(47, 881), rungs=rungs, policy=policy, n_finalists=2)
    steps = [((47, 881), (1, 3)), ((47, 881, 5), (1, 3)), ((47, 881, 5), (1, 3, 9))]
    for seeds, epochs in steps:
        race = new_race(Header.read(ExperimentDir.at(path)))
        study = Study(ExperimentDir.at(path), race)
        laid = build_rungs(epochs, len(seeds), kind)
        race.grow(Grown(seeds, laid, 2, 8, {"max_t": epochs[-1]}, {}, ("module",), "2026-01-01"))
        Driver(
            race, configs, value, on_start=lambda key, race=race: race.assign(key, "t", "d")
        ).run()
        study.journal.close()
        assert race.done
    return path


@pytest.mark.slow
def test_what_was_added_is_read_back_and_said(grown: Path):
    record = StudyRecord(str(grown))
    assert record.header.seeds == (47, 881, 5) and record.begun.seeds == (47, 881)
    assert record.header.rungs[-1].epochs == 9 and record.header.num_samples == 8
    assert len(record.growths) == 3 and len(record.race.groups) == 8
    text = summary(record)
    assert "the seeds 5 added" in text and "epochs 3 to 9" in text and "allowed to: module" in text
    assert json.loads(to_json(record))["study"]["growths"] == record.growth_lines
    for event in record.growths:
        assert decode(encode(event)) == event


def test_an_older_reader_refuses_and_so_does_this_one_of_a_newer_format(grown: Path):
    file = grown.with_name("newer") / "study.json"
    shutil.copytree(grown, file.parent, dirs_exist_ok=True)
    data = json.loads(file.read_text())
    assert data["format"] == FORMAT
    file.write_text(json.dumps({**data, "format": FORMAT + 1}))
    with pytest.raises(UnreadableExperimentError, match="the version that made it"):
        StudyRecord(str(file.parent))
    for name in ("format", "seeds_per_rung", "fingerprint"):
        del data[name]
    file.write_text(json.dumps(data))
    old = StudyRecord(str(file.parent))
    assert old.begun.format == 1 and len(old.growths) == 3


@pytest.mark.slow
def test_however_it_is_damaged_no_foreign_error_comes(grown: Path):
    lines = (grown / "ledger.jsonl").read_bytes().splitlines()
    special = [k for k, line in enumerate(lines) if b'"Grown"' in line]
    path = grown.with_name("damaged")
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(grown, path)
    n_refused = 0
    for number in range(N_MUTATIONS):
        rng = random.Random(number)
        damaged = list(lines)
        place = rng.choice(special) if rng.random() < 0.7 else rng.randrange(len(lines))
        damaged[place] = mutated(rng, damaged[place])
        (path / "ledger.jsonl").write_bytes(b"".join(line + b"\n" for line in damaged))
        try:
            record = StudyRecord(str(path))
            assert summary(record) and to_json(record)
        except IntegrityError:  # every line is whole: left to a repair
            n_refused += 1
    assert n_refused < N_MUTATIONS


def mutated(rng: random.Random, line: bytes) -> bytes:
    kind = rng.randrange(4)
    if kind == 0:
        return line[: rng.randrange(len(line))]
    if kind == 1:
        place = rng.randrange(len(line))
        return line[:place] + bytes([rng.randrange(256)]).replace(b"\n", b"") + line[place + 1 :]
    record = json.loads(line)
    record[rng.choice(list(record))] = rng.choice(ODD)
    return json.dumps(record).encode()


def test_a_growth_with_too_many_seeds_is_damage(grown: Path):
    event = StudyRecord(str(grown)).growths[0]
    huge = dataclasses.replace(event, seeds=tuple(range(10_001)))
    with pytest.raises(ValueError, match="10001 seeds"):
        decode(encode(huge))
