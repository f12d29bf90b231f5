"""Checkpoints go after the events that say so are stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from tune_seeds.core.events import CheckpointDeleted
from tune_seeds.store import deletions, journal
from tune_seeds.store.deletions import Deletions
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.journal import Journal


def test_a_directory_is_deleted_only_once_its_event_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(journal, "SYNC_PERIOD_S", 3600.0)
    monkeypatch.setattr(deletions, "_PERIOD_S", 0.01)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text("w")
    directory = ExperimentDir.at(tmp_path)
    kept = Journal(directory)
    queue = Deletions(directory, kept)
    kept.append(CheckpointDeleted("g0001", 47, 1))
    queue.add("a")
    queue.add("gone already")
    queue._thread.join(0.3)
    assert (tmp_path / "a").exists() and kept.n_stored == 0
    kept.close()
    queue.close()
    assert kept.n_stored == kept.n_appended == 1
    assert not (tmp_path / "a").exists() and (tmp_path / "b").exists()


def test_what_can_not_be_deleted_is_told_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    for name in ("file", "other", "last"):
        (tmp_path / name).touch()
    directory = ExperimentDir.at(tmp_path)
    kept = Journal(directory)
    queue = Deletions(directory, kept)
    for name in ("file", "other"):
        queue.add(name)
    kept.close()
    queue.close()
    assert len(caplog.records) == 1 and "could not be deleted" in caplog.text
