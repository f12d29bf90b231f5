"""The small form of the migrated study."""

from __future__ import annotations

from pathlib import Path

import migrate_from_ray as script
import pytest


@pytest.mark.usefixtures("ray_session")
def test_what_the_old_script_did_is_kept(storage: str, capsys: pytest.CaptureFixture[str]):
    arguments = ["--storage-path", storage, "--name", "migrated", "--train-size", "200"]
    arguments += ["--num-configs", "2", "--epochs", "3", "--seeds", "47", "881"]
    results = script.main(arguments)
    assert results.header.metric == "ptl/val_accuracy" and len(results) == 2
    best = results.best
    assert "dropout" not in best.config, "what has a default stays out of the space"
    assert [len(files) for files in best.model_checkpoints.values()] == [2, 2]
    folder = Path(storage, "migrated-lightning", best.group)
    assert {path.name for path in folder.iterdir()} == {"seed-47", "seed-881"}
    shown = capsys.readouterr().out
    assert "mean of 2 seeds' predictions: 0." in shown
