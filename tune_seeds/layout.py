"""From what a user hands in to the rungs of a study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tune_seeds.ledger import TO_THE_END, Rung
from tune_seeds.lightning import LightningTrainer
from tune_seeds.options import Halving
from tune_seeds.rungs import build_rungs, milestones
from tune_seeds.trainable import SeededTrainable, from_function


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


def lay_rungs(
    trainable: SeededTrainable,
    halving: Halving | None,
    n_seeds: int,
    seeds_per_rung: str | Sequence[int],
) -> tuple[Rung, ...]:
    """The rungs of a study; without a scheduler the one rung of every epoch on every seed.

    Raises:
        ValueError: the seeds per rung don't fit, or a rung falls between two validations.
    """
    if halving is None:
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
            raise ValueError(
                f"the rung at epoch {rung.epochs} has no metric: check_val_every_n_epoch={period} "
                f"validates at multiples of {period} only; choose grace_period, reduction_factor "
                "and max_t (or max_epochs) to fall on those"
            )
    return rungs
