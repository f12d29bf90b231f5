"""What ``LightningTrainer`` takes, checked where it is made and against the rungs of a study."""

from __future__ import annotations

import copy
import difflib
import dis
import logging
import tempfile
import types
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch import callbacks as lightning_callbacks
from ray.tune.search.sample import Categorical, Domain

from tune_seeds.core import checks
from tune_seeds.training.config_routing import parameters
from tune_seeds.training.fit import as_list
from tune_seeds.training.launchers import alone, with_environment
from tune_seeds.training.steps import counts_steps

#: What a run decides by its own arguments, and so can't be given to the trainer.
OURS = {
    "devices": "give num_workers=..., and cpus=... or gpus=... for each",
    "num_nodes": "a run is one trial; Ray places trials on nodes",
    "strategy": "a run trains on one device; give num_workers=... for DDP",
    "max_time": "seconds differ between seeds; limit the study with TuneConfig(time_budget_s=...)",
    "fast_dev_run": "it disables what a run reports; use max_epochs and limit_train_batches",
}

STRATEGIES = ("ddp", "ddp_find_unused_parameters_true")

#: Not in a search space: the same for every config, or they decide when metrics are there.
FIXED = ("max_epochs", "max_steps", "callbacks", "logger", "accelerator", "min_epochs", "min_steps")

#: Arguments that decide when metrics are there, or how long a run trains.
_TIMING = (
    "check_val_every_n_epoch",
    "val_check_interval",
    "limit_val_batches",
    "reload_dataloaders_every_n_epochs",
)

_STOPS = (
    "ends the seeds of one config at different epochs, and they are compared at equal ones; take "
    "it out of the callbacks and leave stopping to the scheduler"
)
_FITS_INSIDE = (
    "runs a fit of its own inside a run's, which would be reported and paused as the run's; "
    "{instead}"
)
#: Callbacks that a run can't have → why.
_REFUSED: dict[type[Any], str] = {
    lightning_callbacks.EarlyStopping: _STOPS,
    lightning_callbacks.Timer: f"counts seconds, so it {_STOPS}",
    lightning_callbacks.LearningRateFinder: _FITS_INSIDE.format(
        instead="search the learning rate: param_space={'lr': tune.loguniform(...)}"
    ),
    lightning_callbacks.BatchSizeFinder: _FITS_INSIDE.format(
        instead="fix the batch size, or search it: param_space={'batch_size': tune.choice([...])}"
    ),
}


def check_builder(name: str, value: Any, kind: type[Any]) -> None:
    """Refuse what is no class of Lightning's, nor a function that may return one.

    Args:
        name: ``module`` or ``datamodule``.
        value: what was given.
        kind: ``LightningModule`` or ``LightningDataModule``.
    """
    a_class = f"{name} must be a {kind.__name__} class or a function that returns one"
    if not callable(value) or isinstance(value, (LightningModule, LightningDataModule)):
        raise ValueError(
            f"{a_class}, got {type(value).__name__}: each run builds its own, after it is seeded"
        )
    if isinstance(value, torch.nn.Module):
        raise ValueError(f"{a_class}, got an instance of {type(value).__name__}")
    if isinstance(value, type):
        check_kind(name, value, kind)


def check_kind(name: str, made: type[Any], kind: type[Any]) -> None:
    """Refuse a class that is not of this package's Lightning."""
    if issubclass(made, kind):
        return
    for base in made.__mro__:
        if base.__name__ == kind.__name__:
            home = base.__module__.partition(".")[0]
            raise ValueError(
                f"{name} {made.__name__} is a {kind.__name__} of the package {home!r}, and its "
                f"classes don't mix with those of 'lightning', which trains here: write `import "
                f"lightning as L` (or `import lightning.pytorch as pl`) in place of `import {home} "
                "as pl`"
            )
    raise ValueError(
        f"{name} must be a {kind.__name__} class or a function that returns one, got the class "
        f"{made.__name__}"
    )


