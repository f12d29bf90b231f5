"""Ray's loop as the scheduler meets it, without the processes that train."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import tiny
from ray.train._internal.storage import StorageContext
from ray.tune.experiment import Trial

from tune_seeds.core.ledger import Ledger
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung
from tune_seeds.engine.ray_options import seeded
from tune_seeds.engine.schedule.halving import Halving
from tune_seeds.engine.schedule.scheduler import SeedScheduler
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.race import Race
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.live_study import Study


class Processes:
    """Those of Ray's loop: none here, so none is ever starting."""

    n_taken = 0

    def __init__(self, *args: Any) -> None: ...

    def allow(self, n_slots: int) -> None: ...

    def has_asked(self, trial: Trial) -> bool:
        return False

    def is_starting(self, trial: Trial) -> bool:
        return False


class Controller:
    """Ray's loop as the scheduler meets it: it carries decisions out when it is told to.

    The trials are Ray's own; only the processes that train them are missing.
    """

    def __init__(self, path: Path, *epochs: int) -> None:
        rungs = tuple(Rung(epoch, 1) for epoch in epochs or (1, 2))
        race = Race(
            Ledger((47,), Metric("score", "max")), SuccessiveHalving(rungs, 2, 1), statistics.fmean
        )
        self.study = Study(ExperimentDir.at(path), race)
        trainable = seeded(tiny.walk, Halving("t", max_t=2, grace_period=1, reduction_factor=2))
        self.scheduler = SeedScheduler(self.study, trainable, controlling=Processes)
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
        name = f"checkpoint_{t:06d}"
        return self.report(trial, {"t": t, "score": score, "checkpoint_dir_name": name})

    def report(self, trial: Trial, metrics: dict[str, Any]) -> str:
        return self.scheduler.on_trial_result(self, trial, metrics)
