"""Lightning training as a run: built from a config, seeded, paused and resumed at rungs."""

from __future__ import annotations

import copy
import dataclasses
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from ray.tune import PlacementGroupFactory

from tune_seeds._compat.ray_tune import run_storage
from tune_seeds.core.blueprint import Blueprint, Target
from tune_seeds.core.jsonable import is_plain
from tune_seeds.core.memory import freeze_imports
from tune_seeds.training.arguments.builders import check_builder, check_kind, name_of
from tune_seeds.training.arguments.own_arguments import check_resources, check_unknown
from tune_seeds.training.arguments.space import check_space, check_space_at_rungs, try_build
from tune_seeds.training.arguments.timing import metric_period
from tune_seeds.training.arguments.trainer_kwargs import check_accelerator, check_trainer_kwargs
from tune_seeds.training.config_routing import parameters, route
from tune_seeds.training.dataloaders import make_loaders, merged_factories
from tune_seeds.training.environment import record
from tune_seeds.training.fit import EPOCH, Report, as_list
from tune_seeds.training.launchers import with_environment
from tune_seeds.training.lightning_run import LightningRun
from tune_seeds.training.loggers import LoggerFactory, SilentLogger, factories, made
from tune_seeds.training.merged_data import without_validation
from tune_seeds.training.model_files import ModelFiles
from tune_seeds.training.run_info import RunInfo, run_info
from tune_seeds.training.steps import (
    STEP,
    check_steps,
    counts_steps,
)
from tune_seeds.training.trainable import Plan, SeededTrainable
from tune_seeds.training.trial import train_here

logger = logging.getLogger(__name__)

