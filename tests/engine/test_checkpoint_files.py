"""The checkpoints of a study on its storage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from tune_seeds import SeedResults, SeedTuner

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.mark.parametrize("keep", ["finalists", "all"])
def test_only_the_checkpoints_that_are_asked_for_stay(storage: str, keep: Any):
    results = SeedTuner(
        tiny.walk,
        seeds=[47, 881],
        param_space={"x": tune.grid_search([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            scheduler=ASHAScheduler(time_attr="t", max_t=4, grace_period=1, reduction_factor=2),
        ),
        run_config=tune.RunConfig(name="kept", storage_path=storage),
        n_finalists=2,
        keep_checkpoints=keep,
    ).fit()
    path = Path(results.path)
    on_disk = {str(found.relative_to(path)) for found in path.glob("*/checkpoint_*")}
    known = {p: key for key, run in results.ledger.items() for p in run.checkpoints.values()}
    assert on_disk == set(known)
    size = sum(f.stat().st_size for folder in on_disk for f in (path / folder).iterdir())
    assert results.checkpoints == (len(on_disk), size)
    assert f"kept: {len(on_disk)} checkpoints" in str(results)
    assert all(Path(p).is_dir() for p in results.best.checkpoint_paths.values() if p)
    if keep == "all":
        assert any(len(run.checkpoints) == 3 for run in results.ledger.values())
    else:
        assert {key.group for key in known.values()} == set(results.race.finalists)
        for folder in on_disk:
            assert json.loads((path / folder / "state.json").read_text())["t"] == 4
    assert SeedResults(results.path).checkpoints == results.checkpoints