def check_unknown(given: Mapping[str, Any]) -> None:
    """Refuse keyword arguments that ``LightningTrainer`` does not have."""
    known, _ = parameters(Trainer)
    for name, value in given.items():
        if name in known:
            raise ValueError(
                f"{name} is an argument of lightning.Trainer; give it as "
                f"trainer_kwargs={{{name!r}: {value!r}}}"
            )
        own = ("train_dataloaders", "val_dataloaders", "trainer_kwargs", "cpus", "gpus", "pause")
        own = (*own, "num_workers", "datamodule", "resources")
        near = difflib.get_close_matches(name, own, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"LightningTrainer takes no {name!r}{hint}")


def check_resources(cpus: Any, gpus: Any, num_workers: Any, resources: Any) -> None:
    """Refuse resources out of their ranges."""
    checks.real_number("cpus", cpus, above=0)
    checks.whole_number("num_workers", num_workers, at_least=1)
    if gpus != "auto":
        n = checks.real_number("gpus", gpus)
        if n < 0 or (n > 1 and n != int(n)):
            raise ValueError(
                "gpus must be between 0 and 1 per worker, a whole number of them for code that "
                f"spreads one model over several, or 'auto', got {gpus}"
            )
        if num_workers > 1 and n > 1:
            raise ValueError(
                f"gpus={gpus} with num_workers={num_workers}: each worker drives one GPU; give "
                "gpus=1 and as many workers as a run has GPUs"
            )
        if num_workers > 1 and n not in (0, 1):
            raise ValueError(
                f"gpus={gpus} with num_workers={num_workers}: DDP needs a GPU for each worker; "
                "give gpus=1, or gpus=0 to train on CPUs"
            )
    for name, amount in checks.mapping("resources", {} if resources is None else resources).items():
        if name.lower() in ("cpu", "gpu", "num_cpus", "num_gpus"):
            argument = "cpus" if "cpu" in name.lower() else "gpus"
            raise ValueError(f"resources must not hold {name!r}: give {argument}=...")
        checks.real_number(f"resources[{name!r}]", amount, above=0)


def check_trainer_kwargs(given: Any, num_workers: int, gpus: float | str) -> dict[str, Any]:
    """The arguments of ``lightning.Trainer`` that a run can be given.

    Raises:
        ValueError: one that it does not take, that contradicts how runs are compared, or that
            Lightning itself refuses.
    """
    kwargs = checks.mapping("trainer_kwargs", {} if given is None else given)
    known, _ = parameters(Trainer)
    strategy = kwargs.get("strategy", "ddp")
    if num_workers > 1 and strategy not in STRATEGIES:
        raise ValueError(
            f"trainer_kwargs['strategy'] must be one of {', '.join(map(repr, STRATEGIES))} "
            f"where num_workers is above 1, got {strategy!r}: a run's trial starts its workers, "
            "and a strategy has to take its device and its share of the data from there, and save "
            "what a pause needs in one file; sharded training (FSDP, DeepSpeed) is not carried out"
        )
    for name in kwargs:
        if name == "strategy" and num_workers > 1:
            continue
        if name in OURS:
            raise ValueError(f"trainer_kwargs must not hold {name!r}: {OURS[name]}")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"lightning.Trainer takes no {name!r}{hint}")
    if kwargs.get("max_epochs") is not None and not counts_steps(kwargs):
        checks.whole_number("trainer_kwargs['max_epochs']", kwargs["max_epochs"], at_least=1)
    check_accelerator(kwargs, gpus)
    check_callbacks(kwargs.get("callbacks"), "trainer_kwargs['callbacks']")
    if not counts_steps(kwargs):
        check_timing(kwargs, "trainer_kwargs")
    _try_trainer(kwargs)
    return kwargs


def check_accelerator(kwargs: Mapping[str, Any], gpus: float | str) -> None:
    """Refuse a GPU for a run that has none."""
    if kwargs.get("accelerator") in ("gpu", "cuda") and not gpus:
        raise ValueError(
            f"trainer_kwargs['accelerator']={kwargs['accelerator']!r}, but a run has no GPU: give "
            "LightningTrainer(gpus=1), or a share of one, and leave the accelerator out"
        )