# Arguments of the trainer that change no number of a run.
_WITHOUT_EFFECT = frozenset(
    {
        "max_epochs",  # a part of its own
        "logger",
        "enable_progress_bar",
        "enable_model_summary",
        "log_every_n_steps",
        "profiler",
        "default_root_dir",
    }
)

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
        trainer_kwargs: arguments of ``lightning.Trainer``, ``max_epochs`` among them, or
            ``max_steps`` with ``val_check_interval=N`` and ``check_val_every_n_epoch=None``: then
            rungs count steps and runs report at each validation. Callbacks and loggers are kept,
            and copied for each run, so that runs share no state. A logger may be a function of a
            ``RunInfo`` too, which makes it for each run, and once for each config with its score:
            ``lambda run: WandbLogger(group=run.group, name=run.name)``.
        cpus: CPUs per worker, above 0; also the number of torch's threads (rounded down, at least
            1).
        gpus: GPUs per worker. ``"auto"`` is 1 where the cluster has any when the study starts, else
            0. Below 1 several runs share a GPU, which one worker per run allows. Above 1, a whole
            number of them is visible to the run's one process, for code that spreads a model over
            them by itself; the trainer uses the first. (Tried without GPUs only, on Ray's count.)
        resources: what else a worker takes of Ray's resources, by name: ``memory`` in bytes,
            ``"accelerator_type:A100": 0.01`` to run on nodes with those only, or your own.
        num_workers: processes that train a run; with more than one they train it with DDP, and one
            run after the other, on any nodes. Each loads its share of the data, in batches as large
            as the loader's, as in a script with ``Trainer(strategy="ddp", devices=num_workers)``.
            More than two look for unused parameters, without which a pause would change the bits.
            Log metrics with ``sync_dist=True``: what rank 0 logs is what is reported. The
            trainer's ``strategy`` may then be ``"ddp"`` or ``"ddp_find_unused_parameters_true"``.

        pause: ``"exact"``: at each rung a run saves its whole state and goes on from there. What
            can't be saved, or is not as it was when the run goes on, is named in a warning, and
            that run is trained again from its beginning. ``"never"``: nothing is saved at rungs,
            and a run that goes on starts from its beginning, which costs its epochs once more.

    Raises:
        ValueError: an argument is out of its range, or contradicts how runs are compared.
    """

    # On the class as well: trainers that were pickled before there were any lack them.
    _train_on_all = False

    def __init__(
        self,
        module: Callable[..., LightningModule],
        datamodule: Callable[..., LightningDataModule] | None = None,
        *,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        trainer_kwargs: Mapping[str, Any] | None = None,
        cpus: float = 1,
        gpus: float | str = "auto",
        resources: Mapping[str, float] | None = None,
        num_workers: int = 1,
        pause: str = "exact",
        **unknown: Any,
    ) -> None:
        check_unknown(unknown)
        check_builder("module", module, LightningModule)
        if datamodule is not None:
            check_builder("datamodule", datamodule, LightningDataModule)
            for name, loaders in (("train", train_dataloaders), ("val", val_dataloaders)):
                if loaders is not None:
                    raise ValueError(
                        f"give either datamodule or {name}_dataloaders, not both: Lightning takes "
                        "every loader from the data module"
                    )
        check_resources(cpus, gpus, num_workers, resources)
        self._module = module
        self._datamodule = datamodule
        self._loaders = (train_dataloaders, val_dataloaders)
        self._trainer_kwargs = check_trainer_kwargs(trainer_kwargs, num_workers, gpus)
        self._cpus = cpus
        self._gpus = gpus
        self._resources = dict(resources or {})
        if pause not in ("exact", "never"):
            raise ValueError(f"pause must be 'exact' or 'never', got {pause!r}")
        if counts_steps(self._trainer_kwargs):
            check_steps(self._trainer_kwargs, pause, num_workers)
        self._num_workers = num_workers
        self._pause = pause

    @property
    def trainer_kwargs(self) -> Mapping[str, Any]:
        """The arguments of ``lightning.Trainer`` that were given."""
        return self._trainer_kwargs

    @property
    def module(self) -> Callable[..., LightningModule]:
        """What makes the module of a run."""
        return self._module

    @property
    def pauses(self) -> bool:
        """Whether a run goes on from the rung where it was paused, instead of from its start."""
        return self._pause == "exact"

    @property
    def threads(self) -> int:
        """How many threads torch computes a run with."""
        return max(1, int(self._cpus))

    @property
    def accelerator(self) -> str:
        """What ``Trainer(accelerator=...)`` of a run is."""
        return "gpu" if self._n_gpus > 0 else "cpu"

    def build(
        self, config: Mapping[str, Any], run: RunInfo | None = None
    ) -> tuple[LightningModule, dict[str, Any], dict[str, Any]]:
        """A config's module, data arguments of ``Trainer.fit`` and arguments of the trainer.

        Built in this order, so that a plain script that does the same draws the same numbers.
        Whoever calls it closes the loggers that are among the trainer's arguments.

        Args:
            config: hyperparameters, and the run's ``seed``.
            run: which run of which study the loggers are made for; None outside of a study, where
                functions that make loggers are not called and nothing is logged.

        Raises:
            ValueError: a config key that nothing takes, or that several take.
        """
        routed = route(config, self._targets())
        module = self._module(**routed["model"])
        check_kind("module", type(module), LightningModule)
        given = routed.get("data", {})
        data: dict[str, Any]
        if self._datamodule is not None:
            data = {"datamodule": self._datamodule(**given)}
            check_kind("datamodule", type(data["datamodule"]), LightningDataModule)
        else:
            names = ("train_dataloaders", "val_dataloaders")
            loaders = zip(names, self._loaders, strict=True)
            data = {name: make_loaders(loader, given) for name, loader in loaders}
        trainer = {**_DEFAULTS, **copy.deepcopy(self._trainer_kwargs), **routed["trainer"]}
        loggers = made(trainer["logger"], run)
        trainer["logger"] = loggers or SilentLogger(trainer.get("default_root_dir"))
        return module, data, trainer

    def as_trainable(self, max_t: int | None) -> SeededTrainable:
        """The trainable of a study whose scheduler ends at ``max_t`` epochs (None: no scheduler).

        Raises:
            ValueError: no number of epochs, or ``max_t`` is above it.
        """
        steps = counts_steps(self._trainer_kwargs)
        name = "max_steps" if steps else "max_epochs"
        max_epochs = self._trainer_kwargs.get(name, max_t)
        if max_epochs is None or max_epochs < 1:
            raise ValueError(
                f"trainer_kwargs['max_epochs'] must be at least 1, got {max_epochs}: without it a "
                "run has no end"
            )
        if max_t is not None and max_t > max_epochs:
            raise ValueError(
                f"the scheduler's max_t={max_t} is above the trainer's {name}={max_epochs}: "
                f"no run would reach the top rung; raise {name} or lower max_t"
            )
        if self._gpus == "auto":
            return dataclasses.replace(
                self._changed(_gpus=0).as_trainable(max_t),
                on_gpus=lambda n: self._with_gpus(n).as_trainable(max_t),
            )
        complete = self._changed(_trainer_kwargs={**self._trainer_kwargs, name: max_epochs})
        # A trial of several workers only waits for them; they take its places.
        alone = {"cpu": self._cpus, "gpu": self._n_gpus, **self._resources}
        several = PlacementGroupFactory([{}, *self._bundles()])
        return SeededTrainable(
            name=name_of(self._module),
            train=complete.train_in_trial,
            resources=alone if self._num_workers == 1 else several,
            n_workers=self._num_workers,
            time_attr=STEP if steps else EPOCH,
            metric_period=metric_period(self._trainer_kwargs),
            ends_itself=True,
            max_epochs=max_epochs,
            pauses=self.pauses,
            check=complete.check,
            parts={
                "module": self._module,
                "datamodule": self._datamodule,
                "train_dataloaders": self._loaders[0],
                "val_dataloaders": self._loaders[1],
                "cpus": self._cpus,
                "gpus": self._gpus,
                "num_workers": self._num_workers,
                "max_epochs": max_epochs,
                **{
                    f"trainer_kwargs[{name!r}]": value
                    for name, value in self._trainer_kwargs.items()
                    if name not in _WITHOUT_EFFECT
                },
            },
        )

    def check(self, space: Mapping[str, Any], *, complete: bool = True) -> None:
        """Refuse a search space that a run could not be built from.

        Args:
            space: domains and constants by key; or one config.
            complete: whether it names everything that a config will; not where the searcher has a
                space of its own.

        Raises:
            ValueError: a key that nothing takes or several take, one that must not be searched, or
                a parameter without a default that the space leaves out.
        """
        check_space(space, self._targets(), complete=complete)

    def check_rungs(self, space: Mapping[str, Any], epochs: Sequence[int], metric: str) -> None:
        """Refuse trainer arguments, of either place, that contradict the rungs.

        Args:
            space: the search space.
            epochs: of the rungs.
            metric: what is tuned.

        Raises:
            ValueError: names the argument and where it stands.
        """
        check_space_at_rungs(space, self._targets(), self._trainer_kwargs, epochs, metric)

    def try_build(self, config: Mapping[str, Any]) -> None:
        """Build one config's module and data module here, and look at what only they show.

        Nothing is trained, and the global random generators are left as they were. What can't be
        built in this process (its data may be on the workers' machines only) is left to the runs.

        Raises:
            ValueError: a callback of the module's that a run can't have, code that ends runs early,
                or an object of another Lightning package.
        """
        callbacks = self._trainer_kwargs.get("callbacks")
        try_build(config, self._targets(), self._datamodule, callbacks)

    def blueprint(self) -> Blueprint:
        """What runs are built from, as text, for readers of the experiment and for other tools."""
        targets: dict[str, Target] = {}
        for prefix, target in self._targets().items():
            names, open_ended = parameters(target)
            home = getattr(target, "__module__", "")
            name = f"{home}.{getattr(target, '__qualname__', name_of(target))}"
            targets[prefix] = Target(name, tuple(sorted(names)), open_ended)
        kept = {"accelerator": self.accelerator, "devices": self._num_workers}
        for name, value in {"deterministic": True, **self._trainer_kwargs}.items():
            if is_plain(value):
                kept[name] = value
        left_out = tuple(name for name, v in self._trainer_kwargs.items() if not is_plain(v))
        return Blueprint(targets, kept, left_out)

    @property
    def _n_gpus(self) -> float:
        """GPUs of a worker; outside of a study, those of this machine decide what "auto" is."""
        return float(torch.cuda.is_available()) if self._gpus == "auto" else float(self._gpus)

    def _with_gpus(self, gpus: float) -> LightningTrainer:
        check_accelerator(self._trainer_kwargs, gpus)
        return self._changed(_gpus=gpus)

    def _changed(self, **attributes: Any) -> LightningTrainer:
        """A copy of this training, the same but for some of what it was given."""
        copied = copy.copy(self)
        vars(copied).update(attributes)
        return copied

    def _bundles(self) -> list[dict[str, float]]:
        """What each worker takes, by Ray's names."""
        gpus = {"GPU": self._n_gpus} if self._n_gpus else {}
        return [{"CPU": self._cpus, **gpus, **self._resources} for _ in range(self._num_workers)]

    def _targets(self) -> dict[str, Callable[..., Any]]:
        targets: dict[str, Callable[..., Any]] = {"model": self._module}
        if self._datamodule is not None:
            targets["data"] = self._datamodule
        elif (factories := merged_factories(self._loaders)) is not None:
            targets["data"] = factories
        targets["trainer"] = Trainer
        return targets

    def retrain(
        self,
        config: Mapping[str, Any],
        plan: Plan,
        report: Report,
        checkpoint: Path | None = None,
        run: RunInfo | None = None,
        files: ModelFiles | None = None,
    ) -> Trainer:
        """Train one run in this process, as a trial does, and hand every epoch to ``report``.

        Args:
            config: with ``seed``.
            plan: where to checkpoint, and when the run is over.
            report: hears of every epoch.
            checkpoint: directory of a checkpoint to go on from.
            run: which run of which study it is, for its loggers; None outside of a study.
            files: where ``ModelCheckpoint`` callbacks keep theirs; None outside of a study.

        Returns:
            The trainer, after the fit; its loggers are closed.
        """
        return LightningRun(
            seed=config["seed"],
            built=partial(self._built, config, run),
            plan=plan if self.pauses else Plan(frozenset(), plan.last_epoch),
            report=report,
            checkpoint=checkpoint if self.pauses else None,
            files=files,
            threads=self.threads,
            is_alone=self._num_workers == 1,
        ).train()

    def _built(
        self, config: Mapping[str, Any], run: RunInfo | None
    ) -> tuple[LightningModule, dict[str, Any], dict[str, Any]]:
        """``build``, with the trainer's arguments for the workers that a run has."""
        module, data, kwargs = self.build(config, run)
        kwargs = {"accelerator": self.accelerator, "default_root_dir": os.getcwd(), **kwargs}
        if self._num_workers == 1:
            kwargs |= {"devices": 1, "plugins": with_environment(kwargs.get("plugins"))}
        else:
            from tune_seeds.training.ddp.worker import with_ddp

            kwargs = with_ddp(kwargs, self._num_workers)
        if self._train_on_all:
            data, kwargs = without_validation(data, kwargs)
        return module, data, kwargs

    def on_all_data(self) -> LightningTrainer:
        """The same training with the validation data among the training data, and no validation.

        ``ModelCheckpoint`` callbacks are left out: there is nothing held back to choose epochs by.
        """
        callbacks = as_list(self._trainer_kwargs.get("callbacks"))
        kept = [c for c in callbacks if not isinstance(c, ModelCheckpoint)]
        changed = {**self._trainer_kwargs, "callbacks": kept}
        return self._changed(_trainer_kwargs=changed, _train_on_all=True)

    def train_in_trial(self, config: dict[str, Any], plan: Plan) -> None:
        """Train one run in a trial of Ray Tune, and report to Ray.

        Args:
            config: with ``seed``.
            plan: where to checkpoint, and when the run is over.
        """
        freeze_imports()  # so that the collection after each run costs next to nothing
        place = run_storage() if self._num_workers == 1 else None
        files = None if place is None else ModelFiles.of_run(*place)
        retrain = partial(self.retrain, run=run_info(), files=files)
        device = "cuda" if self._n_gpus > 0 else "cpu"
        describe = partial(record, config["seed"], config, device, self._module, self._num_workers)
        if self._num_workers > 1:
            from tune_seeds.training.ddp.trial import train_on_workers

            train_on_workers(retrain, config, plan, self._bundles(), describe)
            return
        train_here(retrain, config, plan, describe)


def blueprint_of(trainable: SeededTrainable) -> Blueprint | None:
    """What the runs of a Lightning training are built from; None for a plain function."""
    owner = getattr(trainable.train, "__self__", None)
    return owner.blueprint() if isinstance(owner, LightningTrainer) else None


def logger_factories(trainable: SeededTrainable) -> list[LoggerFactory]:
    """The functions that make the loggers of a Lightning training's runs."""
    owner = getattr(trainable.train, "__self__", None)
    if not isinstance(owner, LightningTrainer):
        return []
    return factories(owner.trainer_kwargs.get("logger"))
