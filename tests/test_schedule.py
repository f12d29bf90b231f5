from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pyarrow.fs
import pytest
import tiny
from ray.train._internal.storage import StorageContext
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from tune_seeds.layout import seeded
from tune_seeds.ledger import Ledger, Rung, RunKey
from tune_seeds.options import Halving
from tune_seeds.policy import SuccessiveHalving
from tune_seeds.race import Race
from tune_seeds.schedule import SeedScheduler
from tune_seeds.study import Study

pytestmark = pytest.mark.usefixtures("ray_session")  # Ray names a trial's folder after its session


class Controller:
    """Ray's loop as the scheduler meets it: it carries decisions out when it is told to.

    The trials are Ray's own; only the processes that train them are missing.
    """

    def __init__(self, path: Path) -> None:
        rungs = (Rung(1, 1), Rung(2, 1))
        race = Race(Ledger((47,), "score", "max"), SuccessiveHalving(rungs, 2, 1), statistics.fmean)
        self.study = Study(pyarrow.fs.LocalFileSystem(), str(path), race)
        trainable = seeded(tiny.walk, Halving("t", max_t=2, grace_period=1, reduction_factor=2))
        self.scheduler = SeedScheduler(self.study, trainable)
        self.storage = StorageContext(str(path), "experiment")
        self.trials: dict[str, Trial] = {}

    def add(self, group: str) -> Trial:
        config = {**self.study.race.ledger.configs[group], "seed": 47}
        trial = Trial("walk", config=config, trial_id=group, storage=self.storage, stub=True)
        self.trials[group] = trial
        self.scheduler.on_trial_add(self, trial)
        return trial

    def get_trials(self) -> list[Trial]:
        return list(self.trials.values())

    def start_next(self) -> Trial | None:
        trial = self.scheduler.choose_trial_to_run(self)
        if trial is not None:
            trial.set_status(Trial.RUNNING)
        return trial

    def result(self, trial: Trial, t: int, score: float) -> str:
        metrics: dict[str, Any] = {"t": t, "score": score, "checkpoint_dir_name": f"c{t}"}
        return self.scheduler.on_trial_result(self, trial, metrics)


def test_a_run_that_is_promoted_while_its_pause_is_being_saved_gets_its_slot(tmp_path: Path):
    controller = Controller(tmp_path)
    race = controller.study.race
    good, other = (controller.add(race.add_group({"x": x})) for x in (0.5, 0.4))
    assert controller.start_next() is good
    assert controller.start_next() is other
    assert controller.result(good, 1, 0.5) == TrialScheduler.PAUSE
    # Ray saves the pause; until that is done the trial is RUNNING. The other's score promotes it.
    assert controller.result(other, 1, 0.4) == TrialScheduler.PAUSE
    for _ in range(3):  # the first call promotes it, later ones look at what runs
        assert controller.start_next() is None, "its pause is not carried out yet"
    key = RunKey("g0001", 47)
    assert race.groups["g0001"].goal == Rung(2, 1)
    assert race.queue == [key] and key not in race.busy, "it waits; it was not started"
    for trial in (good, other):
        trial.set_status(Trial.PAUSED)
    assert controller.start_next() is good
    assert controller.start_next() is None
    assert race.busy == {key}
    assert controller.result(good, 2, 0.6) == TrialScheduler.STOP
    controller.scheduler.on_trial_complete(controller, good, {})
    race.exhausted = True
    assert race.done
