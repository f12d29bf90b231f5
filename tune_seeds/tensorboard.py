"""The study in TensorBoard: curves by config and seed, and one HPARAMS row per config.

Runs of TensorBoard are directories of the experiment::

    g0001_lr=0.01,opt=sgd                  the config: its row in HPARAMS
    g0001_lr=0.01,opt=sgd/seed=47          one run of it: every metric at every epoch
    g0001_lr=0.01,opt=sgd/mean_of_3_seeds  their mean, and a band of one standard deviation
"""

# TensorBoard's protocol messages carry no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.fs
from ray.tune.experiment import Trial
from ray.tune.logger.tensorboardx import TBXLoggerCallback
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.util.tensor_util import make_tensor_proto

from tune_seeds import hparams
from tune_seeds.eventfile import EventFile
from tune_seeds.labels import path_name
from tune_seeds.ledger import Rung, RunKey
from tune_seeds.standing import standing
from tune_seeds.study import Study

# In every report; TensorBoard's steps and wall times say the same.
_NOT_SHOWN = frozenset({"training_iteration", "time_total_s", "epoch"})


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
        self._groups: dict[str, _GroupWriter] = {}
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

    def _writer(self, name: str) -> _GroupWriter:
        if name not in self._groups:
            assert self._root is not None
            race = self._study.race
            first = next(iter(race.groups))
            if self._columns is None:
                self._columns = hparams.Columns(self._space, race.ledger.configs[first])
            writer = _GroupWriter(
                self._study, name, self._root, self._columns, resumed=name in self._known
            )
            if name == first and name not in self._known:
                writer.announce()
            self._groups[name] = writer
        return self._groups[name]


