"""The study in TensorBoard while it runs, in the place of Ray's own logger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.fs
from ray.tune.experiment import Trial
from ray.tune.logger.tensorboardx import TBXLoggerCallback

from tune_seeds import hparams
from tune_seeds.curves import GroupWriter
from tune_seeds.study import Study


class SeedTBXLoggerCallback(TBXLoggerCallback):
    """Writes what is new in the ledger, as it comes.

    It is a ``TBXLoggerCallback`` so that Ray leaves its own one out: that one writes one row per
    trial, at its end, with the seed as a hyperparameter.

    Args:
        study: read only.
        space: the search space; gives HPARAMS its columns and their domains. Without it the
            first config gives the columns.
    """

    def __init__(self, study: Study, space: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._study = study
        self._space = space or {}
        self._root: Path | None = None
        if isinstance(study.fs, pyarrow.fs.LocalFileSystem):
            self._root = Path(study.path)
        self._columns: hparams.Columns | None = None
        self._groups: dict[str, GroupWriter] = {}
        self._changed: dict[str, None] = {}
        self._n_failed = 0
        self._known = dict.fromkeys(study.race.groups)

    def log_trial_start(self, trial: Trial) -> None:
        """Show a config as soon as a run of it starts."""
        if self._root is None:
            self._root = Path(trial.local_experiment_path)  # Ray copies it to the experiment
        self._note(trial)

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Note that there is something to write."""
        self._note(trial)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Note that there may be something to write."""
        self._note(trial)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Write what is new."""
        failed = self._study.race.failed
        self._changed.update(dict.fromkeys(failed[self._n_failed :]))
        self._n_failed = len(failed)
        if self._root is None:
            return
        for name in self._changed:
            self._writer(name).write()
        self._changed.clear()

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Write the rest, and mark each row as ended."""
        if self._root is None:
            return
        for name in self._study.race.groups:
            if name in self._groups or name in self._changed:
                self._writer(name).write()
                self._writer(name).end()
        self._changed.clear()

    def _note(self, trial: Trial) -> None:
        key = self._study.keys.get(trial.trial_id)
        if key is not None:
            self._changed[key.group] = None

    def _writer(self, name: str) -> GroupWriter:
        if name not in self._groups:
            assert self._root is not None
            race = self._study.race
            first = next(iter(race.groups))
            if self._columns is None:
                self._columns = hparams.Columns(self._space, race.ledger.configs[first])
            resumed = name in self._known
            writer = GroupWriter(race, name, self._root, self._columns, resumed=resumed)
            if name == first and name not in self._known:
                writer.announce()
            self._groups[name] = writer
        return self._groups[name]
