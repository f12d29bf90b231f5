"""The best config trained anew, with nothing held back, and recorded in the experiment."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow.fs

from tune_seeds.core.checks import choice
from tune_seeds.core.jsonable import plain
from tune_seeds.core.rungs import TO_THE_END
from tune_seeds.core.seeds import check_seeds
from tune_seeds.store.blueprint_file import read_blueprint
from tune_seeds.store.directory import ExperimentDir

if TYPE_CHECKING:
    from lightning import LightningModule

    from tune_seeds.training.lightning_trainer import LightningTrainer

_RECORD = "record.json"
_PREFIX = "retrained-"


@dataclass(frozen=True, slots=True)
class Retrained:
    """One config trained anew after its study.

    Attributes:
        directory: of the record, in the experiment.
        group: the config's name in the study.
        config: its hyperparameters.
        train_on: ``"all"``, training and validation data together, or ``"train"``.
        epochs: that each seed was trained for.
        metrics: seed → epoch → what it logged. With ``"all"`` nothing was validated.
    """

    directory: ExperimentDir
    group: str
    config: dict[str, Any]
    train_on: str
    epochs: int
    metrics: dict[int, dict[int, dict[str, float]]]

    @property
    def seeds(self) -> tuple[int, ...]:
        """That it was trained on."""
        return tuple(self.metrics)

    @property
    def checkpoint_paths(self) -> dict[int, str]:
        """Seed → the directory of its checkpoint, on the experiment's file system."""
        return {seed: self.directory.join(f"seed-{seed}") for seed in self.seeds}

    def load(
        self,
        module: Callable[..., LightningModule] | LightningTrainer | None = None,
        seed: int | str | None = None,
    ) -> LightningModule:
        """The trained module of a seed; see ``GroupResult.load``."""
        from tune_seeds.handover.trained import load_group

        return load_group(
            ExperimentDir(self.directory.fs, str(Path(self.directory.path).parent)),
            self.config,
            self.checkpoint_paths,
            module,
            seed,
        )


def retrain(
    directory: ExperimentDir,
    group: str,
    config: Mapping[str, Any],
    epochs: int,
    seeds: Sequence[int] | int,
    train_on: str,
    trainable: LightningTrainer | None,
) -> Retrained:
    """Train a config in a new process for each seed, as ``GroupResult.retrain`` describes.

    Raises:
        ValueError: an argument is out of its range, the study trained a plain function, or the
            loaders can't be joined.
        RuntimeError: a run failed; nothing is recorded.
    """
    import cloudpickle

    from tune_seeds.core.process_variables import PROCESS_VARIABLES
    from tune_seeds.engine.trainable_file import TRAINABLE, load_trainable, stored_form
    from tune_seeds.reproduce.subprocesses import ProcessFailedError, run_module
    from tune_seeds.training.lightning_trainer import LightningTrainer

    choice("train_on", train_on, ("all", "train"))
    checked = check_seeds(seeds)
    owner: Any = trainable
    if owner is None:
        owner = getattr(load_trainable(directory.read(TRAINABLE)).train, "__self__", None)
    if not isinstance(owner, LightningTrainer):
        raise ValueError(
            "the study trained a plain function, which decides itself what it trains on: call it "
            "with best.load_config() and a seed"
        )
    owner = owner.on_all_data() if train_on == "all" else owner
    seeded = owner.as_trainable(None if "max_epochs" in owner.trainer_kwargs else epochs)
    place = _next_place(directory)
    metrics: dict[int, dict[int, dict[str, float]]] = {}
    environments: dict[int, Any] = {}
    here = pyarrow.fs.LocalFileSystem()
    for seed in checked:
        with tempfile.TemporaryDirectory() as kept:
            job = {
                "trainable": stored_form(seeded),
                "config": {**config, "seed": seed},
                "last": seeded.max_epochs if epochs == TO_THE_END else epochs,
                "keep": kept,
            }
            try:
                done = run_module(
                    "tune_seeds.reproduce.retrain_process",
                    cloudpickle.dumps(job),
                    PROCESS_VARIABLES,
                )
            except ProcessFailedError as error:
                raise RuntimeError(f"seed {seed} could not be trained anew: {error}") from None
            target = place.join(f"seed-{seed}")
            place.fs.create_dir(target)
            pyarrow.fs.copy_files(
                kept, target, source_filesystem=here, destination_filesystem=place.fs
            )
        metrics[seed] = {int(epoch): values for epoch, values in done["metrics"].items()}
        environments[seed] = done["environment"]
    last = max(next(iter(metrics.values())))
    record = {
        "group": group,
        "config": plain(dict(config)),
        "train_on": train_on,
        "epochs": last,
        "metrics": {str(seed): plain(values) for seed, values in metrics.items()},
        "environments": {str(seed): value for seed, value in environments.items()},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": version("tune-seeds"),
    }
    # Last: a record says that everything it names is there.
    place.write(
        _RECORD, json.dumps(plain(record), indent=2, allow_nan=False).encode(), private=True
    )
    return Retrained(place, group, dict(config), train_on, last, metrics)


def retrained(directory: ExperimentDir) -> list[Retrained]:
    """What was trained anew in an experiment, the oldest first."""
    found: list[Retrained] = []
    for place in sorted(_places(directory), key=lambda place: _number(place.name)):
        if not place.exists(_RECORD):
            continue
        data = cast(dict[str, Any], json.loads(place.read(_RECORD)))
        metrics = {
            int(seed): {int(epoch): values for epoch, values in by_epoch.items()}
            for seed, by_epoch in data["metrics"].items()
        }
        found.append(
            Retrained(
                place, data["group"], data["config"], data["train_on"], data["epochs"], metrics
            )
        )
    return found


def check_study(directory: ExperimentDir) -> None:
    """Refuse a study whose modules can't be made again.

    Raises:
        ValueError: it trained a plain function.
    """
    if read_blueprint(directory) is None:
        raise ValueError(
            f"{directory.path} holds no training.json: the study trained a plain function, whose "
            "checkpoints are its own files; read them with best.checkpoints[seed].as_directory()"
        )


def _places(directory: ExperimentDir) -> list[ExperimentDir]:
    return [place for place in directory.subdirectories() if _number(place.name)]


def _next_place(directory: ExperimentDir) -> ExperimentDir:
    number = 1 + max((_number(place.name) for place in _places(directory)), default=0)
    place = ExperimentDir(directory.fs, directory.join(f"{_PREFIX}{number}"))
    place.create()
    return place


def _number(name: str) -> int:
    digits = name.removeprefix(_PREFIX)
    return int(digits) if name.startswith(_PREFIX) and digits.isdecimal() else 0
