"""Lightning's own loggers in runs: made for each run, told its place, and closed after it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, cast

from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyLogger

from tune_seeds._compat.lightning_loggers import opened_experiment
from tune_seeds.training.run_info import RunInfo

#: Makes a run's logger: ``lambda run: WandbLogger(group=run.group, name=run.name)``.
LoggerFactory = Callable[[RunInfo], Logger]


class SilentLogger(DummyLogger):
    """Stands in where a user gave no logger: ``self.logger.experiment`` works, nothing is written.

    Args:
        root: what ``trainer.log_dir`` is without a logger; None for the working directory.
    """

    def __init__(self, root: Any = None) -> None:
        super().__init__()
        self._root = root

    @property
    def save_dir(self) -> str:
        """Where Lightning would write without a logger."""
        return os.getcwd() if self._root is None else os.fspath(self._root)


def factories(logger: Any) -> list[LoggerFactory]:
    """The functions among what a user gave as ``trainer_kwargs["logger"]``."""
    return [item for item in _listed(logger) if _is_factory(item)]


def made(logger: Any, run: RunInfo | None) -> Any:
    """What a user gave as ``logger``, with the loggers that functions make in their place.

    Args:
        logger: as ``lightning.Trainer`` takes it, or with functions of the run.
        run: None where a run is trained outside of a study: then they log nothing.
    """
    if not factories(logger):
        return logger
    return [
        item if not _is_factory(item) else DummyLogger() if run is None else item(run)
        for item in _listed(logger)
    ]


def close(logger: Any) -> None:
    """End what loggers hold open in this process, which another run may use next.

    W&B and Comet would log that run into this one's.
    """
    for item in _listed(logger):
        experiment = opened_experiment(item)
        for method in ("finish", "end"):  # of W&B, of Comet
            if callable(getattr(experiment, method, None)):
                getattr(experiment, method)()


def _is_factory(logger: Any) -> bool:
    return callable(logger) and not isinstance(logger, Logger)


def _listed(logger: Any) -> list[Any]:
    if isinstance(logger, (list, tuple)):
        return list(cast(Sequence[Any], logger))
    return [] if logger is None or isinstance(logger, bool) else [logger]
