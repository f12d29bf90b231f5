"""A module whose hyperparameters Lightning knows, and so a logger of the user's announces them.

And a logger that can be asked afterwards what it was told. They stand alone because workers import
them, and they know of no pythonpath of pytest's.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tiny
from lightning.pytorch.loggers import Logger

from tune_seeds import RunInfo


class LoggingModule(tiny.TinyModule):
    def __init__(self, lr: float = 0.1, width: int = 4):
        super().__init__(lr, width)
        self.save_hyperparameters()


class LineLogger(Logger):
    """One file per run, one line for each thing said; it is open until it is finished, as W&B's."""

    def __init__(self, folder: str, run: RunInfo):
        super().__init__()
        self._run = run
        self._file = Path(folder, f"{run.id}.jsonl")
        self._say(made={**run.tags, "name": run.name}, process=os.getpid())
        self._experiment = SimpleNamespace(finish=lambda: self._say(finished=True))

    @property
    def name(self) -> str:
        return self._run.group

    @property
    def version(self) -> str:
        return self._run.id

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self._say(params=dict(params))

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self._say(metrics=metrics, step=step)

    def _say(self, **line: Any) -> None:
        with self._file.open("a") as stream:
            print(json.dumps(line, default=repr), file=stream)
