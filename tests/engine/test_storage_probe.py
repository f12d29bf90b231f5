"""Whether a node sees what the driver writes; ``test_nodes.py`` asks other nodes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tune_seeds.engine import storage_probe
from tune_seeds.store.directory import ExperimentDir


def test_a_file_that_appears_late_is_seen_and_one_that_does_not_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    directory = ExperimentDir.at(tmp_path)
    late = threading.Timer(0.5, (tmp_path / "late").touch)
    late.start()
    assert storage_probe._look(directory, "late")
    late.join()
    monkeypatch.setattr(storage_probe, "_PATIENCE_S", 0.1)
    assert not storage_probe._look(directory, "never")


@pytest.mark.usefixtures("ray_session")
def test_on_one_node_nothing_is_asked_and_nothing_is_left(tmp_path: Path):
    storage_probe.check_shared(ExperimentDir.at(tmp_path), [{"CPU": 1.0}])
    assert list(tmp_path.iterdir()) == []
