"""Every slot trains, and each keeps its process."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from ray import tune

from tune_seeds import SeedTuner


@pytest.mark.usefixtures("ray_session")
def test_short_runs_train_in_one_process_for_each_slot(storage: str):
    def short(config: dict[str, Any]) -> None:
        """A run that is far shorter than the start of a process."""
        time.sleep(0.2)
        tune.report({"score": config["x"], "process": os.getpid(), "began": time.time()})

    results = SeedTuner(
        short,
        seeds=[1, 2],
        # Enough of them that the second process is up before the first has trained all.
        param_space={"x": tune.grid_search(list(range(60)))},
        tune_config=tune.TuneConfig(metric="score", mode="max"),
        run_config=tune.RunConfig(name="short", storage_path=storage),
    ).fit()
    reports = [run.reports[1] for run in results.ledger.values()]
    assert len(reports) == 120
    processes = [report["process"] for report in reports]
    assert len(set(processes)) == 2, "as many as there are slots, and none was started to be killed"
    assert min(processes.count(process) for process in set(processes)) >= 5
