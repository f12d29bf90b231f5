"""Each config logged once, with its score, through Lightning's own loggers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from ray.tune import Callback

from tune_seeds.analysis.group_summary import Standing
from tune_seeds.store.live_study import Study
from tune_seeds.training.loggers import LoggerFactory, close
from tune_seeds.training.run_info import RunInfo
from tune_seeds.views.trackers.config_log import cells, log_once, params


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
