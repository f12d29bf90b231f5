"""How far runs train, read from a scheduler or a policy: as arguments of halving, and as rungs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, create_scheduler

from tune_seeds._compat.ray_tune import asha_arguments
from tune_seeds.core.rungs import TO_THE_END, Rung, build_rungs, milestones
from tune_seeds.policies.base import Policy
from tune_seeds.training.steps import STEP, step_without_metric
from tune_seeds.training.trainable import SeededTrainable

_NO_MEANING = {
    "HyperBandScheduler": "it waits for whole brackets of single trials",
    "HyperBandForBOHB": "it waits for whole brackets of single trials",
    "MedianStoppingRule": "it compares single runs, and would stop one seed of a group alone",
    "PopulationBasedTraining": "it changes the config of a running trial, so no config has seeds",
    "PopulationBasedTrainingReplay": "it changes the config of a running trial",
    "PB2": "it changes the config of a running trial, so no config has seeds",
    "ResourceChangingScheduler": "it changes a run's resources, and with them its bits",
}

#: η where no scheduler says otherwise; it is Ray's own default.
ETA = 4.0


@dataclass(frozen=True, slots=True)
class Halving:
    """The arguments of Ray's ``ASHAScheduler`` that are carried out over groups."""

    time_attr: str
    max_t: int
    grace_period: int
    reduction_factor: float


def read_scheduler(scheduler: Any) -> Halving | None:
    """The meaning of a Ray scheduler over groups; None where every run goes to its end.

    Raises:
        ValueError: it has no meaning over groups; the message says why.
    """
    if isinstance(scheduler, str):
        scheduler = create_scheduler(scheduler)
    if scheduler is None or type(scheduler) is FIFOScheduler:
        return None
    if not isinstance(scheduler, AsyncHyperBandScheduler):
        name = type(scheduler).__name__
        why = _NO_MEANING.get(name, "it decides on single trials, without their group")
        raise ValueError(
            f"scheduler {name} can't be carried out over groups of seeds: {why}; use ASHAScheduler "
            "or none"
        )
    given = asha_arguments(scheduler)
    if given.n_brackets != 1:
        raise ValueError(
            f"ASHAScheduler(brackets={given.n_brackets}) puts trials into brackets at random, and "
            "groups of different brackets can't be compared; use brackets=1"
        )
    if not given.stop_last_trials:
        raise ValueError("ASHAScheduler(stop_last_trials=False): runs end at max_t; raise max_t")
    return Halving(
        time_attr=given.time_attr,
        max_t=_whole("max_t", given.max_t),
        grace_period=_whole("grace_period", given.grace_period),
        reduction_factor=given.reduction_factor,
    )


def as_halving(policy: Policy, scheduler: Any) -> Halving | None:
    """What a policy of the user's says of how far runs train, in place of a scheduler.

    Raises:
        ValueError: there is a scheduler too.
    """
    if read_scheduler(scheduler) is not None:
        raise ValueError(
            "a policy as seeds_per_rung lays the rungs by itself, so the arguments of the "
            f"{type(scheduler).__name__} would have no effect; leave the scheduler out"
        )
    first, last = policy.rungs[0], policy.rungs[-1]
    if last.epochs == TO_THE_END:
        return None
    return Halving("training_iteration", last.epochs, first.epochs, ETA)


def lay_rungs(
    trainable: SeededTrainable,
    halving: Halving | None,
    n_seeds: int,
    seeds_per_rung: str | Sequence[int] | Policy,
) -> tuple[Rung, ...]:
    """The rungs of a study; without a scheduler the one rung of every epoch on every seed.

    A policy of the user's has its own.

    Raises:
        ValueError: the seeds per rung don't fit, or a rung falls between two validations.
    """
    if not isinstance(seeds_per_rung, (str, Sequence)):
        rungs = tuple(seeds_per_rung.rungs)
    elif halving is None:
        if not isinstance(seeds_per_rung, str):
            raise ValueError(
                "seeds_per_rung needs a scheduler: without one there is one rung, every run to its "
                "end on every seed"
            )
        end = TO_THE_END if trainable.max_epochs is None else trainable.max_epochs
        rungs = build_rungs([end], n_seeds, "all")
    else:
        epochs = milestones(halving.max_t, halving.grace_period, halving.reduction_factor)
        rungs = build_rungs(epochs, n_seeds, seeds_per_rung)
    period = trainable.metric_period
    for rung in rungs:
        if rung.epochs != TO_THE_END and rung.epochs % period:
            if trainable.time_attr == STEP:
                raise ValueError(step_without_metric(rung.epochs, period))
            raise ValueError(
                f"the rung at epoch {rung.epochs} has no metric: check_val_every_n_epoch={period} "
                f"validates at multiples of {period} only; choose grace_period, reduction_factor "
                "and max_t (or max_epochs) to fall on those"
            )
    return rungs


def _whole(name: str, value: float) -> int:
    if value != int(value):
        raise ValueError(f"ASHAScheduler({name}={value}) must be a whole number of epochs")
    return int(value)