def check_callbacks(given: Any, where: str) -> None:
    """Refuse callbacks that end runs early, fit inside them, or report by themselves."""
    if given is not None and not isinstance(given, (list, tuple, lightning_callbacks.Callback)):
        raise ValueError(f"{where} must be a callback or a list of them, got {given!r}")
    for callback in as_list(given):
        name = callback.__name__ if isinstance(callback, type) else type(callback).__name__
        if isinstance(callback, type):
            raise ValueError(f"{where} holds the class {name}; give an instance: {name}(...)")
        home = type(callback).__module__
        ours = isinstance(callback, lightning_callbacks.Callback)
        if ours and home.startswith("ray.") and "Report" in name:
            raise ValueError(
                f"{name} in {where} would report beside this package: leave it out, every metric "
                "that is logged is reported, and runs checkpoint at their rungs"
            )
        for kind, why in _REFUSED.items():
            if isinstance(callback, kind):
                raise ValueError(f"{name} {why}" if kind is type(callback) else f"{name}, {why}")
        if not ours:
            raise ValueError(
                f"{where} holds a {home}.{name}, which is no Callback of the package 'lightning'"
            )


def check_timing(kwargs: Mapping[str, Any], where: str, epochs: Sequence[int] = ()) -> None:
    """Refuse what would leave a rung without its metric or keep a run from stopping there.

    Args:
        kwargs: arguments of the trainer.
        where: where they come from, for the message.
        epochs: of the rungs, where they are known.
    """
    reload = kwargs.get("reload_dataloaders_every_n_epochs") or 0
    if reload not in (0, 1):
        raise ValueError(
            f"reload_dataloaders_every_n_epochs must be 0 or 1, got {reload!r} in {where}: loaders "
            "that were made some epochs before a pause can't be made again as they were"
        )
    period = kwargs.get("check_val_every_n_epoch", 1)
    if period is not None:
        checks.whole_number(f"{where}['check_val_every_n_epoch']", period, at_least=1)
    if "val_check_interval" in kwargs and kwargs["val_check_interval"] not in (None, 1.0):
        interval = kwargs["val_check_interval"]
        if isinstance(interval, int) or period is None:
            raise ValueError(
                f"val_check_interval={interval!r} in {where} validates every so many batches, and "
                "rungs are at the ends of epochs: leave it out, or give a fraction of an epoch "
                "such as 0.5, whose last validation ends the epoch"
            )
        share = checks.real_number(f"{where}['val_check_interval']", interval, above=0, at_most=1)
        if abs(1 / share - round(1 / share)) > 1e-9:
            raise ValueError(
                f"val_check_interval={interval!r} in {where} has no validation at the end of an "
                "epoch, where rungs are: give 1/2, 1/3, 1/4, ..."
            )
    elif period is None:
        raise ValueError(
            f"check_val_every_n_epoch=None in {where} validates by batches over epochs, and rungs "
            "are at the ends of epochs; give a whole number"
        )
    for name in ("min_epochs", "min_steps"):
        least = kwargs.get(name)
        if least is None:
            continue
        checks.whole_number(f"{where}[{name!r}]", least, at_least=0)
        if name == "min_steps" and least > 0 and epochs and len(set(epochs)) > 1:
            raise ValueError(
                f"min_steps={least} in {where} may keep a run from stopping at the rung at epoch "
                f"{min(epochs)}; leave it out"
            )
        early = [epoch for epoch in epochs if name == "min_epochs" and epoch < least]
        if early:
            raise ValueError(
                f"min_epochs={least} in {where} keeps a run from stopping at the rung at epoch "
                f"{min(early)}; lower it or raise grace_period"
            )
    for epoch in epochs:
        if period is not None and epoch % period:
            raise ValueError(
                f"the rung at epoch {epoch} has no metric: check_val_every_n_epoch={period} in "
                f"{where} validates at multiples of {period} only; choose grace_period, "
                "reduction_factor and max_t (or max_epochs) to fall on those"
            )


