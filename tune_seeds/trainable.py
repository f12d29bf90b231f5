"""What a study trains: the common shape of a Lightning trainer and a plain Ray Tune function."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ray.tune import PlacementGroupFactory
from ray.tune.registry import is_function_trainable

from tune_seeds.environment import record
from tune_seeds.first_forward import FirstForward
from tune_seeds.ledger import TO_THE_END
from tune_seeds.reporting import report_environment
from tune_seeds.seeding import reset_process, rng_state, seed_run, set_rng_state

_RNG_FILE = "rng_state.pt"


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
        workers: what the trial asks of Ray beside that, while it trains: a bundle for each worker.
        time_attr: the report key that counts progress.
        metric_period: the metric is due at multiples of this many epochs.
        ends_itself: whether it stops by itself at the plan's last epoch.
        max_epochs: the epochs of a full training where that is known.
    """

    name: str
    train: Callable[[dict[str, Any], Plan], None]
    resources: Mapping[str, float] | PlacementGroupFactory | None
    time_attr: str
    metric_period: int
    ends_itself: bool
    max_epochs: int | None
    workers: tuple[dict[str, float], ...] = ()

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


def from_function(function: Callable[[dict[str, Any]], Any], time_attr: str) -> SeededTrainable:
    """Wrap a plain Ray Tune function: seeded before it starts, otherwise left alone.

    Args:
        function: takes a config, reports with ``tune.report``; ``tune.with_resources`` and
            ``tune.with_parameters`` are kept.
        time_attr: the report key that counts progress.

    Raises:
        ValueError: it is no function, or progress is counted in seconds.
    """
    if not callable(function) or not is_function_trainable(function):
        raise ValueError(
            f"the trainable must be a LightningTrainer or a function of the config, got "
            f"{function!r}; a Trainable class has no seeding point before its setup: write it as a "
            "function"
        )
    if time_attr.startswith("time_"):
        raise ValueError(
            f"time_attr={time_attr!r} counts seconds, which differ between the seeds of a group; "
            "count epochs or steps, for instance time_attr='training_iteration'"
        )

    resources: Mapping[str, float] | PlacementGroupFactory | None
    resources = getattr(function, "_resources", None)
    cpus, gpus = _share(resources)

    def train(config: dict[str, Any], plan: Plan) -> None:
        reset_process(max(1, int(cpus)))
        device = "cuda" if gpus > 0 else "cpu"
        first = FirstForward()
        report_environment(
            lambda: {**record(config["seed"], config, device, function), **first.fingerprints}
        )
        seed_run(config["seed"])
        try:
            return function(config)
        finally:
            first.close()

    return SeededTrainable(
        name=getattr(function, "__name__", "function"),
        train=train,
        resources=resources,
        time_attr=time_attr,
        metric_period=1,
        ends_itself=False,
        max_epochs=None,
    )


def _share(resources: Mapping[str, float] | PlacementGroupFactory | None) -> tuple[float, float]:
    """CPUs and GPUs of the process that a function runs in."""
    if isinstance(resources, PlacementGroupFactory):
        bundle = resources.bundles[0]
        return bundle.get("CPU", 1), bundle.get("GPU", 0)
    given = resources or {}
    return given.get("cpu", 1), given.get("gpu", 0)


class _Current:
    """The plan of the run in this process; Ray gives a function no other way to be told."""

    plan = Plan(frozenset(), TO_THE_END)


_current = _Current()


def set_plan(plan: Plan) -> None:
    """Tell the run of this process its plan."""
    # A function of the module, not of a closure: Ray pickles a closure together with copies of the
    # globals it names, so setting `_current` from there would reach the copy.
    _current.plan = plan


def should_checkpoint(t: int) -> bool:
    """Whether a plain function should report a checkpoint together with its report at ``t``.

    True at the rungs, where a run may be paused: without a checkpoint there it starts from
    scratch when it goes on. ``t`` is counted in the scheduler's ``time_attr``.
    """
    return _current.plan.checkpoint_at(t)


def save_rng_state(checkpoint_dir: str | Path) -> None:
    """Save the states of the global random generators into a checkpoint directory.

    Call it where the checkpoint is made; with ``load_rng_state`` a resumed function draws the
    numbers that it would have drawn without the pause.
    """
    torch.save(rng_state(), Path(checkpoint_dir) / _RNG_FILE)


def load_rng_state(checkpoint_dir: str | Path) -> None:
    """Put back what ``save_rng_state`` saved.

    Call it right before training goes on, after everything that draws numbers at the start.

    Raises:
        FileNotFoundError: the checkpoint was made without ``save_rng_state``.
    """
    set_rng_state(torch.load(Path(checkpoint_dir) / _RNG_FILE, weights_only=True))
