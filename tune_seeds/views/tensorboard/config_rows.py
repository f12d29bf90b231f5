"""One config in TensorBoard: its curves by seed, their mean, and its rows in HPARAMS.

Runs of TensorBoard are directories of the experiment::

    g0001_lr=0.01,opt=sgd                        the config: its row in HPARAMS
    g0001_lr=0.01,opt=sgd/seed=47                one run of it: every metric at every epoch
    g0001_lr=0.01,opt=sgd/mean_of_3_seeds        their mean, and a band of one standard deviation
    g0001_lr=0.01,opt=sgd/fresh_seeds            its row on the seeds of the confirmation
    g0001_lr=0.01,opt=sgd/fresh_seeds/seed=1234  and so on
    g0001_lr=0.01,opt=sgd,again=1                the same, once its failed runs were tried again
"""

# TensorBoard's protocol messages carry no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.util.tensor_util import make_tensor_proto

from tune_seeds.analysis.estimates import Estimates
from tune_seeds.analysis.group_summary import Standing, fresh_standing, standing
from tune_seeds.core.ledger import RunKey
from tune_seeds.race.groups import OnSeedFailure
from tune_seeds.race.race import Race
from tune_seeds.statistics.aggregate import Aggregate, Kind
from tune_seeds.views.labels import path_name
from tune_seeds.views.tensorboard import hparams
from tune_seeds.views.tensorboard.event_file import EventFile

# In every report; TensorBoard's steps and wall times say the same.
_NOT_SHOWN = frozenset({"training_iteration", "time_total_s", "epoch"})


#: The endings of the files that say that a config is over.
ENDED, FAILED = ".ended", ".failed"


@dataclass(frozen=True, slots=True)
class Media:
    """An image, a histogram or a video that a run reported."""

    seed: int
    step: int
    summary: Summary


def directory_name(race: Race, name: str, columns: hparams.Columns) -> str:
    """How the directory of a group is called."""
    return path_name(name, columns.searched(race.ledger.configs[name]))


def announcement(race: Race, columns: hparams.Columns) -> Summary:
    """What HPARAMS has to know of the whole study."""
    aggregate = race.aggregate
    name = aggregate.name if isinstance(aggregate, Aggregate) else "score"
    return hparams.announce(
        columns,
        race.ledger.metric.name,
        spread_everywhere=race.policy.first().n_seeds > 1,
        aggregate=None if _plugin_averages_right(race) else name,
    )


class GroupWriter:
    """Writes what is new of one config.

    Args:
        race: read only.
        name: the group.
        directory: of the group; see ``directory_name``.
        columns: of HPARAMS; they know the group's config.
        resumed: whether an earlier process has written what is known now. Then only the last
            points are repeated, in case that one was killed before it could write them.
        estimates: of the study's model.
    """

    def __init__(
        self,
        race: Race,
        name: str,
        directory: Path,
        columns: hparams.Columns,
        *,
        resumed: bool,
        estimates: Estimates | None = None,
    ) -> None:
        self._race = race
        self._estimates = estimates or Estimates(race)
        self._name = name
        self._values = columns.values(race.ledger.configs[name])
        self._resumed = resumed
        self._own = _Row(race, name, race.ledger.seeds, name, directory, self._values, resumed)
        self.directory = directory
        self._fresh: dict[tuple[int, ...], _Row] = {}

    def lay_out(self) -> None:
        """Write the layout of CUSTOM SCALARS, once for the whole study."""
        self._own.file.add(_layout(self._race.ledger.metric.name))

    def write(self, media: Sequence[Media] = (), *, last: bool = False) -> None:
        """Write what is new, and images and the like that its runs reported.

        Args:
            media: those.
            last: whether the study has ended, so that the estimate is to be the final one.
        """
        now = self._estimates.standing(self._name, now=last)
        self._own.write(now, media)
        ledger = self._race.ledger
        fresh = tuple(s for s in ledger.fresh_seeds if RunKey(self._name, s) in ledger)
        if fresh:
            if fresh not in self._fresh:
                # More fresh seeds make a new row: what a row averages can't be taken back.
                rank = "" if not self._fresh else f"_{len(fresh)}"
                self._fresh[fresh] = _Row(
                    self._race,
                    self._name,
                    fresh,
                    f"{self._name} on fresh seeds{rank.replace('_', ' ')}",
                    self.directory / f"fresh_seeds{rank}",
                    self._values,
                    self._resumed,
                )
            found = fresh_standing(self._race, self._name, fresh)
            self._fresh[fresh].write(found, media)

    def end(self) -> None:
        """Say how the config ended; after ``write``."""
        for row in (self._own, *self._fresh.values()):
            row.end(failed=self._race.groups[self._name].lost)