class _GroupWriter:
    """Writes one config and its runs.

    Args:
        study: read only.
        name: the group.
        root: where directories of runs are made.
        columns: of HPARAMS.
        resumed: whether an earlier process has written what is known now. Then only the last
            points are repeated, in case that one was killed before it could write them.
    """

    def __init__(
        self, study: Study, name: str, root: Path, columns: hparams.Columns, *, resumed: bool
    ) -> None:
        race = study.race
        self._race = race
        self._name = name
        self._directory = root / path_name(name, columns.searched(race.ledger.configs[name]))
        self._columns = columns
        self._file = EventFile(self._directory)
        self._runs: dict[int, EventFile] = {}
        self._means: dict[int, EventFile] = {}
        self._written: dict[int, int] = dict.fromkeys(race.ledger.seeds, 0)
        self._averaged: dict[int, int] = {}
        self._shown: tuple[Rung | None, int] | None = None
        self._shown_epochs: dict[int, int] = {}
        self._ended = False
        if resumed:
            for seed in race.ledger.seeds:
                curve = sorted(race.ledger[RunKey(name, seed)].reports)
                self._written[seed] = curve[-2] if len(curve) > 1 else 0
            shown = standing(race, name)
            for n in _counts(race.policy.rungs):
                self._averaged[n] = max(self._common_epochs(n)[:-1], default=0)
            if shown.rung is not None:
                seeds = race.ledger.seeds[: shown.rung.n_seeds]
                self._shown_epochs = dict.fromkeys(seeds, shown.epochs - 1)

    def announce(self) -> None:
        """Write what TensorBoard has to know of the whole study; the first config's run has it."""
        metric = self._race.ledger.metric
        spread = self._race.policy.first().n_seeds > 1
        self._file.add(hparams.announce(self._columns, metric, spread_everywhere=spread))
        self._file.add(_layout(metric))

    def write(self) -> None:
        """Write what is new."""
        if self._shown is None:
            values = self._columns.values(self._race.ledger.configs[self._name])
            self._start = hparams.session_start(self._name, values)
            self._file.add(self._start)
        for seed in self._race.ledger.seeds:
            self._write_run(seed)
        for n in _counts(self._race.policy.rungs):
            self._write_mean(n)
        self._write_row()
        for file in (self._file, *self._runs.values(), *self._means.values()):
            file.flush()

    def end(self) -> None:
        """Say how the config ended; after ``write``."""
        if self._ended:
            return
        self._ended = True
        summary = hparams.session_end(failed=bool(self._race.groups[self._name].failures))
        for file in (self._file, *self._runs.values()):
            file.add(summary)
            file.flush()

    def _write_run(self, seed: int) -> None:
        reports = self._race.ledger[RunKey(self._name, seed)].reports
        new = [epoch for epoch in reports if epoch > self._written[seed]]
        if not new:
            return
        file = self._run_file(seed)
        for epoch in new:
            shown = {k: v for k, v in reports[epoch].items() if k not in _NOT_SHOWN}
            file.scalars(epoch, shown)
        self._written[seed] = max(new)

    def _run_file(self, seed: int) -> EventFile:
        if seed not in self._runs:
            self._runs[seed] = EventFile(self._directory / f"seed={seed}")
            self._runs[seed].add(self._start)
        return self._runs[seed]

    def _write_mean(self, n: int) -> None:
        """The mean at every epoch that each of the first n seeds has come to."""
        done = self._averaged.get(n, 0)
        if n == 1:
            return
        ledger = self._race.ledger
        runs = [ledger[RunKey(self._name, seed)] for seed in ledger.seeds[:n]]
        for epoch in self._common_epochs(n, done):
            reports = [run.reports[epoch] for run in runs]
            common = set(reports[0]).intersection(*reports)
            values = {
                metric: np.array([report[metric] for report in reports])
                for metric in sorted(common - _NOT_SHOWN)
            }
            means = {metric: float(np.mean(array)) for metric, array in values.items()}
            if ledger.metric in means:
                spread = float(np.std(values[ledger.metric], ddof=1))
                lower, upper = _band(ledger.metric)
                means[lower] = means[ledger.metric] - spread
                means[upper] = means[ledger.metric] + spread
            if n not in self._means:
                self._means[n] = EventFile(self._directory / f"mean_of_{n}_seeds")
            self._means[n].scalars(epoch, means)
            self._averaged[n] = epoch

    def _common_epochs(self, n: int, after: int = 0) -> list[int]:
        ledger = self._race.ledger
        runs = [ledger[RunKey(self._name, seed)] for seed in ledger.seeds[:n]]
        common = set(runs[0].reports).intersection(*(run.reports for run in runs))
        return sorted(epoch for epoch in common if epoch > after)

    def _write_row(self) -> None:
        group = self._race.groups[self._name]
        top = max(group.scores, key=self._race.policy.rungs.index, default=None)
        state = (top, len(group.failures))
        if state == self._shown:
            return
        self._shown = state
        now = standing(self._race, self._name)
        row = {
            hparams.N_SEEDS: float(len(now.values)),
            hparams.N_FAILED: float(len(now.failures)),
            hparams.EPOCHS: float(now.epochs),
            hparams.LEVEL: 0.0
            if now.rung is None
            else self._race.policy.rungs.index(now.rung) + 1.0,
        }
        if len(now.values) > 1:
            row[hparams.STD] = now.std
            row[hparams.LOW], row[hparams.HIGH] = now.interval
        self._file.scalars(now.epochs, row)
        seeds = self._race.ledger.seeds
        for seed in (seed for seed in seeds if seed in now.values):
            curve = self._race.ledger[RunKey(self._name, seed)].curve
            after = self._shown_epochs.get(seed, 0)
            for epoch in sorted(e for e in curve if after < e <= now.epochs):
                value = self._race.ledger.sign * curve[epoch]
                self._run_file(seed).scalars(epoch, {hparams.SCORE: value})
            self._shown_epochs[seed] = now.epochs


def _counts(rungs: tuple[Rung, ...]) -> list[int]:
    return sorted({rung.n_seeds for rung in rungs})


def _band(metric: str) -> tuple[str, str]:
    return f"{metric} - std", f"{metric} + std"


def _layout(metric: str) -> Summary:
    """CUSTOM SCALARS: the mean with its band."""
    lower, upper = _band(metric)
    series = layout_pb2.MarginChartContent.Series(value=metric, lower=lower, upper=upper)
    chart = layout_pb2.Chart(
        title=f"{metric}: mean over seeds ± standard deviation",
        margin=layout_pb2.MarginChartContent(series=[series]),
    )
    layout = layout_pb2.Layout(category=[layout_pb2.Category(title="seeds", chart=[chart])])
    value = Summary.Value(
        tag=custom_scalar.CONFIG_SUMMARY_TAG, metadata=custom_scalar.create_summary_metadata()
    )
    value.tensor.CopyFrom(make_tensor_proto(layout.SerializeToString(), dtype="string"))
    return Summary(value=[value])
