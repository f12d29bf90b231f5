from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.fs
import pytest

from tune_seeds.events import (
    EnvironmentRecorded,
    GroupAdded,
    Promoted,
    Reported,
    RunFailed,
    TrialAssigned,
)
from tune_seeds.journal import Journal, decode, encode, identity, plain, read_events
from tune_seeds.ledger import Rung

EVENTS = [
    GroupAdded("g1", {"lr": 1e-3, "sizes": [1, 2], "nested": {"a": None}}),
    TrialAssigned("g1", 47, "abc", "dir"),
    Reported("g1", 47, 1, {"acc": 0.1 + 0.2, "loss": 1e-300}, "dir/checkpoint_000000"),
    Promoted("g1", Rung(3, 2)),
    RunFailed("g1", 47, 'ValueError: "quoted"\nline'),
]


def local(tmp_path: Path) -> tuple[pyarrow.fs.FileSystem, str]:
    return pyarrow.fs.LocalFileSystem(), str(tmp_path)


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
    fs, path = local(tmp_path)
    journal = Journal(fs, path)
    for event in EVENTS:
        journal.append(event)
    journal.close()
    file = tmp_path / "ledger.jsonl"
    file.write_bytes(file.read_bytes()[:-5])
    assert list(read_events(fs, path)) == EVENTS[:-1]
    journal = Journal(fs, path)
    journal.append(EVENTS[0])
    journal.close()
    assert list(read_events(fs, path)) == [*EVENTS[:-1], EVENTS[0]]


def test_events_are_on_disk_before_the_journal_is_closed(tmp_path: Path):
    fs, path = local(tmp_path)
    journal = Journal(fs, path)
    journal.append(EVENTS[0])
    assert list(read_events(fs, path)) == EVENTS[:1]


def test_an_object_store_gets_the_whole_journal(tmp_path: Path):
    # A SubTreeFileSystem is not a LocalFileSystem, so this takes the road without appending.
    fs = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
    fs.create_dir("exp")
    journal = Journal(fs, "exp")
    for event in EVENTS:
        journal.append(event)
    journal.close()
    assert list(read_events(fs, "exp")) == EVENTS
    again = Journal(fs, "exp")
    again.append(EVENTS[0])
    again.close()
    assert list(read_events(fs, "exp")) == [*EVENTS, EVENTS[0]]


def test_no_journal_is_no_events(tmp_path: Path):
    assert list(read_events(*local(tmp_path))) == []


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
