"""Every way in which a study can be left before its end, restored, and left again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray
import tiny
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from tune_seeds import SeedResults, SeedTuner
from tune_seeds.core.ledger import Outcome

pytestmark = pytest.mark.usefixtures("ray_session")

DEADLINE_S = 240


def finish(path: str, trainable, deadline: float) -> SeedResults:
    """Restore a study until it is finished, as its own output says."""
    patience = 1
    while True:
        assert time.monotonic() < deadline, "a restored study does not come to its end"
        tuner = SeedTuner.restore(path, trainable)
        tune_config = tuner._launch.arguments.tune_config
        if tune_config.time_budget_s is not None:
            # On a busy machine processes may take longer to start than the budget is.
            tune_config.time_budget_s *= patience
            patience *= 3
        results = tuner.fit()
        if results.completeness.finished:
            return results


def assert_exact(results: SeedResults) -> None:
    steps = results.ledger.configs["g0001"].get("steps", 4)
    assert (results.groups["state"] == "complete").any()
    for key, run in results.ledger.items():
        config = results.ledger.configs[key.group]
        walked = tiny.walked(config["x"], key.seed, steps)
        assert list(run.curve.values()) == walked[: len(run.curve)]


def test_a_study_left_by_its_time_budget_goes_on_and_may_be_left_again(storage: str):
    deadline = time.monotonic() + DEADLINE_S
    results = SeedTuner(
        tiny.slow_walk,
        seeds=[1, 2],
        param_space={"x": tune.uniform(0, 1), "steps": 32},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=3,
            time_budget_s=10,
            scheduler=ASHAScheduler(time_attr="t", max_t=32, reduction_factor=4),
        ),
        run_config=tune.RunConfig(name="budget", storage_path=storage),
        n_finalists=2,
    ).fit()
    assert "time budget" in str(results.completeness)
    assert_exact(finish(results.path, tiny.slow_walk, deadline))


def test_a_study_left_by_fail_fast_goes_on_and_may_be_left_again(storage: str, tmp_path: Path):
    mended = tmp_path / "mended"

    def breaks(config):
        if config["seed"] == 2 and not mended.exists():
            tune.report({"t": 1, "score": 0.0})
            raise RuntimeError("broken")
        tiny.walk(config)

    deadline = time.monotonic() + DEADLINE_S
    results = SeedTuner(
        breaks,
        seeds=[1, 2],
        param_space={"x": tune.grid_search([0.1, 0.2, 0.3])},
        tune_config=tune.TuneConfig(metric="score", mode="max"),
        run_config=tune.RunConfig(
            name="fast",
            storage_path=storage,
            failure_config=tune.FailureConfig(fail_fast=True),
        ),
    ).fit()
    assert "fail_fast" in str(results.completeness)
    again = SeedTuner.restore(results.path, breaks).fit()
    assert sum(group.lost for group in again.race.groups.values()) > 1, "left by the next failure"
    mended.touch()
    whole = finish(results.path, breaks, deadline)
    outcomes = {run.outcome for run in whole.ledger.values()}
    assert Outcome.COMPLETED in outcomes and None not in outcomes


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_study_left_by_a_signal_goes_on(storage: str, how: signal.Signals):
    environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    script = str(Path(__file__).with_name("killed_driver.py"))
    process = subprocess.Popen([sys.executable, script, storage], env=environment)
    deadline = time.monotonic() + DEADLINE_S
    journal = Path(storage, "killed", "ledger.jsonl")
    try:
        while not journal.exists() or journal.read_bytes().count(b"\n") < 20:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(how)
        process.wait(deadline - time.monotonic())
    finally:
        process.kill()
        process.wait()
    assert_exact(finish(str(journal.parent), tiny.slow_walk, deadline))
