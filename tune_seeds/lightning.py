"""Lightning training as a run: built from a config, seeded, paused and resumed at rungs."""

from __future__ import annotations

import copy
import difflib
import gc
import inspect
import logging
import os
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import EarlyStopping
from ray import tune
from ray.tune import PlacementGroupFactory

from tune_seeds.distributed import Workers, train_on_workers, with_ddp
from tune_seeds.environment import record
from tune_seeds.fitting import EPOCH, Report, as_list, fit
from tune_seeds.loaders import make_loaders, merged_factories
from tune_seeds.loggers import LoggerFactory, close, factories, made
from tune_seeds.reporting import TuneReport
from tune_seeds.routing import parameters, route
from tune_seeds.run_info import RunInfo, run_info
from tune_seeds.seeding import reset_process, seed_run
from tune_seeds.trainable import Plan, SeededTrainable

# What a run decides by its own arguments, and so can't be given to the trainer.
_OURS = {
    "devices": "give num_workers=..., and cpus=... or gpus=... for each",
    "num_nodes": "a run is one trial; Ray places trials on nodes",
    "strategy": "a run trains on one device; give num_workers=... for DDP",
    "max_time": "seconds differ between seeds; limit the study with TuneConfig(time_budget_s=...)",
    "max_steps": "rungs are counted in epochs; use max_epochs",
    "fast_dev_run": "it disables what a run reports; use max_epochs and limit_train_batches",
}

_STRATEGIES = ("ddp", "ddp_find_unused_parameters_true")

# Quiet by default: many runs print into one terminal, and each is logged by TensorBoard anyway.
_DEFAULTS: dict[str, Any] = {
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "deterministic": True,
}


