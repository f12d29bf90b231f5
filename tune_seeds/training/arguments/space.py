"""Whether runs can be built from a search space, and report where they are compared."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning import LightningDataModule, LightningModule

from tune_seeds.training.arguments.builders import check_kind, name_of
from tune_seeds.training.arguments.early_ends import check_callbacks, refuse_early_ends
from tune_seeds.training.arguments.timing import check_timing, metric_period, possible_values
from tune_seeds.training.arguments.trainer_kwargs import FIXED, OURS
from tune_seeds.training.config_routing import RESERVED, route
from tune_seeds.training.fit import as_list
from tune_seeds.training.seeding import rng_state, set_rng_state
from tune_seeds.training.steps import check_steps_space, counts_steps

logger = logging.getLogger(__name__)

#: What takes the keys of a config: prefix (``model``, ``data``, ``trainer``) → constructor.
Targets = Mapping[str, Callable[..., Any]]


def check_space(space: Mapping[str, Any], targets: Targets, *, complete: bool) -> None:
    """Refuse a search space that a run could not be built from.

    Args:
        space: domains and constants by key; or one config.
        targets: what takes its keys.
        complete: whether it names everything that a config will; not where the searcher has a
            space of its own.

    Raises:
        ValueError: a key that nothing takes or several take, one that must not be searched, or a
            parameter without a default that the space leaves out.
    """
    routed = route(space, targets)
    for name in (*FIXED, *OURS):
        if name in routed["trainer"]:
            why = OURS.get(name, "it belongs into trainer_kwargs, the same for every config")
            raise ValueError(f"the trainer's {name!r} can't be in param_space: {why}")
    for prefix, target in targets.items():
        if prefix == "trainer" or not complete:
            continue
        for parameter in inspect.signature(target).parameters.values():
            required = parameter.default is parameter.empty and parameter.kind in (
                parameter.POSITIONAL_OR_KEYWORD,
                parameter.KEYWORD_ONLY,
            )
            if required and parameter.name not in {*routed[prefix], *RESERVED}:
                raise ValueError(
                    f"{name_of(target)} needs {parameter.name!r}, which has no default; put it "
                    "into param_space, as a constant or to be searched"
                )


def check_space_at_rungs(
    space: Mapping[str, Any],
    targets: Targets,
    trainer_kwargs: Mapping[str, Any],
    epochs: Sequence[int],
    metric: str,
) -> None:
    """Refuse trainer arguments, given or searched, that contradict the rungs.

    Args:
        space: the search space.
        targets: what takes its keys.
        trainer_kwargs: the arguments that are the same for every config.
        epochs: of the rungs.
        metric: what is tuned.

    Raises:
        ValueError: names the argument and where it stands.
    """
    if counts_steps(trainer_kwargs):
        routed = route(space, targets)["trainer"]
        check_steps_space(routed, metric, trainer_kwargs)
        return
    check_timing(trainer_kwargs, "trainer_kwargs", epochs)
    if trainer_kwargs.get("limit_val_batches") == 0 and "val" in metric:
        raise ValueError(
            f"limit_val_batches=0 in trainer_kwargs leaves out validation, where {metric!r} "
            "is logged"
        )
    for name, value in route(space, targets)["trainer"].items():
        for one in possible_values(name, value):
            check_timing({name: one}, "param_space", epochs)
            if name == "check_val_every_n_epoch" and one != metric_period(trainer_kwargs):
                raise ValueError(
                    f"check_val_every_n_epoch={one!r} in param_space: configs are compared at "
                    "equal epochs, so all of them validate at the same; give it in "
                    "trainer_kwargs"
                )
            if name == "limit_val_batches" and one == 0:
                raise ValueError(
                    "limit_val_batches=0 in param_space leaves out validation of some configs"
                )


def try_build(
    config: Mapping[str, Any],
    targets: Targets,
    datamodule: Callable[..., LightningDataModule] | None,
    callbacks: Any,
) -> None:
    """Build one config's module and data module in this process, and look at what only they show.

    Nothing is trained, and the global random generators are left as they were. What can't be built
    here (its data may be on the workers' machines only) is left to the runs.

    Args:
        config: hyperparameters, and the run's ``seed``.
        targets: what takes its keys.
        datamodule: builds the data module; None where a run has loaders.
        callbacks: of the trainer's arguments.

    Raises:
        ValueError: a callback of the module's that a run can't have, code that ends runs early, or
            an object of another Lightning package.
    """
    refuse_early_ends([targets["model"], *as_list(callbacks)])
    before = rng_state()
    try:
        routed = route(config, targets)
        module = targets["model"](**copy.deepcopy(routed["model"]))
        own = list(as_list(module.configure_callbacks()))
        data = None
        if datamodule is not None:
            data = datamodule(**copy.deepcopy(routed["data"]))
    except Exception as error:
        logger.warning(
            "a config can't be built in this process, so nothing but its runs will tell "
            "whether it is right (%s: %s)",
            type(error).__name__,
            error,
        )
        return
    finally:
        set_rng_state(before)
    check_kind("module", type(module), LightningModule)
    if data is not None:
        check_kind("datamodule", type(data), LightningDataModule)
    check_callbacks(own, f"{type(module).__name__}.configure_callbacks()")
    refuse_early_ends([module, *own])
