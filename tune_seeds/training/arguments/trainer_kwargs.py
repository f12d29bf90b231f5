"""The arguments of ``lightning.Trainer`` that a run can be given."""

from __future__ import annotations

import copy
import difflib
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from lightning import Trainer

from tune_seeds.core import checks
from tune_seeds.training.arguments.early_ends import check_callbacks
from tune_seeds.training.arguments.timing import check_timing
from tune_seeds.training.config_routing import parameters
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