class LightningTrainer:
    """A Lightning training that depends on its config and its seed alone.

    Config keys reach the constructors by name: ``lr`` goes to whichever of module, data and
    trainer has a parameter of that name, ``model.lr``, ``data.batch_size``, ``trainer.precision``
    where several have. Everything a config does not name stays at its default. A run does what
    this script does::

        seed_everything(config["seed"], workers=True)
        module, data = Module(...), DataModule(...)
        Trainer(deterministic=True, ...).fit(module, datamodule=data)

    Args:
        module: a ``LightningModule`` class, or a function that returns one.
        datamodule: a ``LightningDataModule`` class, or a function that returns one.
        train_dataloaders: instead of ``datamodule``: data loaders, copied for each run, or a
            function that returns them, whose parameters a config may name.
        val_dataloaders: likewise.
        trainer_kwargs: arguments of ``lightning.Trainer``, ``max_epochs`` among them. Callbacks
            and loggers are kept, and copied for each run, so that runs share no state. A logger
            may be a function of a ``RunInfo`` too, which makes it for each run, and once for each
            config with its score: ``lambda run: WandbLogger(group=run.group, name=run.name)``.
        cpus: CPUs per worker, above 0; also the number of torch's threads (rounded down, at least
            1).
        gpus: GPUs per worker; below 1 several runs share a GPU, which one worker per run allows.
        num_workers: processes that train a run; with more than one it is a Ray Train
            ``TorchTrainer`` with DDP. Each loads its share of the data, in batches as large as the
            loader's, as in a plain script with ``Trainer(strategy="ddp", devices=num_workers)``.
            More than two look for unused parameters, without which a pause would change the bits.
            Log metrics with ``sync_dist=True``: what rank 0 logs is what is reported. The
            trainer's ``strategy`` may then be ``"ddp"`` or ``"ddp_find_unused_parameters_true"``.

    Raises:
        ValueError: an argument is out of its range, or contradicts how runs are compared.
    """

    def __init__(
        self,
        module: Callable[..., LightningModule],
        datamodule: Callable[..., LightningDataModule] | None = None,
        *,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        trainer_kwargs: Mapping[str, Any] | None = None,
        cpus: float = 1,
        gpus: float = 0,
        num_workers: int = 1,
    ) -> None:
        if not callable(module) or isinstance(module, LightningModule):
            raise ValueError(
                f"module must be a LightningModule class or a function that returns one, got "
                f"{type(module).__name__}: each run builds its own, after it is seeded"
            )
        if datamodule is not None and (
            not callable(datamodule) or isinstance(datamodule, LightningDataModule)
        ):
            raise ValueError(
                "datamodule must be a LightningDataModule class or a function that returns one, "
                f"got {type(datamodule).__name__}: each run builds its own, after it is seeded"
            )
        if datamodule is not None and train_dataloaders is not None:
            raise ValueError("give either datamodule or train_dataloaders, not both")
        if cpus <= 0:
            raise ValueError(f"cpus must be above 0, got {cpus}")
        if not 0 <= gpus <= 1:
            raise ValueError(f"gpus must be between 0 and 1 per worker, got {gpus}")
        if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 1:
            raise ValueError(f"num_workers must be a whole number, at least 1, got {num_workers!r}")
        if num_workers > 1 and gpus not in (0, 1):
            raise ValueError(
                f"gpus={gpus} with num_workers={num_workers}: DDP needs a GPU for each worker; "
                "give gpus=1, or gpus=0 to train on CPUs"
            )
        self._module = module
        self._datamodule = datamodule
        self._loaders = (train_dataloaders, val_dataloaders)
        self._trainer_kwargs = dict(trainer_kwargs or {})
        self._cpus = cpus
        self._gpus = gpus
        self._num_workers = num_workers
        self._run: RunInfo | None = None
        self._logger: Any = None
        self._check_trainer_kwargs()

    @property
    def trainer_kwargs(self) -> Mapping[str, Any]:
        """The arguments of ``lightning.Trainer`` that were given."""
        return self._trainer_kwargs

    @property
    def threads(self) -> int:
        """How many threads torch computes a run with."""
        return max(1, int(self._cpus))

    @property
    def accelerator(self) -> str:
        """What ``Trainer(accelerator=...)`` of a run is."""
        return "gpu" if self._gpus > 0 else "cpu"

    def build(
        self, config: Mapping[str, Any]
    ) -> tuple[LightningModule, dict[str, Any], dict[str, Any]]:
        """A config's module, data arguments of ``Trainer.fit`` and arguments of the trainer.

        Built in this order, so that a plain script that does the same draws the same numbers.

        Raises:
            ValueError: a config key that nothing takes, or that several take.
        """
        routed = route(config, self._targets())
        module = self._module(**routed["model"])
        given = routed.get("data", {})
        data: dict[str, Any]
        if self._datamodule is not None:
            data = {"datamodule": self._datamodule(**given)}
        else:
            names = ("train_dataloaders", "val_dataloaders")
            loaders = zip(names, self._loaders, strict=True)
            data = {name: make_loaders(loader, given) for name, loader in loaders}
        trainer = {**_DEFAULTS, **copy.deepcopy(self._trainer_kwargs), **routed["trainer"]}
        self._logger = trainer["logger"] = made(trainer["logger"], self._run)
        return module, data, trainer

    def as_trainable(self, max_t: int | None) -> SeededTrainable:
        """The trainable of a study whose scheduler ends at ``max_t`` epochs (None: no scheduler).

        Raises:
            ValueError: no number of epochs, or ``max_t`` is above it.
        """
        max_epochs = self._trainer_kwargs.get("max_epochs", max_t)
        if max_epochs is None or max_epochs < 1:
            raise ValueError(
                f"trainer_kwargs['max_epochs'] must be at least 1, got {max_epochs}: without it a "
                "run has no end"
            )
        if max_t is not None and max_t > max_epochs:
            raise ValueError(
                f"the scheduler's max_t={max_t} is above the trainer's max_epochs={max_epochs}: "
                "no run would reach the top rung; raise max_epochs or lower max_t"
            )
        complete = copy.copy(self)
        complete._trainer_kwargs = {**self._trainer_kwargs, "max_epochs": max_epochs}
        # A trial of several workers only waits for them. Ray refuses one that takes nothing, and a
        # share of a CPU would keep the workers from the rest of it.
        alone = {"cpu": self._cpus, "gpu": self._gpus}
        several = PlacementGroupFactory([{"memory": 1}])
        return SeededTrainable(
            name=_name(self._module),
            train=complete._train_in_trial,
            resources=alone if self._num_workers == 1 else several,
            workers=() if self._num_workers == 1 else self._workers().bundles,
            time_attr=EPOCH,
            metric_period=self._trainer_kwargs.get("check_val_every_n_epoch") or 1,
            ends_itself=True,
            max_epochs=max_epochs,
        )

    def check(self, space: Mapping[str, Any]) -> None:
        """Refuse a search space that a run could not be built from.

        Raises:
            ValueError: a key that nothing takes or several take, one that must not be searched, or
                a parameter without a default that the space leaves out.
        """
        targets = self._targets()
        routed = route(space, targets)
        for name in ("max_epochs", "callbacks", "logger", *_OURS):
            if name in routed["trainer"]:
                why = _OURS.get(name, "it belongs into trainer_kwargs, the same for every config")
                raise ValueError(f"the trainer's {name!r} can't be in param_space: {why}")
        for prefix, target in targets.items():
            if prefix == "trainer":
                continue
            for parameter in inspect.signature(target).parameters.values():
                required = parameter.default is parameter.empty and parameter.kind in (
                    parameter.POSITIONAL_OR_KEYWORD,
                    parameter.KEYWORD_ONLY,
                )
                if required and parameter.name not in routed[prefix]:
                    raise ValueError(
                        f"{_name(target)} needs {parameter.name!r}, which has no default; put it "
                        "into param_space, as a constant or to be searched"
                    )

    def _workers(self) -> Workers:
        return Workers(self._num_workers, self._cpus, int(self._gpus))

    def _targets(self) -> dict[str, Callable[..., Any]]:
        targets: dict[str, Callable[..., Any]] = {"model": self._module}
        if self._datamodule is not None:
            targets["data"] = self._datamodule
        elif (factories := merged_factories(self._loaders)) is not None:
            targets["data"] = factories
        targets["trainer"] = Trainer
        return targets

    def _check_trainer_kwargs(self) -> None:
        known, _ = parameters(Trainer)
        strategy = self._trainer_kwargs.get("strategy", "ddp")
        if self._num_workers > 1 and strategy not in _STRATEGIES:
            raise ValueError(
                f"trainer_kwargs['strategy'] must be one of {', '.join(map(repr, _STRATEGIES))} "
                f"where num_workers is above 1, got {strategy!r}"
            )
        for name in self._trainer_kwargs:
            if name == "strategy" and self._num_workers > 1:
                continue
            if name in _OURS:
                raise ValueError(f"trainer_kwargs must not hold {name!r}: {_OURS[name]}")
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"lightning.Trainer takes no {name!r}{hint}")
        if self._trainer_kwargs.get("reload_dataloaders_every_n_epochs", 0) > 1:
            raise ValueError(
                "reload_dataloaders_every_n_epochs must be 0 or 1: loaders that were made some "
                "epochs before a pause can't be made again as they were"
            )
        for callback in as_list(self._trainer_kwargs.get("callbacks")):
            if isinstance(callback, EarlyStopping):
                raise ValueError(
                    "EarlyStopping ends the seeds of one config at different epochs, and they are "
                    "compared at equal ones; take it out of trainer_kwargs['callbacks'] and leave "
                    "stopping to the scheduler"
                )

    def retrain(
        self, config: Mapping[str, Any], plan: Plan, report: Report, checkpoint: Path | None = None
    ) -> Trainer:
        """Train one run in this process, as a trial does, and hand every epoch to ``report``.

        Args:
            config: with ``seed``.
            plan: where to checkpoint, and when the run is over.
            report: hears of every epoch.
            checkpoint: directory of a checkpoint to go on from.

        Returns:
            The trainer, after the fit.
        """
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", category=PossibleUserWarning)
        # Lightning 2.6.6 asks torch 2.13 for a deprecated class, once in each process.
        warnings.filterwarnings("ignore", message="`isinstance.treespec, LeafSpec")
        reset_process(self.threads)
        seed_run(config["seed"])
        module, data, kwargs = self.build(config)
        kwargs = {"accelerator": self.accelerator, "default_root_dir": os.getcwd(), **kwargs}
        if self._num_workers == 1:
            kwargs["devices"] = 1
        else:
            kwargs = with_ddp(kwargs, self._num_workers)
        return fit(module, data, kwargs, plan, report, checkpoint)

    def _train_in_trial(self, config: dict[str, Any], plan: Plan) -> None:
        inside = copy.copy(self)
        inside._run = run_info()
        try:
            inside._train(config, plan)
        finally:
            close(inside._logger)

    def _train(self, config: dict[str, Any], plan: Plan) -> None:
        device = "cuda" if self._gpus > 0 else "cpu"
        describe = partial(record, config["seed"], config, device, self._module, self._num_workers)
        if self._num_workers > 1:
            train_on_workers(self.retrain, config, plan, self._workers(), describe)
            return
        report = TuneReport(describe)
        checkpoint = cast(Any, tune).get_checkpoint()
        try:
            if checkpoint is None:
                self.retrain(config, plan, report)
            else:
                with checkpoint.as_directory() as directory:
                    self.retrain(config, plan, report, Path(directory))
        finally:
            # A paused run must leave no memory behind, on the GPU least of all; the frames of a
            # finished fit refer to each other, so they go at a collection only.
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def logger_factories(trainable: SeededTrainable) -> list[LoggerFactory]:
    """The functions that make the loggers of a Lightning training's runs."""
    owner = getattr(trainable.train, "__self__", None)
    if not isinstance(owner, LightningTrainer):
        return []
    return factories(owner.trainer_kwargs.get("logger"))


def _name(target: Any) -> str:
    return getattr(target, "__name__", type(target).__name__)
