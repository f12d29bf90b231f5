"""What a study found: the best config over its seeds, every group, every run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.fs

from tune_seeds.analysis.group_summary import ranking, standing
from tune_seeds.analysis.study_comparison import StudyComparison, compare_studies
from tune_seeds.analysis.study_record import NoCompleteGroupError, StudyRecord
from tune_seeds.core.ledger import Outcome
from tune_seeds.handover.group_result import BestGroup, GroupResult
from tune_seeds.handover.ray_words import last_reports
from tune_seeds.handover.retraining import Retrained, retrained
from tune_seeds.policies.base import Policy
from tune_seeds.statistics.aggregate import ScoreFunction
from tune_seeds.store.configs import load_configs
from tune_seeds.store.own_policy import stored_policy
from tune_seeds.views.explanation import explain
from tune_seeds.views.figures.plot import Plots
from tune_seeds.views.json_document import to_json
from tune_seeds.views.summary import notebook_html, summary

__all__ = ["BestGroup", "GroupResult", "NoCompleteGroupError", "SeedResults"]


class SeedResults(StudyRecord):
    """The results of an experiment, read from its journal; neither Ray nor a trial is needed.

    Args:
        path: the experiment's directory, local or any URI that Ray takes.
        storage_filesystem: the file system of ``path`` where it is a custom one.
        aggregate: the function that the study aggregated with, if it was the user's own; needed
            for its interval and its confirmation only, the scores are on record.
        policy: the policy that steered the study, if it was the user's own, as it was given to
            ``SeedTuner``; it matters for ``best`` of an unfinished study only, which is the best
            config at the highest rung without it.
        unpickle: load that policy, and let ``best.config`` hold the very objects that the runs
            got, where JSON can't (``best.load_config()`` does so once). That runs code: only for
            experiments of one's own. ``SeedTuner`` reads its own results so.

    Raises:
        FileNotFoundError: there is no experiment of this package.
        IntegrityError: the journal contradicts what the study declared.
        CannotLoadPolicyError: with ``unpickle``, the user's policy is not importable here.
    """

    def __init__(
        self,
        path: str,
        storage_filesystem: pyarrow.fs.FileSystem | None = None,
        *,
        aggregate: str | ScoreFunction | None = None,
        policy: Policy | None = None,
        unpickle: bool = False,
    ) -> None:
        if unpickle and policy is None:
            policy = stored_policy(path, storage_filesystem)
        super().__init__(path, storage_filesystem, aggregate=aggregate, policy=policy)
        self._storage_filesystem = storage_filesystem
        # Now, so that results stay what they are where the experiment is moved.
        self._configs = load_configs(self.directory) if unpickle else {}

    @property
    def best(self) -> BestGroup:
        """The best of the groups that hold every epoch on every seed.

        Of a study that was left before its end, the group that its policy would have answered with
        at that moment; ``complete`` and ``rung`` say what it is judged on.

        Raises:
            NoCompleteGroupError: no group has a score; the message says what each lacks.
        """
        return BestGroup(**self._fields(super().best.group))

    def group(self, name: str) -> GroupResult:
        """One config at its last complete rung, as ``best`` describes the best one.

        Before its first rung it has no score (nan), and ``rung`` is the one that it heads for.

        Raises:
            KeyError: the study has no such group.
        """
        return GroupResult(**self._fields(name))

    def _fields(self, name: str) -> dict[str, Any]:
        record = super().group(name)
        values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
        values["config"] = self._configs.get(record.group, record.config)
        return values

    def __len__(self) -> int:
        """The number of configs."""
        return len(self.race.groups)

    def __iter__(self) -> Iterator[GroupResult]:
        """The configs, best first, as ``groups`` lists them."""
        return map(self.group, ranking(self.race))

    def __getitem__(self, place: int) -> GroupResult:
        """The config at a place of the ranking; 0 is the first, -1 the last.

        Raises:
            IndexError: the study has not so many configs.
            TypeError: ``place`` is no whole number; ``group(name)`` takes a name.
        """
        if isinstance(place, bool) or not hasattr(place, "__index__"):
            raise TypeError(
                f"results[...] takes a place in the ranking, got {place!r}; a config is "
                "results.group('g0001'), a run a row of results.runs"
            )
        return self.group(ranking(self.race)[place])

    def get_best_result(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> BestGroup:
        """``best``, by the name that Ray's ``ResultGrid`` has for it.

        Args:
            metric: the study's own; another one was not searched for.
            mode: likewise.
            scope: ``"last"``: configs are compared at the same epochs.
            filter_nan_and_inf: True: a diverged seed never wins.

        Raises:
            ValueError: one of them is another; the message says what to write.
            NoCompleteGroupError: as for ``best``.
        """
        header = self.header
        if (metric or header.metric, mode or header.mode) != (header.metric, header.mode):
            raise ValueError(
                f"the study was searched for {header.metric!r} ({header.mode}), and a config is "
                f"the best by that; got metric={metric!r}, mode={mode!r}. To rank by something "
                "else, sort the configs: sorted(results, key=lambda r: r.metrics[...])"
            )
        if scope != "last":
            raise ValueError(
                f"scope={scope!r} takes each run at an epoch of its own, and seeds are compared at "
                "equal ones; leave it out, or look at best.metrics_dataframe"
            )
        if filter_nan_and_inf is not True:
            raise ValueError(
                "filter_nan_and_inf=False would let a diverged run win; what a diverged seed means "
                "for its config is SeedTuner(on_seed_failure=...)"
            )
        return self.best

    def get_dataframe(
        self, filter_metric: str | None = None, filter_mode: str | None = None
    ) -> pd.DataFrame:
        """One row for each run with every metric of its last report, as Ray's ``ResultGrid``.

        The columns are the metrics, ``group``, ``trial_id``, ``logdir`` and ``config/…``, of which
        ``config/seed`` is the seed. Runs of different rungs end at different epochs: compare
        configs by ``groups`` or ``results[0].metrics``.

        Args:
            filter_metric: take the report in which this metric is best, instead of the last one.
            filter_mode: ``"min"`` or ``"max"``; for the study's metric its own mode if None.

        Raises:
            ValueError: a mode without a metric, or a metric that no run has reported.
        """
        return last_reports(self, filter_metric, filter_mode)

    @property
    def retrained(self) -> list[Retrained]:
        """What ``best.retrain()`` has trained in this experiment, the oldest first."""
        return retrained(self.directory)

    @property
    def experiment_path(self) -> str:
        """The directory of the experiment, on its file system."""
        return self.directory.path

    @property
    def filesystem(self) -> pyarrow.fs.FileSystem:
        """The file system of the experiment."""
        return self.directory.fs

    @property
    def errors(self) -> list[str]:
        """Why runs failed, by group and seed."""
        runs = self.ledger.items()
        return [f"{k.group}, seed {k.seed}: {run.error}" for k, run in runs if run.error]

    @property
    def num_errors(self) -> int:
        """The number of runs that failed."""
        return sum(run.outcome is Outcome.FAILED for run in self.ledger.values())

    @property
    def num_terminated(self) -> int:
        """The number of runs that came to their end or were stopped."""
        ended = (Outcome.COMPLETED, Outcome.STOPPED)
        return sum(run.outcome in ended for run in self.ledger.values())

    def compare(self, other: StudyRecord, level: float = 0.95) -> StudyComparison:
        """The difference of this study's best config and another's, paired over common seeds.

        Where both were confirmed on common fresh seeds, these are taken, since they chose neither.
        ``print`` shows it, with what differs between the studies and their search spaces.

        Args:
            other: results of the other study, with the same metric; B of the difference A - B.
            level: of the interval, in (0, 1).

        Raises:
            ValueError: the studies follow different metrics, or in different directions.
            NothingToCompareError: the bests share no seed, or were scored at different epochs.
            NoCompleteGroupError: one of the studies has no best config.
        """
        return compare_studies(self, other, level)

    def confirm(
        self,
        seeds: Sequence[int] | int,
        top: int = 3,
        trainable: Any = None,
    ) -> SeedResults:
        """Train the best configs on fresh seeds, in the same experiment; it can be restored.

        Args:
            seeds: distinct integers that the search did not use, or how many to draw.
            top: how many of the best configs.
            trainable: what the study trained; if None, what it pickled is loaded, which runs
                code: only for experiments of one's own.

        Returns:
            The results, with ``confirmation``.

        Raises:
            OverlappingSeedsError: a seed is one of those tuned on.
            NoCompleteGroupError: no config has every epoch on every seed, so there is nothing to
                confirm; restore the study first.
        """
        # These take Ray's time to import.
        from tune_seeds.launch.confirm import confirmation
        from tune_seeds.launch.run import run

        if not self.completeness.n_complete:
            raise NoCompleteGroupError(
                f"no config has all {len(self.seeds)} seeds at the last rung "
                f"({self.header.rungs[-1]}), so there is nothing to confirm:\n{self}"
            )
        study = confirmation(
            self.path, seeds, top, trainable, storage_filesystem=self._storage_filesystem
        )
        run(study)
        return SeedResults(
            self.path,
            self._storage_filesystem,
            aggregate=study.arguments.aggregate,
            policy=study.policy,
            unpickle=bool(self._configs),
        )

    def explain(self) -> str:
        """Five sentences in plain words that a paper can quote.

        What is best, how sure that is, what was compared, what seeds changed, and what would change
        the answer; each number is one that the methods of this object give.
        """
        return explain(self)

    def to_frame(self) -> pd.DataFrame:
        """``groups``: one row per config, best first."""
        return self.groups

    def to_json(self) -> str:
        """Everything above as one JSON document; ``results.schema.json`` describes it."""
        return to_json(self)

    @property
    def plot(self) -> Plots:
        """The study's figures: ``results.plot.ranking()``, ``.curves("train_loss")``, and others.

        They are Plotly's; the report shows the same ones.
        """
        return Plots(self)

    def report(self, path: str | Path) -> Path:
        """Write a report: ``.html``, one file that opens offline; ``.md`` or ``.tex``, the ranking.

        Raises:
            ValueError: ``path`` has another ending.
            FileNotFoundError: its folder does not exist; none is made.
        """
        from tune_seeds.views.report import write_report  # it takes Plotly's time to import

        return write_report(self, path)

    def __str__(self) -> str:
        """The groups as a table, best first, and what can be said of the best."""
        return summary(self)

    def __repr__(self) -> str:
        """Where it was read from, and how it stands."""
        states = [str(standing(self.race, name).state) for name in self.race.groups]
        n = states.count("complete")
        return f"SeedResults({self.path!r}): {n} of {len(states)} configs complete"

    def _repr_html_(self) -> str:
        """The groups as a table, for notebooks, and what can be said of the best."""
        return notebook_html(self)
