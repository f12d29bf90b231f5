"""Ray's own loggers of ``result.json`` and ``progress.csv``, without a file held open per trial.

Ray 2.44 … 2.60 keep both files of a trial open from its start to its end. A study's configs wait
paused for most of their time: 500 of them would hold 1,000 files, above the usual limit.
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, cast

from ray.tune.experiment import Trial
from ray.tune.logger.csv import CSVLoggerCallback
from ray.tune.logger.json import JsonLoggerCallback


class _Appended:
    """A text file that is open while it is flushed only.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._waiting: list[str] = []

    def write(self, text: str) -> int:
        """Keep it until the next flush."""
        self._waiting.append(text)
        return len(text)

    def flush(self) -> None:
        """Append what was written."""
        if self._waiting:
            with open(self._path, "a") as stream:
                stream.writelines(self._waiting)
            self._waiting.clear()

    def close(self) -> None:
        """Append what was written; it can be written on."""
        self.flush()


class _LocalFirst:
    """A logger that takes its file from the storage only where this driver has none.

    Ray takes it whenever a trial goes on from a checkpoint, over its own. The copy there is up to
    ten seconds old, so a run that was paused for less would lose the lines since then.
    """

    def _restore_from_remote(self, file_name: str, trial: Trial) -> None:
        if not os.path.exists(os.path.join(str(trial.local_path), file_name)):
            cast(Any, super())._restore_from_remote(file_name, trial)


class JsonLogger(_LocalFirst, JsonLoggerCallback):
    """Writes what Ray's own does."""

    def log_trial_start(self, trial: Trial) -> None:
        """Know the trial."""
        super().log_trial_start(trial)
        _let_go(self._trial_files, trial)


class CsvLogger(_LocalFirst, CSVLoggerCallback):
    """Writes what Ray's own does."""

    def _setup_trial(self, trial: Trial) -> None:
        super()._setup_trial(trial)
        _let_go(self._trial_files, trial)


def _let_go(files: dict[Any, Any], trial: Trial) -> None:
    stream = files[trial]
    stream.close()
    files[trial] = _Appended(stream.name)


def result_loggers(callbacks: Iterable[object] | None) -> list[Any]:
    """The loggers to give to Ray, which then leaves its own out.

    Args:
        callbacks: of the user; a logger of the same kind among them is left to do its work.
    """
    if os.environ.get("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS") == "1":
        return []
    given = list(callbacks or ())
    pairs = ((JsonLoggerCallback, JsonLogger), (CSVLoggerCallback, CsvLogger))
    return [
        cast(Any, ours)() for theirs, ours in pairs if not any(isinstance(g, theirs) for g in given)
    ]
