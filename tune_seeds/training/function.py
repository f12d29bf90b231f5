"""A plain Ray Tune function as a run, and what it may call to be paused and resumed exactly."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from ray.tune import PlacementGroupFactory
from ray.tune.registry import is_function_trainable

from tune_seeds._compat.ray_tune import function_resources
from tune_seeds.core.checks import takes
from tune_seeds.training.environment import record
from tune_seeds.training.fingerprint import FirstForward
from tune_seeds.training.launchers import alone
from tune_seeds.training.reporting import watch_reports
from tune_seeds.training.seeding import reset_process, rng_state, seed_run, set_rng_state
from tune_seeds.training.trainable import Plan, SeededTrainable, current_plan

_RNG_FILE = "rng_state.pt"


def from_function(function: Callable[[dict[str, Any]], Any], time_attr: str) -> SeededTrainable:
    """Wrap a plain Ray Tune function: seeded before it starts, otherwise left alone.

    Args:
        function: takes a config, reports with ``tune.report``; ``tune.with_resources`` and
            ``tune.with_parameters`` are kept.
        time_attr: the report key that counts progress.

    Raises:
        ValueError: it is no function, or progress is counted in seconds.
    """
    _refuse_modules(function)
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

    takes("the trainable", function, "config")
    if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
        raise ValueError(
            f"the trainable {_name(function)} yields its results or is asynchronous; write a plain "
            "function that calls tune.report"
        )
    resources: Mapping[str, float] | PlacementGroupFactory | None
    resources = function_resources(function)
    cpus, gpus = _share(resources)

    def train(config: dict[str, Any], plan: Plan) -> None:
        reset_process(max(1, int(cpus)))
        device = "cuda" if gpus > 0 else "cpu"
        first = FirstForward()
        watch_reports(
            lambda: {**record(config["seed"], config, device, function), **first.fingerprints}
        )
        seed_run(config["seed"])
        try:
            with alone():
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
        parts={"function": function, "cpus": cpus, "gpus": gpus},
    )


def _refuse_modules(trainable: Any) -> None:
    kind: Any = trainable if isinstance(trainable, type) else type(trainable)
    if not issubclass(kind, torch.nn.Module):
        return
    if any(base.__name__ == "LightningModule" for base in kind.__mro__):
        made = "" if isinstance(trainable, type) else ", the class and not an instance,"
        raise ValueError(
            f"the trainable is the module {kind.__name__}; wrap it in LightningTrainer"
            f"({kind.__name__}, YourDataModule, trainer_kwargs={{...}}){made} so that each run "
            "builds its own"
        )
    raise ValueError(
        f"the trainable is the torch module {kind.__name__}, which does not train itself; give a "
        "function of the config that builds and trains it, or a LightningModule in LightningTrainer"
    )


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _share(resources: Mapping[str, float] | PlacementGroupFactory | None) -> tuple[float, float]:
    """CPUs and GPUs of the process that a function runs in."""
    if isinstance(resources, PlacementGroupFactory):
        bundle = resources.bundles[0]
        return bundle.get("CPU", 1), bundle.get("GPU", 0)
    given = resources or {}
    return given.get("cpu", 1), given.get("gpu", 0)


def should_checkpoint(t: int) -> bool:
    """Whether a plain function should report a checkpoint together with its report at ``t``.

    True at the rungs, where a run may be paused: without a checkpoint there it starts from
    scratch when it goes on. ``t`` is counted in the scheduler's ``time_attr``.
    """
    return current_plan().checkpoint_at(t)


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