def possible_values(name: str, value: Any) -> list[Any]:
    """Every value that a key of a search space can take, for keys that decide on timing.

    Raises:
        ValueError: the key decides when metrics are there, and its values can't be listed.
    """
    if isinstance(value, Categorical):
        return list(cast(Any, value).categories)
    if isinstance(value, Mapping) and set(cast(Mapping[str, Any], value)) == {"grid_search"}:
        return list(cast(Mapping[str, Any], value)["grid_search"])
    if isinstance(value, Domain):
        if name in _TIMING:
            raise ValueError(
                f"the trainer's {name!r} decides when metrics are there, so every value of it is "
                "checked against the rungs: give it as a constant, tune.choice or tune.grid_search"
            )
        return []
    return [value]


def refuse_early_ends(targets: Iterable[Any]) -> None:
    """Refuse modules and callbacks whose own code sets ``trainer.should_stop``.

    Raises:
        ValueError: names the class and the method.
    """
    for target in targets:
        kind: Any = target if isinstance(target, type) else type(target)
        for base in kind.__mro__:
            if base.__module__.partition(".")[0] in ("lightning", "torch", "builtins"):
                continue
            for method in vars(base).values():
                code = getattr(getattr(method, "__func__", method), "__code__", None)
                if code is not None and _stops(code):
                    where = f"{base.__name__}.{method.__name__}"
                    raise ValueError(
                        f"{where} sets trainer.should_stop, which ends the seeds of one config at "
                        "different epochs, and they are compared at equal ones; leave stopping to "
                        "the scheduler"
                    )


def _stops(code: types.CodeType) -> bool:
    # A value of False takes a stop back: `trainer.should_stop = False`.
    loaded: list[Any] = []
    for instruction in dis.get_instructions(code):
        if instruction.opname == "STORE_ATTR" and instruction.argval == "should_stop":
            if not (loaded and loaded[-1] is False):
                return True
        elif instruction.opname == "LOAD_CONST":
            loaded.append(instruction.argval)
        elif instruction.opname not in ("LOAD_FAST", "LOAD_ATTR", "CACHE", "EXTENDED_ARG"):
            loaded.clear()
    return any(_stops(inner) for inner in code.co_consts if isinstance(inner, types.CodeType))


def name_of(target: Any) -> str:
    """How a class, a function or a partial of one is called in messages."""
    return getattr(target, "__name__", type(target).__name__)


def _try_trainer(kwargs: Mapping[str, Any]) -> None:
    """Let Lightning check the values by its own rules, on this machine's CPU."""
    # These need the worker's machine, or are made for each run.
    apart = ("accelerator", "strategy", "precision", "plugins", "logger", "profiler", "callbacks")
    tried = {name: value for name, value in kwargs.items() if name not in apart}
    levels = {name: logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")}
    before = {name: logger.level for name, logger in levels.items()}
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    try:
        for logger in levels.values():
            logger.setLevel(logging.ERROR)
        with alone(), warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            warnings.simplefilter("ignore")
            cast(Callable[..., Any], Trainer)(
                **{
                    "default_root_dir": folder,
                    **copy.copy(tried),
                    "accelerator": "cpu",
                    "devices": 1,
                    "plugins": with_environment(None),
                    "logger": False,
                    "enable_progress_bar": False,
                    "enable_model_summary": False,
                    "precision": _precision(kwargs.get("precision")),
                }
            )
    except Exception as error:
        raise ValueError(f"lightning.Trainer refuses trainer_kwargs: {error}") from error
    finally:
        for name, logger in levels.items():
            logger.setLevel(before[name])
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark


def _precision(given: Any) -> Any:
    """The precision to try; those that need a GPU's library are left to its machine."""
    return None if str(given).startswith("transformer-engine") else given
