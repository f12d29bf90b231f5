"""What a study trains: the common shape of a Lightning trainer and a plain Ray Tune function."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ray.tune import PlacementGroupFactory

from tune_seeds.core.rungs import TO_THE_END


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is told before it starts.

    Attributes:
        checkpoint_epochs: the rungs, where a run may be paused and so has to save its state.
        last_epoch: the epoch after which it is over.
    """

    checkpoint_epochs: frozenset[int]
    last_epoch: int

    def checkpoint_at(self, epoch: int) -> bool:
        """Whether a run saves its state at this epoch."""
        return epoch in self.checkpoint_epochs or epoch == self.last_epoch


@dataclass(frozen=True, slots=True)
class SeededTrainable:
    """A trainable that depends on nothing but its code, its config and its seed.

    Attributes:
        name: how Ray calls it; the same after a restore.
        train: trains one run in the trial's process; ``config["seed"]`` holds the seed.
        resources: of one run's trial, as ``tune.with_resources`` takes them.
        n_workers: how many processes train a run together; ``resources`` has a bundle for each.
        time_attr: the report key that counts progress.
        metric_period: the metric is due at multiples of this many epochs.
        ends_itself: whether it stops by itself at the plan's last epoch.
        max_epochs: the epochs of a full training where that is known.
        pauses: whether a run is meant to go on from the rung where it was paused; otherwise it
            starts from its beginning, as its user has chosen.
        on_gpus: the same with so many GPUs for each worker, where the cluster decides that.
        check: raises a ``ValueError`` for a config that no run could be built from.
        parts: what a run's numbers depend on beside config and seed, by name, for a restore that
            compares it with what it was.
    """

    name: str
    train: Callable[[dict[str, Any], Plan], None]
    resources: Mapping[str, float] | PlacementGroupFactory | None
    time_attr: str
    metric_period: int
    ends_itself: bool
    max_epochs: int | None
    n_workers: int = 1
    pauses: bool = True
    on_gpus: Callable[[float], SeededTrainable] | None = None
    check: Callable[[Mapping[str, Any]], None] | None = None
    parts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def function(self, plan: Plan) -> Callable[[dict[str, Any]], None]:
        """The Ray Tune function that trains a run by a plan."""
        train = self.train

        def run(config: dict[str, Any]) -> None:
            # Ray ends a paused run's thread before it reuses the process, and gives up on the next
            # trial, for good and in silence, if that takes more than two seconds.
            os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = "600"
            for name in ("ray.train", "ray.tune"):
                # A line for each checkpoint of each run would drown what the study says itself.
                logging.getLogger(name).setLevel(logging.WARNING)
            set_plan(plan)
            train(config, plan)

        run.__name__ = run.__qualname__ = self.name
        return run


class _Current:
    """The plan of the run in this process; Ray gives a function no other way to be told."""

    plan = Plan(frozenset(), TO_THE_END)


_current = _Current()


def current_plan() -> Plan:
    """The plan of the run in this process."""
    return _current.plan


def set_plan(plan: Plan) -> None:
    """Tell the run of this process its plan."""
    # A function of the module, not of a closure: Ray pickles a closure together with copies of the
    # globals it names, so setting `_current` from there would reach the copy.
    _current.plan = plan
