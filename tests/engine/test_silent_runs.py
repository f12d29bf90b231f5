"""A run that hangs is ended after ``epoch_timeout_s``, and harms no other group."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import tiny
from ray import tune

from tune_seeds import SeedTuner
from tune_seeds.core.ledger import RunKey


def tuner(storage: str, trainable: Any, xs: list[float], **kwargs: Any) -> SeedTuner:
    return SeedTuner(
        trainable,
        seeds=[47],
        param_space={"x": tune.grid_search(xs)},
        tune_config=tune.TuneConfig(metric="score", mode="max"),
        run_config=tune.RunConfig(
            name="silent",
            storage_path=storage,
            failure_config=tune.FailureConfig(max_failures=1),
        ),
        **kwargs,
    )


@pytest.mark.usefixtures("ray_session")
def test_a_run_that_hangs_has_failed_and_is_tried_again_as_any_other(storage: str):
    def hangs(config: dict[str, Any]) -> None:
        """One hangs once, before its first report, and one always, after it."""
        tried = Path(storage).parent / f"tried {config['x']}"
        first = not tried.exists()
        tried.touch()
        if config["x"] == 0.2 and first:
            threading.Event().wait()
        if config["x"] == 0.3:
            tune.report({"score": 99.0})
            threading.Event().wait()
        tiny.walk(config)

    # Time enough for a process to start on a busy machine.
    results = tuner(storage, hangs, [0.1, 0.2, 0.3], epoch_timeout_s=20).fit()
    states = dict(zip(results.groups["group"], results.groups["state"], strict=True))
    assert states == {"g0001": "complete", "g0002": "complete", "g0003": "failed"}
    error = results.ledger[RunKey("g0003", 47)].error
    assert error == "TimeoutError: no report within epoch_timeout_s=20"
    assert len(results.ledger[RunKey("g0002", 47)].curve) == len(
        results.ledger[RunKey("g0001", 47)].curve
    )


@pytest.mark.parametrize("given", [0, -1, "1h", float("nan"), timedelta(0)])
def test_what_is_no_duration_is_refused(given: Any, tmp_path: Path):
    with pytest.raises(ValueError, match="epoch_timeout_s must be a number of seconds above 0"):
        tuner(str(tmp_path), tiny.walk, [0.1], epoch_timeout_s=given)