class _Row:
    """One row of HPARAMS and the runs that it opens to: a config on one list of seeds."""

    def __init__(
        self,
        race: Race,
        name: str,
        seeds: Sequence[int],
        title: str,
        directory: Path,
        values: hparams.HParams,
        resumed: bool,
    ) -> None:
        self._race = race
        self._name = name
        self._seeds = tuple(seeds)
        self._start = hparams.session_start(title, values)
        self._directory = directory
        self.file = EventFile(directory)
        self._runs: dict[int, EventFile] = {}
        self._means: dict[int, EventFile] = {}
        own = self._seeds == race.ledger.seeds
        counts = {rung.n_seeds for rung in race.policy.rungs} if own else {len(self._seeds)}
        self._counts = sorted(counts - {1})
        self._written = dict.fromkeys(self._seeds, 0)
        self._averaged = dict.fromkeys(self._counts, 0)
        self._shown: tuple[object, ...] | None = None
        self._shown_epochs = dict.fromkeys(self._seeds, 0)
        self._ended = False
        if resumed:
            self._skip_known()

    def write(self, now: Standing, media: Sequence[Media]) -> None:
        """Write what is new."""
        if self._shown is None:
            self.file.add(self._start)
        for seed in self._seeds:
            self._write_run(seed)
        for item in media:
            if item.seed in self._seeds:
                self._run_file(item.seed).add(item.summary, item.step)
        for n in self._counts:
            self._write_mean(n)
        self._write_cells(now)
        for file in (self.file, *self._runs.values(), *self._means.values()):
            file.flush()

    def end(self, *, failed: bool) -> None:
        """Say how it ended."""
        if self._ended:
            return
        self._ended = True
        for own in (self.file, *self._runs.values()):
            # In a file of its own, which can be taken away when the config goes on after all.
            file = EventFile(own.directory, FAILED if failed else ENDED)
            file.add(hparams.session_end(failed))
            file.flush()

    def _skip_known(self) -> None:
        for seed in self._seeds:
            epochs = sorted(self._race.ledger[RunKey(self._name, seed)].reports)
            self._written[seed] = epochs[-2] if len(epochs) > 1 else 0
        for n in self._counts:
            self._averaged[n] = max(self._common_epochs(n)[:-1], default=0)
        now = standing(self._race, self._name)
        if self._seeds == self._race.ledger.seeds:
            self._shown_epochs.update(dict.fromkeys(now.values, now.epochs - 1))

    def _write_run(self, seed: int) -> None:
        reports = self._race.ledger[RunKey(self._name, seed)].reports
        new = [epoch for epoch in reports if epoch > self._written[seed]]
        if not new:
            return
        for epoch in new:
            shown = {k: v for k, v in reports[epoch].items() if k not in _NOT_SHOWN}
            self._run_file(seed).scalars(epoch, shown)
        self._written[seed] = max(new)

    def _run_file(self, seed: int) -> EventFile:
        if seed not in self._runs:
            self._runs[seed] = EventFile(self._directory / f"seed={seed}")
            self._runs[seed].add(self._start)
        return self._runs[seed]

    def _write_mean(self, n: int) -> None:
        """The mean at every epoch that each of the first n seeds has come to."""
        ledger = self._race.ledger
        runs = [ledger[RunKey(self._name, seed)] for seed in self._seeds[:n]]
        for epoch in self._common_epochs(n, self._averaged[n]):
            reports = [run.reports[epoch] for run in runs]
            common = set(reports[0]).intersection(*reports)
            values = {
                metric: np.array([report[metric] for report in reports])
                for metric in sorted(common - _NOT_SHOWN)
            }
            means = {metric: float(np.mean(array)) for metric, array in values.items()}
            metric = ledger.metric.name
            if metric in means:
                spread = float(np.std(values[metric], ddof=1))
                lower, upper = _band(metric)
                means[lower] = means[metric] - spread
                means[upper] = means[metric] + spread
            if n not in self._means:
                self._means[n] = EventFile(self._directory / f"mean_of_{n}_seeds")
            self._means[n].scalars(epoch, means)
            self._averaged[n] = epoch

    def _common_epochs(self, n: int, after: int = 0) -> list[int]:
        ledger = self._race.ledger
        runs = [ledger[RunKey(self._name, seed)] for seed in self._seeds[:n]]
        common = set(runs[0].reports).intersection(*(run.reports for run in runs))
        return sorted(epoch for epoch in common if epoch > after)

    def _write_cells(self, now: Standing) -> None:
        estimate = (now.estimate, *now.interval) if now.is_modelled else ()
        state = (now.epochs, now.values, tuple(now.failures), estimate)
        if state == self._shown:
            return
        self._shown = state
        rungs = self._race.policy.rungs
        cells = {
            hparams.N_SEEDS: float(len(now.values)),
            hparams.N_FAILED: float(len(now.failures)),
            hparams.EPOCHS: float(now.epochs),
            hparams.LEVEL: rungs.index(now.rung) + 1.0 if now.rung in rungs else 0.0,
        }
        if now.rung is not None and now.rung not in rungs:
            cells[hparams.LEVEL] = len(rungs) + 1.0
        if now.values and not _plugin_averages_right(self._race):
            cells[hparams.AGGREGATE] = now.score
        if len(now.values) > 1:
            cells[hparams.STD] = now.std
            low, high = now.seeds_interval
            if np.isfinite(low) and np.isfinite(high):
                cells[hparams.LOW], cells[hparams.HIGH] = low, high
        tags = (hparams.EXPECTED, hparams.EXPECTED_LOW, hparams.EXPECTED_HIGH)
        # Without a second seed anywhere there is an estimate and no interval.
        cells |= {t: x for t, x in zip(tags, estimate, strict=False) if np.isfinite(x)}
        self.file.scalars(now.epochs, cells)
        for seed in now.values:
            self._write_upto(seed, now.epochs)

    def _write_upto(self, seed: int, last: int) -> None:
        """What the plugin averages: a run's curve up to the rung, and no further."""
        ledger = self._race.ledger
        curve = ledger[RunKey(self._name, seed)].curve
        for epoch in sorted(e for e in curve if self._shown_epochs[seed] < e <= last):
            self._run_file(seed).scalars(epoch, {hparams.SCORE: ledger.metric.own(curve[epoch])})
        self._shown_epochs[seed] = last


def _plugin_averages_right(race: Race) -> bool:
    """Whether the mean of the seeds' last points is the score.

    It is not where another aggregate was asked for, nor where a seed may fail and its group goes
    on: a point that was written for that seed can't be taken back.
    """
    aggregate = race.aggregate
    is_mean = isinstance(aggregate, Aggregate) and aggregate.kind is Kind.MEAN
    return is_mean and race.on_seed_failure is OnSeedFailure.FAIL


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
