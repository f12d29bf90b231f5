"""Private names of Lightning's loggers, seen in Lightning 2.5.0, 2.5.6, 2.6.0 and 2.6.6."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger


def write_no_hparams_row(logger: TensorBoardLogger) -> None:
    """Keep a logger from writing an HPARAMS row of its own for each run.

    The rows and columns of HPARAMS are the study's, one for each config. The public argument is
    ``TensorBoardLogger(default_hp_metric=False)``, and this logger is the user's, made already.
    It still writes ``hparams.yaml``.
    """
    logger._default_hp_metric = False


def opened_experiment(logger: Any) -> Any:
    """What a logger has opened to write into (a W&B run, say), or None where it has not yet.

    The public ``Logger.experiment`` would open it.
    """
    return getattr(logger, "_experiment", None)
