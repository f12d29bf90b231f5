"""An experiment's directory as SeedTuner leaves it, with made-up curves instead of trainings.

For looking at the views of studies of any size, and with any strings in them, within seconds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tune_seeds.core.jsonable import plain
from tune_seeds.core.ledger import Ledger, RunKey
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung, build_rungs, milestones
from tune_seeds.race.groups import OnSeedFailure
from tune_seeds.race.race import Confirm, Decision, Race
from tune_seeds.statistics.aggregate import get_aggregate
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.live_study import Study
from tune_seeds.store.study_spec import Header
from tune_seeds.views.tensorboard.callback import SeedTBXLoggerCallback


@dataclass(frozen=True)
class MadeUp:
    """What is made up.

    Attributes:
        configs: one dict per config.
        seeds: of the study.
        max_t: epochs of the top rung.
        reduction_factor: η.
        seeds_per_rung: as for ``SeedTuner``.
        metric: its name; higher is better.
        fails: (number of the config, seed) of runs that fail at their second epoch.
        space: the search space; None for one constant per key.
        n_slots: runs that train at a time.
        aggregate: as for ``SeedTuner``.
        on_seed_failure: likewise.
        confirm_seeds: fresh seeds for the two best configs.
        quality: config → the value its runs come near to; None for one by its number.
    """

    configs: Sequence[Mapping[str, Any]]
    seeds: Sequence[int] = (47, 881, 123456789)
    max_t: int = 9
    reduction_factor: float = 3
    seeds_per_rung: str = "ladder"
    metric: str = "val_acc"
    fails: frozenset[tuple[int, int]] = field(default_factory=frozenset[tuple[int, int]])
    space: Mapping[str, Any] | None = None
    n_slots: int = 4
    aggregate: str = "mean"
    on_seed_failure: str = "fail"
    confirm_seeds: Sequence[int] = ()
    quality: Callable[[Mapping[str, Any]], float] | None = None


def make(path: Path, made: MadeUp) -> None:
    """Make it, from beginning to end."""
    deque(steps(path, made), maxlen=0)


def steps(path: Path, made: MadeUp) -> Iterator[Study]:
    """Make it step by step, with the study after each report; TensorBoard is written too."""
    epochs = milestones(made.max_t, 1, made.reduction_factor)
    rungs = build_rungs(epochs, len(made.seeds), made.seeds_per_rung)
    study, board = _open(path, made, rungs)
    race, slots = study.race, {}
    numbers: dict[str, int] = {}
    while True:
        while len(slots) < made.n_slots:
            race.promote_next()
            if not race.queue and len(race.groups) < len(made.configs):
                number = len(race.groups)
                numbers[race.add_group(dict(made.configs[number]))] = number
            elif not race.queue:
                race.exhaust()
                race.promote_next()
            if not race.queue:
                break
            key = race.queue[0]
            race.start(key)
            slots[key] = race.ledger[key].last_epoch
            if race.ledger[key].trial_id is None:
                trial_id = f"{len(study.keys):08x}"
                study.keys[trial_id] = key
                study.trials[key] = trial_id
                race.assign(key, trial_id, f"trial_{trial_id}")
            board.log_trial_start(_trial(path, study, key))
        if not slots:
            break
        key = next(iter(slots))
        slots[key] += 1
        number = numbers[key.group]
        if (number, key.seed) in made.fails and slots[key] == 2:
            del slots[key]
            race.fail(key, "RuntimeError: a made-up failure")
        else:
            metrics = _report(made, number, key.seed, slots[key])
            decision = race.report(key, slots[key], metrics)
            if decision is Decision.CONTINUE:
                slots[key] = slots.pop(key)
            else:
                del slots[key]
            if decision is Decision.FINISH:
                race.complete(key)
        board.log_trial_result(0, _trial(path, study, key), {})
        board.on_step_end(0, [])
        yield study
    board.on_experiment_end([])
    study.journal.close()
    yield study


def _open(path: Path, made: MadeUp, rungs: tuple[Rung, ...]) -> tuple[Study, SeedTBXLoggerCallback]:
    path.mkdir(parents=True)
    header = Header(
        seeds=tuple(made.seeds),
        metric=made.metric,
        mode="max",
        policy="adaptive" if made.seeds_per_rung == "adaptive" else "halving",
        time_attr="epoch",
        rungs=rungs,
        reduction_factor=made.reduction_factor,
        n_finalists=3,
        aggregate=made.aggregate,
        on_seed_failure=made.on_seed_failure,
        confirm_seeds=tuple(made.confirm_seeds),
        confirm_top=2,
        num_samples=len(made.configs),
        search_seed=0,
        param_space=plain(dict(made.space or {})),
        version="0.1.0",
    )
    header.write(ExperimentDir.at(path))
    race = Race(
        Ledger(made.seeds, Metric(made.metric, "max")),
        header.make_policy(),
        get_aggregate(made.aggregate),
        OnSeedFailure(made.on_seed_failure),
        Confirm(tuple(made.confirm_seeds), 2) if made.confirm_seeds else None,
    )
    study = Study(ExperimentDir.at(path), race)
    return study, SeedTBXLoggerCallback(study, made.space or {})


def _trial(path: Path, study: Study, key: RunKey) -> Any:
    return SimpleNamespace(trial_id=study.trials[key], local_experiment_path=str(path))


def _report(made: MadeUp, number: int, seed: int, epoch: int) -> dict[str, float]:
    rng = np.random.default_rng([number, seed])
    config = made.configs[number]
    best = made.quality(config) if made.quality else 0.5 + 0.4 * math.sin(number * 2.4)
    luck = 0.01 * rng.standard_normal()
    noise = 0.01 * np.random.default_rng([number, seed, epoch]).standard_normal()
    value = (best + luck) * (1 - 0.6 * math.exp(-3 * epoch / made.max_t)) + noise
    return {
        made.metric: float(value),
        "train_loss": float(1 - value),
        "epoch": float(epoch),
        "training_iteration": float(epoch),
        "time_total_s": 0.5 * epoch,
    }
