"""The metric and the trainable of a study, from what a user of Ray Tune hands in."""

from __future__ import annotations

from typing import Any

from ray import tune

from tune_seeds._compat.ray_tune import own_metric
from tune_seeds.engine.schedule.halving import Halving
from tune_seeds.training.function import from_function
from tune_seeds.training.lightning_trainer import LightningTrainer
from tune_seeds.training.trainable import SeededTrainable


def read_metric(tune_config: tune.TuneConfig) -> tuple[str, str]:
    """The metric and mode, from the TuneConfig or from the scheduler or searcher.

    Raises:
        ValueError: one is missing or contradicts another, or mode is not min or max.
    """
    found: dict[str, str] = {}
    for name in ("metric", "mode"):
        places = {
            "TuneConfig": getattr(tune_config, name),
            "the scheduler": own_metric(tune_config.scheduler, name),
            "the searcher": own_metric(tune_config.search_alg, name),
        }
        given = {place: value for place, value in places.items() if value}
        if not given:
            raise ValueError(f"{name} is missing: give TuneConfig({name}=...)")
        if len(set(given.values())) > 1:
            said = ", ".join(f"{place} says {value!r}" for place, value in given.items())
            raise ValueError(f"{name} is given differently: {said}")
        found[name] = next(iter(given.values()))
    if found["mode"] not in ("min", "max"):
        raise ValueError(f"mode must be 'min' or 'max', got {found['mode']!r}")
    return found["metric"], found["mode"]


def seeded(trainable: Any, halving: Halving | None) -> SeededTrainable:
    """The common shape of what a user wants to be trained.

    Raises:
        ValueError: it is no trainable, or counts progress otherwise than the scheduler.
    """
    if isinstance(trainable, SeededTrainable):
        return trainable
    if not isinstance(trainable, LightningTrainer):
        return from_function(trainable, halving.time_attr if halving else "training_iteration")
    seeded = trainable.as_trainable(halving.max_t if halving else None)
    if halving and halving.time_attr not in ("training_iteration", seeded.time_attr):
        raise ValueError(
            f"ASHAScheduler(time_attr={halving.time_attr!r}): rungs of Lightning runs are keyed on "
            f"the epoch that the run reports; leave time_attr out or give {seeded.time_attr!r}"
        )
    return seeded
