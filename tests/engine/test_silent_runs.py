"""A run that hangs is ended after ``epoch_timeout_s``, and harms no other group."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
from ray import tune
from ray.tune.experiment import Trial

from tune_seeds import SeedTuner
from tune_seeds.core.ledger import RunKey
from tune_seeds.engine.schedule.silent_runs import SilentRuns


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


class Killed:
    """Ray's controller as ``SilentRuns`` meets it."""

    def __init__(self) -> None:
        self.trials: list[Any] = []

    def kill(self, trial: Any) -> None:
        self.trials.append(trial)


def test_a_run_is_ended_once_and_only_where_it_trains_without_a_report():
    silent, controller = SilentRuns(10), Killed()
    trains, waits = RunKey("g0001", 47), RunKey("g0002", 47)
    trials: Any = {
        trains: SimpleNamespace(status=Trial.RUNNING),
        waits: SimpleNamespace(status=Trial.PENDING),
    }

    def look(now: float) -> None:
        silent.end_overdue([trains, waits], trials, controller, now)

    for now in (0, 9):
        look(now)
    silent.note_sign_of_life(trains)  # it has reported, so its time begins anew
    for now in (12, 21):
        look(now)
    assert not controller.trials and trains not in silent
    for now in (22, 40):
        look(now)
    assert controller.trials == [trials[trains]] and trains in silent
    assert silent.take_error(trains) == "TimeoutError: no report within epoch_timeout_s=10"
    assert silent.take_error(trains) is None and waits not in silent
