"""Lightning's own loggers in runs: made for each run, told its place, and closed after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from ray.tune import Callback

from tune_seeds.run_info import RunInfo
from tune_seeds.standing import Standing
from tune_seeds.study import Study
from tune_seeds.tracked import cells, log_once, params

#: Makes a run's logger: ``lambda run: WandbLogger(group=run.group, name=run.name)``.
LoggerFactory = Callable[[RunInfo], Logger]


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
        # Made at the first use only; asking a logger for its experiment would make one.
        experiment = getattr(item, "_experiment", None)
        for method in ("finish", "end"):  # of W&B, of Comet
            if callable(getattr(experiment, method, None)):
                getattr(experiment, method)()


class ConfigLog(Callback):
    """Logs each config once, at the end, through the loggers that log its runs.

    Args:
        factories: what makes the runs' loggers.
        study: read only.
        experiment: its name.
    """

    def __init__(self, factories: Sequence[LoggerFactory], study: Study, experiment: str) -> None:
        self._factories = factories
        self._study = study
        self._experiment = experiment

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Log every config; a study that was left logs them when it ends."""
        if not self._study.race.done:
            return
        for number, factory in enumerate(self._factories):
            log_once(self._study, f"logger{number}", partial(self._log, factory))

    def _log(self, factory: LoggerFactory, item: Standing) -> None:
        name = item.group
        logger = factory(RunInfo(self._experiment, name, None, f"{self._experiment}-{name}"))
        if isinstance(logger, (TensorBoardLogger, CSVLogger)):
            return  # files of the driver's; the study writes its own for TensorBoard
        cast(Any, logger).log_hyperparams(params(item.config))
        logger.log_metrics(cells(item), step=item.epochs)
        logger.finalize("success")
        close(logger)


def _is_factory(logger: Any) -> bool:
    return callable(logger) and not isinstance(logger, Logger)


def _listed(logger: Any) -> list[Any]:
    if isinstance(logger, (list, tuple)):
        return list(cast(Sequence[Any], logger))
    return [] if logger is None or isinstance(logger, bool) else [logger]
