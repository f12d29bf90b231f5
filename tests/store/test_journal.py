from __future__ import annotations

import json
import math
import re
import resource
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow.fs
import pytest

import tune_seeds.store.journal as journal_module
from tune_seeds.core.events import (
    EnvironmentRecorded,
    GroupAdded,
    Promoted,
    Reported,
    RunFailed,
    TrialAssigned,
)
from tune_seeds.core.jsonable import plain
from tune_seeds.core.rungs import Rung
from tune_seeds.store.codec import decode, encode
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.errors import JournalNotStoredError
from tune_seeds.store.identity import identity
from tune_seeds.store.journal import Journal, read_events

EVENTS = [
    GroupAdded("g1", {"lr": 1e-3, "sizes": [1, 2], "nested": {"a": None}}),
    TrialAssigned("g1", 47, "abc", "dir"),
    Reported("g1", 47, 1, {"acc": 0.1 + 0.2, "loss": 1e-300}, "dir/checkpoint_000000"),
    Promoted("g1", Rung(3, 2)),
    RunFailed("g1", 47, 'ValueError: "quoted"\nline'),
]


def local(tmp_path: Path) -> ExperimentDir:
    return ExperimentDir.at(tmp_path)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_what_is_written_reads_equal(event):
    assert decode(encode(event)) == event


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_infinite_metrics_survive_as_standard_json(value: float):
    line = encode(Reported("g1", 1, 1, {"acc": value}, None))
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert decode(line).metrics == {"acc": value}


def test_an_environment_with_any_value_of_a_config_is_standard_json():
    line = encode(EnvironmentRecorded("g1", 47, {"config": {"x": math.nan, "y": [-math.inf]}}))
    assert decode(line).environment == {"config": {"x": "nan", "y": ["-inf"]}}


def test_nan_survives():
    assert math.isnan(decode(encode(Reported("g", 1, 1, {"acc": math.nan}, None))).metrics["acc"])


def test_values_that_json_lacks_are_restored_by_unpickling_only():
    config = {"sizes": (1, 2), "f": int, "x": np.float64(0.5)}
    line = encode(GroupAdded("g1", config))
    assert decode(line, unpickle=True) == GroupAdded("g1", config)
    shown = decode(line).config
    assert shown == {"sizes": [1, 2], "f": repr(int), "x": 0.5}


def test_a_line_cut_by_a_kill_is_dropped_and_not_glued_to(tmp_path: Path):
    directory = local(tmp_path)
    journal = Journal(directory)
    for event in EVENTS:
        journal.append(event)
    journal.close()
    file = tmp_path / "ledger.jsonl"
    file.write_bytes(file.read_bytes()[:-5])
    assert list(read_events(directory)) == EVENTS[:-1]
    journal = Journal(directory)
    journal.append(EVENTS[0])
    journal.close()
    assert list(read_events(directory)) == [*EVENTS[:-1], EVENTS[0]]


def test_events_are_on_disk_before_the_journal_is_closed(tmp_path: Path):
    directory = local(tmp_path)
    journal = Journal(directory)
    journal.append(EVENTS[0])
    assert list(read_events(directory)) == EVENTS[:1]


def test_an_object_store_gets_the_whole_journal(tmp_path: Path):
    # A SubTreeFileSystem is not a LocalFileSystem, so this takes the road without appending.
    fs = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
    directory = ExperimentDir(fs, "exp")
    directory.create()
    journal = Journal(directory)
    for event in EVENTS:
        journal.append(event)
    journal.close()
    assert list(read_events(directory)) == EVENTS
    again = Journal(directory)
    again.append(EVENTS[0])
    again.close()
    assert list(read_events(directory)) == [*EVENTS, EVENTS[0]]


def object_store(tmp_path: Path) -> ExperimentDir:
    fs = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
    directory = ExperimentDir(fs, "exp")
    directory.create()
    return directory


def wait_for(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.01)


def test_an_object_store_gets_what_was_said_last_though_nothing_follows(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "UPLOAD_PERIOD_S", 0.05)
    directory = object_store(tmp_path)
    journal = Journal(directory)
    journal.append(EVENTS[0])
    wait_for(lambda: list(read_events(directory)) == EVENTS[:1])
    journal.append(EVENTS[1])
    wait_for(lambda: list(read_events(directory)) == EVENTS[:2])
    journal.close()


def test_storage_that_fails_for_a_while_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "UPLOAD_PERIOD_S", 0.02)
    monkeypatch.setattr(journal_module, "LONGEST_WAIT_S", 0.05)
    directory = object_store(tmp_path)
    journal = Journal(directory)
    (tmp_path / "exp").rename(tmp_path / "away")
    for event in EVENTS[:3]:
        journal.append(event)
    time.sleep(0.2)
    (tmp_path / "away").rename(tmp_path / "exp")
    wait_for(lambda: list(read_events(directory)) == EVENTS[:3])
    for event in EVENTS[3:]:
        journal.append(event)
    journal.close()
    assert list(read_events(directory)) == EVENTS


def test_what_storage_never_takes_is_said_and_lies_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "UPLOAD_PERIOD_S", 0.02)
    monkeypatch.setattr(journal_module, "PATIENCE_S", 0.1)
    directory = object_store(tmp_path)
    journal = Journal(directory)
    journal.append(EVENTS[0])
    wait_for(lambda: list(read_events(directory)) == EVENTS[:1])
    (tmp_path / "exp").rename(tmp_path / "away")
    journal.append(EVENTS[1])
    with pytest.raises(JournalNotStoredError, match="the last 1 events of exp") as error:
        journal.close()
    copy = Path(re.search(r"The whole journal is (\S+):", str(error.value))[1])
    assert [decode(line) for line in copy.read_bytes().splitlines()] == EVENTS[:2]
    shutil.rmtree(copy.parent)


def test_an_event_that_the_disk_does_not_take_leaves_nothing_behind(tmp_path: Path):
    directory = local(tmp_path)
    journal = Journal(directory)
    journal.append(EVENTS[0])
    size = (tmp_path / "ledger.jsonl").stat().st_size
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, unlimited[1]))
    try:
        with pytest.raises(OSError, match="can't be written"):
            journal.append(EVENTS[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    journal.append(EVENTS[2])
    journal.close()
    assert list(read_events(directory)) == [EVENTS[0], EVENTS[2]]


def test_no_journal_is_no_events(tmp_path: Path):
    assert list(read_events(local(tmp_path))) == []


def test_identity_tells_configs_apart_by_value_and_type_not_by_order():
    assert identity({"a": 1, "b": 2.0}) == identity({"b": 2.0, "a": 1})
    different = [
        {"a": 1},
        {"a": 1.0},
        {"a": True},
        {"a": "1"},
        {"a": [1]},
        {"a": (1,)},
        {"a": None},
    ]
    assert len({identity(config) for config in different}) == len(different)


def test_plain_values():
    assert plain({"a": np.int64(3), 1: (1, float("nan"))}) == {"a": 3, "1": [1, "nan"]}
