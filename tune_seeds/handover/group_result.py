"""One config of a study over its seeds: what it scored, and what was trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd
import pyarrow.fs

from tune_seeds.analysis.best_record import BestRecord
from tune_seeds.core.checks import choice
from tune_seeds.core.jsonable import is_plain, plain
from tune_seeds.core.rungs import TO_THE_END
from tune_seeds.handover.lightning_cli import as_yaml, lightning_cli_config
from tune_seeds.handover.ray_words import NOT_OF_A_CONFIG
from tune_seeds.store.blueprint_file import read_blueprint
from tune_seeds.store.configs import config_without_objects
from tune_seeds.store.study_spec import Header

if TYPE_CHECKING:
    from lightning import LightningModule
    from ray.tune import Checkpoint

    from tune_seeds.handover.retraining import Retrained
    from tune_seeds.training.lightning_trainer import LightningTrainer


@dataclass(frozen=True, slots=True, repr=False)
class GroupResult(BestRecord):
    """One config, as ``BestRecord`` describes it, with its checkpoints as Ray's own.

    What Ray's ``Result`` has for one trial is here over the seeds of ``rung``: ``metrics`` are
    means, ``metrics_dataframe`` has the reports of every seed, ``error`` names the seeds that
    failed. What no config over several seeds can have (``checkpoint``, ``path``) says what to
    write instead.
    """

    @property
    def checkpoints(self) -> dict[int, Checkpoint | None]:
        """Seed → the newest checkpoint up to the epochs of ``rung``, None where there is none."""
        from ray.tune import Checkpoint  # it takes Ray's time to import

        fs = self.directory.fs
        return {
            seed: None if path is None else Checkpoint(path, filesystem=fs)
            for seed, path in self.checkpoint_paths.items()
        }

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint of a study with one seed.

        Raises:
            AttributeError: there are several seeds, each with its own checkpoint; see
                ``checkpoints``.
        """
        if len(self.checkpoint_paths) == 1:
            return next(iter(self.checkpoints.values()))
        self._refuse("checkpoint")

    @property
    def paths(self) -> dict[int, str | None]:
        """Seed → the directory of its run, on the file system of the experiment."""
        return {
            seed: None if path is None else self.directory.join(path)
            for seed, path in self.run_directories.items()
        }

    @property
    def path(self) -> str | None:
        """The directory of the run of a study with one seed.

        Raises:
            AttributeError: there are several seeds; see ``paths``.
        """
        if len(self.run_directories) == 1:
            return next(iter(self.paths.values()))
        self._refuse("path")

    @property
    def model_checkpoints(self) -> dict[int, list[str]]:
        """Seed → the files that its ``ModelCheckpoint`` callbacks hold, in the experiment.

        Of callbacks without a ``dirpath`` of their own, in runs of one worker.
        """
        return {seed: _files(self.directory.fs, path) for seed, path in self.paths.items()}

    def load(
        self,
        module: Callable[..., LightningModule] | LightningTrainer | None = None,
        seed: int | str | None = None,
        *,
        epoch: str = "last",
    ) -> LightningModule:
        """The trained module of a seed, on the CPU and in evaluation mode.

        It is built from the config as the run built it, so ``save_hyperparameters`` is not needed,
        and the global random generators are left as they were. From your own experiments only:
        without ``module`` it unpickles what the study trained.

        Args:
            module: the class or function that the study trained, or its ``LightningTrainer``; None
                for the one that the study pickled.
            seed: one of ``scores``; None for the first of them, which is nobody's choice of a
                lucky one; ``"all"`` for a ``SeedEnsemble`` of them all, whose predictions are the
                mean of theirs.
            epoch: ``"last"``, after the epochs of ``rung``, as the config was judged; or
                ``"best"``, where a ``ModelCheckpoint(monitor=...)`` of the run kept its best epoch.
                That epoch was chosen by the validation data: its score there is flattered.

        Raises:
            ValueError: there is no such seed or no such checkpoint, or the study trained a plain
                function, whose checkpoints are its own files.

        Example::

            net = results.best.load(LitResNet)
            mean = results.best.load(LitResNet, "all")(images)
        """
        from tune_seeds.handover.trained import best_epoch_file, load_group

        choice("epoch", epoch, ("last", "best"))
        metric = Header.read(self.directory).metric

        def choose(number: int, state: Mapping[str, Any]) -> str:
            return best_epoch_file(state, self.model_checkpoints[number], metric)

        return load_group(
            self.directory,
            self._own_config(),
            {seed: self.checkpoint_paths[seed] for seed in self.scores},
            module,
            seed,
            choose if epoch == "best" else None,
        )

    def retrain(
        self,
        train_on: str = "all",
        seeds: Sequence[int] | int | None = None,
        trainable: LightningTrainer | None = None,
    ) -> Retrained:
        """Train the config anew, by default on all data, and record it in the experiment.

        Each seed is trained in a new process on this machine, one after the other, for as many
        epochs as the config was scored at. The record lies in the experiment, in a folder
        ``retrained-1``, ``-2``, ...; ``results.retrained`` reads them.

        Args:
            train_on: ``"all"``: the validation data joins the training data, and nothing is
                validated, so what these modules score is not known from here: test them on data of
                their own. ``"train"``: as the study did.
            seeds: a list, how many to draw, or None for the study's own.
            trainable: what the study trained; if None, what it pickled is loaded, which runs code.

        Raises:
            ValueError: the study trained a plain function, or its loaders are more than data sets
                in an order, so that they can't be joined.
            RuntimeError: a run failed; nothing is recorded.
        """
        from tune_seeds.handover.retraining import retrain

        return retrain(
            self.directory,
            self.group,
            self._own_config(),
            self.rung.epochs,
            list(self.reports) if seeds is None else seeds,
            train_on,
            trainable,
        )

    @property
    def filesystem(self) -> pyarrow.fs.FileSystem:
        """Where ``paths`` and ``checkpoint_paths`` lie."""
        return self.directory.fs

    @property
    def metrics(self) -> dict[str, float]:
        """Every metric at exactly the epochs of ``rung``: the mean over its seeds.

        Only metrics that each of the seeds in ``scores`` reported there. Where a failed seed counts
        as the worst, it has reported nothing, and so there are none: it is not averaged away.
        """
        last = [self._at_the_rung(self.reports[seed]) for seed in self.scores]
        if not last:
            return {}
        common = set[str](last[0]).intersection(*last[1:])
        return {k: float(np.mean([m[k] for m in last])) for k in last[0] if k in common}

    @property
    def metrics_dataframe(self) -> pd.DataFrame:
        """Every report: one row for each seed and epoch, up to the epochs of ``rung``."""
        return pd.DataFrame(
            [
                {"seed": seed, **metrics, "epoch": epoch}
                for seed, by_epoch in self.reports.items()
                for epoch, metrics in sorted(by_epoch.items())
            ]
        )

    @property
    def error(self) -> str | None:
        """Which seeds failed, and why; None where none did."""
        return "; ".join(f"seed {seed}: {why}" for seed, why in self.failures.items()) or None

    def to_dict(self) -> dict[str, Any]:
        """What ``to_json`` writes, as plain values; what is not defined is None."""
        found = {
            "group": self.group,
            "config": plain(self.config),
            "score": self.score,
            "mean": self.mean,
            "std": self.std,
            "estimate": self.estimate,
            "interval": list(self.interval),
            "seeds_interval": list(self.seeds_interval),
            "scores": self.scores,
            "checkpoints": self.checkpoint_paths,
            "complete": self.complete,
        }
        return plain(found, document=True)

    def to_json(self) -> str:
        """The config, its scores and its checkpoints as JSON."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def to_yaml(self) -> str:
        """The same as YAML."""
        return as_yaml(self.to_dict(), [])

    def to_lightning_cli(self, seed: int | None = None) -> str:
        """The config as a file for ``LightningCLI``: ``python main.py fit --config best.yaml``.

        Trains what a run of the study trained, with ``LightningCLI(Module, DataModule)`` in
        ``main.py``. Callbacks, loggers and other objects among ``trainer_kwargs`` are left out,
        and named in a comment at the head.

        Args:
            seed: ``seed_everything``; the first of the study's seeds if None.

        Raises:
            ValueError: the study trained a plain function, or the config holds objects that have
                no name to import them by, or that were not unpickled.
        """
        blueprint = read_blueprint(self.directory)
        if blueprint is None:
            raise ValueError(
                f"{self.directory.path} holds no training.json: the study trained a plain "
                "function, or an older version of this package ran it. Write the config as JSON or "
                "YAML"
            )
        values = lightning_cli_config(
            self._own_config(), next(iter(self.reports)) if seed is None else seed, blueprint
        )
        comments = [
            f"{self.group} of {self.directory.name}",
            "python main.py fit --config THIS, with LightningCLI(Module, DataModule) in main.py: "
            + " and ".join(t.name for p, t in blueprint.targets.items() if p != "trainer"),
        ]
        if blueprint.left_out:
            comments.append(f"left out of the trainer: {', '.join(blueprint.left_out)}")
        return as_yaml(values, comments)

    def _own_config(self) -> dict[str, Any]:
        """The config in its own types."""
        if not is_plain(self.config):
            return self.config  # with its objects already
        own = config_without_objects(self.directory, self.group)
        if own is None:
            raise ValueError(
                f"the config of {self.group} holds objects that JSON can't, and they were not "
                "unpickled, which runs code: from your own experiment, read it with "
                "SeedResults(path, unpickle=True), or give the command --unpickle"
            )
        return own

    def __getattr__(self, name: str) -> NoReturn:
        """Say what to write for a word of Ray's that has no meaning over seeds."""
        if name in NOT_OF_A_CONFIG:
            self._refuse(name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _at_the_rung(self, by_epoch: dict[int, dict[str, float]]) -> dict[str, float]:
        epochs = self.rung.epochs
        return by_epoch.get(max(by_epoch, default=0) if epochs == TO_THE_END else epochs, {})

    def _refuse(self, name: str) -> NoReturn:
        seed: Any = next(iter(self.checkpoint_paths), 0)
        n = len(self.checkpoint_paths)
        raise AttributeError(
            f"a config over {n} seeds has no single {name!r}: "
            + NOT_OF_A_CONFIG[name].format(seed=seed)
        )


def _files(fs: pyarrow.fs.FileSystem, run: str | None) -> list[str]:
    if run is None:
        return []
    # The folder's name is that of training.model_files, which imports Lightning.
    selector = pyarrow.fs.FileSelector(f"{run}/model_checkpoints", allow_not_found=True)
    return sorted(i.path for i in fs.get_file_info(selector) if i.path.endswith(".ckpt"))


@dataclass(frozen=True, slots=True, repr=False)
class BestGroup(GroupResult):
    """The best config of a study."""
