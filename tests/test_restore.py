from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import ray
import tiny
from pictures.board import board
from ray import tune

from tune_seeds import SeedResults, SeedTuner
from tune_seeds.core.events import GroupAdded, Reported, RunCompleted
from tune_seeds.core.ledger import Outcome
from tune_seeds.engine.search import SEARCH_STATE
from tune_seeds.engine.search_feedback import lessons
from tune_seeds.store.codec import decode

pytestmark = pytest.mark.usefixtures("ray_session")


def kill_after(storage: str, n_events: int) -> Path:
    """Start a study in another process and SIGKILL it once its journal has some events."""
    environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    script = str(Path(__file__).with_name("killed_driver.py"))
    process = subprocess.Popen(
        [sys.executable, script, storage],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    journal = Path(storage, "killed", "ledger.jsonl")
    deadline = time.monotonic() + 120
    while not journal.exists() or journal.read_bytes().count(b"\n") < n_events:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(process.communicate()[0])
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return journal


def events(journal: Path) -> list:
    return [decode(line) for line in journal.read_bytes().splitlines()]


@pytest.mark.versions
@pytest.mark.parametrize("n_events", [1, 30, 60])
def test_a_killed_study_goes_on_and_loses_nothing(storage: str, n_events: int):
    journal = kill_after(storage, n_events)
    before = events(journal)
    path = str(journal.parent)
    left = SeedResults(path)
    assert f"left before its end: {len(left.race.groups)} of 6 configs started" in str(left)
    if left.leader is not None:
        row = left.groups.iloc[0]
        assert (left.best.group, left.best.score) == (row["group"], row["score"])
        assert left.best.complete == (row["state"] == "complete")
    assert SeedTuner.can_restore(path)
    results = SeedTuner.restore(path, tiny.slow_walk).fit()

    assert results.completeness.finished and "configs started" not in str(results)
    after = events(journal)
    assert after[: len(before)] == before
    assert len(results.groups) == 6
    assert (results.groups["state"] == "complete").sum() >= 2
    for key, run in results.ledger.items():
        expected = tiny.walked(results.ledger.configs[key.group]["x"], key.seed, len(run.curve))
        assert list(run.curve.values()) == expected

    groups = [event.config["x"] for event in after if isinstance(event, GroupAdded)]
    assert len(set(groups)) == 6, "no config is suggested twice, none is forgotten"
    ended = {(e.group, e.seed) for e in before if isinstance(e, RunCompleted)}
    again = {(e.group, e.seed) for e in after[len(before) :] if isinstance(e, Reported)}
    assert not ended & again, "a finished run is not repeated"
    reports = Counter((e.group, e.seed, e.epoch) for e in after if isinstance(e, Reported))
    repeated = [key for key, n in reports.items() if n > 1]
    assert len(repeated) <= 2 * 2, "the two running runs repeat what followed their last checkpoint"
    state = pickle.loads(Path(path, SEARCH_STATE).read_bytes())
    told = pickle.loads(state["inner"])["_hpopt_trials"].trials
    assert {(doc["misc"]["vals"]["x"][0], -doc["result"]["loss"]) for doc in told} == {
        (results.ledger.configs[group]["x"], lesson.value)
        for group, lesson in lessons(results.race).items()
    }


def test_a_finished_study_restores_to_the_same_results(storage: str, tmp_path: Path):
    tuner = SeedTuner(
        tiny.walk,
        seeds=[1, 2],
        param_space={"x": tune.grid_search([0.1, 0.2])},
        tune_config=tune.TuneConfig(metric="score", mode="max"),
        run_config=tune.RunConfig(name="done", storage_path=storage),
    )
    results = tuner.fit()
    moved = str(tmp_path / "moved")
    shutil.move(results.path, moved)
    again = SeedTuner.restore(moved, tiny.walk).fit()
    assert again.best.scores == results.best.scores
    assert SeedResults(moved).groups.equals(results.groups)


@pytest.mark.versions
@pytest.mark.parametrize("how", ["resume_errored", "restart_errored"])
def test_failed_runs_are_tried_again_on_request(storage: str, tmp_path: Path, how: str):
    repaired = tmp_path / "repaired"

    def breaks(config):
        if config["seed"] == 2 and not repaired.exists():
            raise RuntimeError("broken")
        tiny.walk(config)

    results = SeedTuner(
        breaks,
        seeds=[1, 2],
        param_space={"x": tune.grid_search([0.1, 0.2])},
        tune_config=tune.TuneConfig(metric="score", mode="max"),
        run_config=tune.RunConfig(name="broken", storage_path=storage),
    ).fit()
    assert (results.groups["state"] == "failed").all()
    left = SeedTuner.restore(results.path, breaks).fit()
    assert (left.groups["state"] == "failed").all(), "not unless asked for"
    repaired.touch()
    # A page that is open meanwhile sees it too.
    with board(results.path, "--reload_interval", "1") as server:
        failed = {row["name"]: row for row in server.wait_for_rows(2)}
        assert [_statuses(row) for row in failed.values()] == [{"STATUS_FAILURE"}] * 2
        mended = SeedTuner.restore(results.path, breaks, **{how: True}).fit()
        deadline = time.monotonic() + 60
        while True:
            rows = {row["name"]: row for row in server.rows()}
            whole = [row for row in rows.values() if _statuses(row) == {"STATUS_SUCCESS"}]
            if len(whole) == 2 or time.monotonic() > deadline:
                break
            time.sleep(0.5)
    assert set(rows) == set(failed) and len(whole) == 2
    for name, row in rows.items():
        assert row["metrics"]["failed"] == 0 and row["metrics"]["seeds"] == 2
        assert len(row["sessions"]) == 3
        mean = mended.groups.set_index("group")["mean"][name]
        assert row["metrics"]["score"] == pytest.approx(mean, abs=1e-6)
    assert (mended.groups["state"] == "complete").all()
    assert mended.best.config == {"x": 0.2}
    assert all(run.outcome is Outcome.COMPLETED for run in mended.ledger.values())


def _statuses(row: dict) -> set[str]:
    return set(row["sessions"].values())


def test_what_cannot_be_restored_says_so(storage: str, tmp_path: Path):
    assert not SeedTuner.can_restore(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="not the directory of an experiment"):
        SeedTuner.restore(str(tmp_path), tiny.walk)
