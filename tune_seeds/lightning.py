"""Lightning training as a run: built from a config, seeded, paused and resumed at rungs."""

from __future__ import annotations

import copy
import difflib
import gc
import inspect
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities.warnings import PossibleUserWarning
from ray import tune

from tune_seeds.routing import parameters, route
from tune_seeds.seeding import rng_state, seed_run, set_rng_state
from tune_seeds.trainable import Plan, SeededTrainable

#: The report key of the epochs a run has finished; rungs of Lightning runs are keyed on it.
EPOCH = "epoch"

_CHECKPOINT_FILE = "checkpoint.ckpt"

# What a run decides by its own arguments, and so can't be given to the trainer.
_OURS = {
    "devices": "give gpus=... or cpus=... per run",
    "num_nodes": "a run is one trial; Ray places trials on nodes",
    "strategy": "a run trains on one device",
    "max_time": "seconds differ between seeds; limit the study with TuneConfig(time_budget_s=...)",
    "max_steps": "rungs are counted in epochs; use max_epochs",
    "fast_dev_run": "it disables what a run reports; use max_epochs and limit_train_batches",
}

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
            and loggers are kept, and copied for each run, so that runs share no state.
        cpus: CPUs per run, above 0; also the number of torch's threads (rounded down, at least 1).
        gpus: GPUs per run; below 1 several runs share a GPU.

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
            raise ValueError(f"gpus must be between 0 and 1 per run, got {gpus}")
        self._module = module
        self._datamodule = datamodule
        self._loaders = (train_dataloaders, val_dataloaders)
        self._trainer_kwargs = dict(trainer_kwargs or {})
        self._cpus = cpus
        self._gpus = gpus
        self._check_trainer_kwargs()

    def build(
        self, config: Mapping[str, Any]
    ) -> tuple[LightningModule, dict[str, Any], dict[str, Any]]:
        """The module, the data arguments of ``Trainer.fit`` and the trainer's arguments of a config.

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
            data = {name: _make_loaders(loader, given) for name, loader in loaders}
        trainer = {**_DEFAULTS, **copy.deepcopy(self._trainer_kwargs), **routed["trainer"]}
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
        return SeededTrainable(
            name=_name(self._module),
            train=complete._train,
            resources={"cpu": self._cpus, "gpu": self._gpus},
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

    def _targets(self) -> dict[str, Callable[..., Any]]:
        targets: dict[str, Callable[..., Any]] = {"model": self._module}
        if self._datamodule is not None:
            targets["data"] = self._datamodule
        elif any(map(_is_factory, self._loaders)):
            targets["data"] = _merged([loader for loader in self._loaders if _is_factory(loader)])
        targets["trainer"] = Trainer
        return targets

    def _check_trainer_kwargs(self) -> None:
        known, _ = parameters(Trainer)
        for name in self._trainer_kwargs:
            if name in _OURS:
                raise ValueError(f"trainer_kwargs must not hold {name!r}: {_OURS[name]}")
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"lightning.Trainer takes no {name!r}{hint}")
        for callback in _as_list(self._trainer_kwargs.get("callbacks")):
            if isinstance(callback, EarlyStopping):
                raise ValueError(
                    "EarlyStopping ends the seeds of one config at different epochs, and they are "
                    "compared at equal ones; take it out of trainer_kwargs['callbacks'] and leave "
                    "stopping to the scheduler"
                )

    def _train(self, config: dict[str, Any], plan: Plan) -> None:
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", category=PossibleUserWarning)
        torch.set_num_threads(max(1, int(self._cpus)))
        seed_run(config["seed"])
        try:
            self._fit(config, plan)
        finally:
            # A paused run must leave no memory behind, on the GPU least of all; the frames of a
            # finished fit refer to each other, so they go at a collection only.
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _fit(self, config: dict[str, Any], plan: Plan) -> None:
        module, data, kwargs = self.build(config)
        callbacks = _as_list(kwargs.pop("callbacks", None))
        # Lightning adds its ModelCheckpoint unless a Checkpoint is there, and ours is one.
        if kwargs.pop("enable_checkpointing", False) and not any(
            isinstance(callback, Checkpoint) for callback in callbacks
        ):
            callbacks.append(ModelCheckpoint())
        trainer = Trainer(
            **{
                "accelerator": "gpu" if self._gpus > 0 else "cpu",
                "devices": 1,
                "default_root_dir": os.getcwd(),
                **kwargs,
                "callbacks": [*callbacks, RunCallback(plan)],
            }
        )
        checkpoint = tune.get_checkpoint()
        if checkpoint is None:
            trainer.fit(module, **data)
            return
        with checkpoint.as_directory() as directory:
            path = Path(directory) / _CHECKPOINT_FILE
            # Hyperparameters of any type may be in there; whatever is plain is loaded safely.
            plain = not torch.serialization.get_unsafe_globals_in_checkpoint(path)
            trainer.fit(module, **data, ckpt_path=path, weights_only=plain)


class RunCallback(Checkpoint):
    """Reports every epoch to Ray Tune, checkpoints at rungs, and carries the random states.

    It is a ``Checkpoint`` so that Lightning calls it last: after every other callback, and the
    module, has drawn its numbers and logged its metrics.

    Args:
        plan: where to checkpoint, and when the run is over.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._rng_state: dict[str, Any] | None = None
        self._before_validation: frozenset[str] = frozenset()
        self._validation_metrics: set[str] = set()
        self._validated_epoch = 0

    def state_dict(self) -> dict[str, Any]:
        """The random states at the moment of saving; a Lightning checkpoint holds none itself."""
        return {"rng": rng_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep them until training starts."""
        self._rng_state = state_dict["rng"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the random states back; any later, and the loader has drawn its base seed already."""
        if self._rng_state is not None:
            set_rng_state(self._rng_state)
            self._rng_state = None

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what was logged before, to know what validation logs."""
        self._before_validation = frozenset(trainer.callback_metrics)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what validation logged, and when."""
        if trainer.sanity_checking:
            return
        new = set(trainer.callback_metrics) - self._before_validation
        self._validation_metrics |= new
        self._validated_epoch = trainer.current_epoch + 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the epoch, unless it is the last, and end the run at the plan's last epoch."""
        epoch = trainer.current_epoch + 1
        if epoch >= self._plan.last_epoch:
            trainer.should_stop = True
        else:
            self._report(trainer, epoch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the last epoch here, after callbacks (weight averaging) have set final weights."""
        if trainer.current_epoch >= self._plan.last_epoch:
            self._report(trainer, self._plan.last_epoch)

    def _report(self, trainer: Trainer, epoch: int) -> None:
        # Lightning keeps showing the metrics of the last validation; they belong to its epoch.
        stale = self._validation_metrics if self._validated_epoch != epoch else set[str]()
        metrics = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name not in stale and value.numel() == 1
        }
        metrics[EPOCH] = epoch
        if not self._plan.checkpoint_at(epoch):
            tune.report(metrics)
            return
        with tempfile.TemporaryDirectory() as directory:
            trainer.save_checkpoint(Path(directory) / _CHECKPOINT_FILE)
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(directory))


def _is_factory(loader: Any) -> bool:
    return inspect.isfunction(loader) or inspect.ismethod(loader)


def _merged(factories: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    """A stand-in with the parameters of all the functions, for routing."""
    merged: dict[str, inspect.Parameter] = {}
    for factory in factories:
        for name, parameter in inspect.signature(factory).parameters.items():
            merged[name] = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)

    def loaders(**kwargs: Any) -> None: ...

    loaders.__name__ = " and ".join(_name(factory) for factory in factories)
    cast(Any, loaders).__signature__ = inspect.Signature(list(merged.values()))
    return loaders


def _make_loaders(loader: Any, given: Mapping[str, Any]) -> Any:
    if _is_factory(loader):
        names, _ = parameters(loader)
        return loader(**{name: value for name, value in given.items() if name in names})
    return copy.deepcopy(loader)


def _as_list(callbacks: Any) -> list[Callback]:
    if callbacks is None:
        return []
    return [callbacks] if isinstance(callbacks, Callback) else list(callbacks)


def _name(target: Any) -> str:
    return getattr(target, "__name__", type(target).__name__)
