"""What a study found: the best config over its seeds, every group, every run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.fs
from ray.train._internal.storage import get_fs_and_path
from ray.tune import Checkpoint

from tune_seeds.analysis import (
    Contention,
    FreshConfirmation,
    SeedReport,
    contention,
    fresh_confirmation,
    importance_table,
    marginal_tables,
    score_table,
    seed_report,
)
from tune_seeds.completeness import Completeness, completeness
from tune_seeds.environment import unwanted_differences
from tune_seeds.field import OnSeedFailure
from tune_seeds.header import Header
from tune_seeds.integrity import check_integrity, rebuild, recorded_aggregate
from tune_seeds.journal import read_events
from tune_seeds.labels import flat
from tune_seeds.ledger import Ledger, Outcome, Rung, RunKey
from tune_seeds.race import Race
from tune_seeds.results_json import to_json
from tune_seeds.standing import ranking, standing
from tune_seeds.statistics.aggregate import ScoreFunction
from tune_seeds.statistics.importance import Importances
from tune_seeds.statistics.intervals import Interval, score_resolution
from tune_seeds.statistics.marginals import Marginal
from tune_seeds.summary import notebook_html, summary


class NoCompleteGroupError(RuntimeError):
    """No config can be called best: each one failed, or none had come to a rung."""


@dataclass(frozen=True, slots=True)
class BestGroup:
    """The config with the best score over the full list of seeds, after every epoch.

    Of a study that was left before its end it is the config that leads, at its last complete rung.

    Attributes:
        group: its name.
        config: the hyperparameters, without the seed.
        score: the study's aggregate, by which it is best; the mean unless another was asked for.
        mean: of the metric over the seeds of ``rung``.
        std: sample standard deviation over the seeds (n − 1); nan with one seed.
        interval: 95 % interval of ``score``, for seeds taken as a random sample; its ``method``
            and ``caveat`` say what it can promise. It does not know that this config was chosen
            as the best of many, which flatters it: see ``SeedResults.confirm``.
        scores: seed → metric at the epochs of ``rung``.
        checkpoints: seed → the newest checkpoint up to these epochs, None where none was reported.
        failures: seed → why it failed, where the study goes on without it.
        rung: where it is scored: the last one in a finished study.
        complete: whether that is every epoch on every seed.
    """

    group: str
    config: dict[str, Any]
    score: float
    mean: float
    std: float
    interval: Interval
    scores: dict[int, float]
    checkpoints: dict[int, Checkpoint | None]
    failures: dict[int, str]
    rung: Rung
    complete: bool


class SeedResults:
    """The results of an experiment, read from its journal; no trial is needed for it.

    Args:
        path: the experiment's directory, local or any URI that Ray takes.
        storage_filesystem: the file system of ``path`` where it is a custom one.
        aggregate: the function that the study aggregated with, if it was the user's own; needed
            for its interval and its confirmation only, the scores are on record.

    Raises:
        FileNotFoundError: there is no experiment of this package.
        IntegrityError: the journal contradicts what the study declared.
    """

    def __init__(
        self,
        path: str,
        storage_filesystem: pyarrow.fs.FileSystem | None = None,
        *,
        aggregate: str | ScoreFunction | None = None,
    ) -> None:
        self.path = str(path)
        self._storage_filesystem = storage_filesystem
        self._fs, self._fs_path = get_fs_and_path(self.path, storage_filesystem)
        self.header = Header.read(self._fs, self._fs_path)
        self.seeds = self.header.seeds
        self.ledger = Ledger(self.seeds, self.header.metric, self.header.mode)
        self.race = Race(
            self.ledger,
            self.header.make_policy(),
            recorded_aggregate(self.header.aggregate, aggregate),
            OnSeedFailure(self.header.on_seed_failure),
        )
        rebuild(self.race, read_events(self._fs, self._fs_path))
        check_integrity(self.race)

    @cached_property
    def resolution(self) -> float:
        """The step of the metric's values, such as 1/N for an accuracy over N examples."""
        values = [
            value
            for group in self.race.groups.values()
            for by_seed in group.values.values()
            for value in by_seed.values()
        ]
        return score_resolution(np.array(values)) if values else 0.0

    @property
    def completeness(self) -> Completeness:
        """How far the study has come; an unfinished one can be restored."""
        return completeness(self.race, self.header.num_samples, self.header.n_finalists)

    @property
    def leader(self) -> str | None:
        """The name of the group that ``best`` is, None where none can be called that."""
        if not self.completeness.finished:
            return self.race.policy.leader()
        top = self.header.rungs[-1]
        alive = (n for n in ranking(self.race, 1) if not self.race.groups[n].lost)
        return next((name for name in alive if top in self.race.groups[name].scores), None)

    @property
    def best(self) -> BestGroup:
        """The best of the groups that hold every epoch on every seed.

        Of a study that was left before its end, the group that its policy would have answered with
        at that moment; ``complete`` and ``rung`` say what it is judged on.

        Raises:
            NoCompleteGroupError: no group has a score; the message says what each lacks.
        """
        name = self.leader
        if name is None:
            raise NoCompleteGroupError(
                "no config can be called best, because each one failed or none has come to a rung:"
                f"\n{self}"
            )
        found = standing(self.race, name, resolution=self.resolution)
        assert found.rung is not None
        seeds = self.seeds[: found.rung.n_seeds]
        runs = {seed: self.ledger[RunKey(name, seed)] for seed in seeds}
        return BestGroup(
            group=name,
            config=self.ledger.configs[name],
            score=found.score,
            mean=float(np.mean(list(found.values.values()))),
            std=found.std,
            interval=found.interval,
            scores=found.values,
            checkpoints={
                seed: self._checkpoint(run.checkpoints, found.rung.epochs)
                for seed, run in runs.items()
            },
            failures=found.failures,
            rung=found.rung,
            complete=found.rung == self.header.rungs[-1],
        )

    @property
    def groups(self) -> pd.DataFrame:
        """One row per config, best first: highest rung, then score; groups that failed last.

        Columns: ``group``; ``config/…`` for each hyperparameter; ``state``; ``epochs`` and
        ``n_seeds`` of the highest rung it is scored at (0 before the first); ``score``, the
        aggregate, and ``mean``, ``std``, ``low`` and ``high`` (95 % interval of the score) of the
        metric over exactly those seeds at exactly that epoch; ``score/SEED`` for each of them;
        ``fresh/SEED`` for confirmation seeds; ``why``, what failed.
        """
        return pd.DataFrame([self._group_row(name) for name in ranking(self.race)])

    def contenders(self, level: float = 0.95, rung: Rung | None = None) -> Contention:
        """The configs that can't be told apart from the best, corrected for choosing among many.

        Args:
            level: probability with which the truly best config is among them; higher keeps more.
            rung: compare the groups scored there; the last rung if None.

        Raises:
            NothingToCompareError: no group has every seed at that rung.
        """
        return contention(score_table(self.race, rung), level)

    def seed_effect(self, rung: Rung | None = None) -> SeedReport:
        """How much of the spread is config, seed and the rest, and whether choices depend on it.

        Raises:
            NothingToCompareError: no group has every seed at that rung.
        """
        return seed_report(score_table(self.race, rung))

    def marginals(
        self, level: float = 0.95, rung: Rung | None = None
    ) -> dict[str, tuple[Marginal, ...]]:
        """The effect of each hyperparameter's values, averaged over the others and over seeds.

        Raises:
            NothingToCompareError: no group has every seed at that rung.
        """
        return marginal_tables(score_table(self.race, rung), self.ledger.sign, level)

    def importances(self, level: float = 0.95, rung: Rung | None = None) -> Importances:
        """How much each hyperparameter matters, for searched spaces.

        The groups of a low rung are many and were chosen by nobody; the finalists are few.

        Raises:
            NothingToCompareError: no group has every seed at that rung.
        """
        return importance_table(score_table(self.race, rung), level)

    @property
    def confirmation(self) -> FreshConfirmation | None:
        """The best configs on fresh seeds; None where none were asked for."""
        return fresh_confirmation(self.race, 0.95)

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
        from tune_seeds.tuner import SeedTuner  # which imports the results

        if not self.completeness.n_complete:
            raise NoCompleteGroupError(
                f"no config has all {len(self.seeds)} seeds at the last rung "
                f"({self.header.rungs[-1]}), so there is nothing to confirm:\n{self}"
            )
        return SeedTuner.confirm(
            self.path, seeds, top, trainable, storage_filesystem=self._storage_filesystem
        )

    def to_json(self) -> str:
        """Everything above as one JSON document; ``results.schema.json`` describes it."""
        return to_json(self)

    @property
    def runs(self) -> pd.DataFrame:
        """One row per run that was started: group, seed, epochs, metric, outcome, where it is."""
        rows: list[dict[str, Any]] = []
        for key, run in self.ledger.items():
            if run.trial_id is None:
                continue
            last = run.last_epoch
            checkpoint = run.checkpoints[max(run.checkpoints)] if run.checkpoints else None
            rows.append(
                {
                    "group": key.group,
                    "seed": key.seed,
                    **self._config_columns(key.group),
                    "epochs": last,
                    self.header.metric: self.ledger.sign * run.curve[last] if last else math.nan,
                    "outcome": "unfinished" if run.outcome is None else str(run.outcome),
                    "error": run.error or "",
                    "trial_id": run.trial_id,
                    "path": self._join(run.trial_dir) if run.trial_dir else None,
                    "checkpoint": self._join(checkpoint) if checkpoint else None,
                }
            )
        return pd.DataFrame(rows)

    @property
    def environment_differences(self) -> dict[str, dict[str, dict[Any, list[int]]]]:
        """What the runs of a group differ in beside the seed; empty where all were run alike.

        Returns:
            group → entry of the environment record (``packages/torch``, ``device``, …) → value →
            the seeds that ran with it.
        """
        found: dict[str, dict[str, dict[Any, list[int]]]] = {}
        for group in self.ledger.configs:
            runs = {seed: self.ledger[RunKey(group, seed)] for seed in self.seeds}
            records = {s: run.environment for s, run in runs.items() if run.environment is not None}
            differences = unwanted_differences(records)
            if differences:
                found[group] = differences
        return found

    def report(self, path: str | Path) -> Path:
        """Write a report: ``.html``, one file that opens offline; ``.md`` or ``.tex``, the ranking.

        Raises:
            ValueError: ``path`` has another ending.
        """
        from tune_seeds.report import write_report  # it takes Plotly's time to import

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

    def _group_row(self, name: str) -> dict[str, Any]:
        row = standing(self.race, name, resolution=self.resolution)
        values = list(row.values.values())
        fresh = {seed: self.ledger.get(RunKey(name, seed)) for seed in self.ledger.fresh_seeds}
        return {
            "group": name,
            **self._config_columns(name),
            "state": str(row.state),
            "epochs": 0 if row.rung is None else row.rung.epochs,
            "n_seeds": len(values),
            "score": row.score,
            "mean": float(np.mean(values)) if values else math.nan,
            "std": row.std,
            "low": row.interval.low,
            "high": row.interval.high,
            **{f"score/{seed}": value for seed, value in row.values.items()},
            **{
                f"fresh/{seed}": self.ledger.sign * run.curve[run.last_epoch]
                for seed, run in fresh.items()
                if run is not None and run.outcome is Outcome.COMPLETED
            },
            "why": "; ".join(f"seed {seed}: {error}" for seed, error in row.failures.items()),
        }

    def _config_columns(self, name: str) -> dict[str, Any]:
        return {f"config/{k}": v for k, v in flat(self.ledger.configs[name]).items()}

    def _checkpoint(self, checkpoints: dict[int, str], epochs: int) -> Checkpoint | None:
        newest = max((epoch for epoch in checkpoints if epoch <= epochs), default=None)
        if newest is None:
            return None
        path = PurePosixPath(self._fs_path) / checkpoints[newest]
        return Checkpoint(str(path), filesystem=self._fs)

    def _join(self, relative: str) -> str:
        return str(PurePosixPath(self._fs_path) / relative)
