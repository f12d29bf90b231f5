"""What a study found: the best config over its seeds, every group, every run."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow.fs
from ray.train._internal.storage import get_fs_and_path
from ray.tune import Checkpoint
from scipy import stats

from tune_seeds.environment import unwanted_differences
from tune_seeds.header import Header
from tune_seeds.journal import plain, read_events
from tune_seeds.ledger import TO_THE_END, Ledger, Outcome, RunKey
from tune_seeds.policy import SuccessiveHalving
from tune_seeds.race import Group, Race


class NoCompleteGroupError(RuntimeError):
    """No config has a score on every seed at the last rung: runs failed, or time ran out."""


@dataclass(frozen=True, slots=True)
class BestGroup:
    """The config with the best aggregate over the full list of seeds, after every epoch.

    Attributes:
        group: its name.
        config: the hyperparameters, without the seed.
        mean: of the metric over the seeds.
        std: sample standard deviation over the seeds (n − 1); nan with one seed.
        interval: 95 % t interval of the mean, for seeds taken as a random sample and scores that
            are about normal; (nan, nan) with one seed. It does not know that this config was
            chosen as the best of many, which flatters it.
        scores: seed → metric at the last epoch.
        checkpoints: seed → the checkpoint at the last epoch, None where none was reported.
    """

    group: str
    config: dict[str, Any]
    mean: float
    std: float
    interval: tuple[float, float]
    scores: dict[int, float]
    checkpoints: dict[int, Checkpoint | None]


class SeedResults:
    """The results of an experiment, read from its journal; no trial is needed for it.

    Args:
        path: the experiment's directory, local or any URI that Ray takes.
        storage_filesystem: the file system of ``path`` where it is a custom one.

    Raises:
        FileNotFoundError: there is no experiment of this package.
    """

    def __init__(self, path: str, storage_filesystem: pyarrow.fs.FileSystem | None = None) -> None:
        self.path = str(path)
        self._fs, self._fs_path = get_fs_and_path(self.path, storage_filesystem)
        self.header = Header.read(self._fs, self._fs_path)
        self.seeds = self.header.seeds
        self.ledger = Ledger(self.seeds, self.header.metric, self.header.mode)
        policy = SuccessiveHalving(
            self.header.rungs, self.header.reduction_factor, self.header.n_finalists
        )
        self._race = Race(self.ledger, policy, statistics.fmean)
        for event in read_events(self._fs, self._fs_path):
            self._race.apply(event)

    @property
    def best(self) -> BestGroup:
        """The best of the groups that hold every epoch on every seed.

        Raises:
            NoCompleteGroupError: no group does; the message says what each lacks.
        """
        top = self.header.rungs[-1]
        complete = [
            (group.scores[top], -group.index, name)
            for name, group in self._race.groups.items()
            if top in group.scores and not group.failures
        ]
        if not complete:
            raise NoCompleteGroupError(
                f"no config has all {len(self.seeds)} seeds at the last rung ({top}), so none can "
                f"be called best:\n{self}"
            )
        name = max(complete)[2]
        values = self.ledger.values_at(name, top)
        assert values is not None
        scores = [self.ledger.sign * value for value in values]
        runs = [self.ledger[RunKey(name, seed)] for seed in self.seeds]
        checkpoints = [self._checkpoint(run.checkpoints) for run in runs]
        return BestGroup(
            group=name,
            config=self.ledger.configs[name],
            mean=statistics.fmean(scores),
            std=_std(scores),
            interval=_interval(scores),
            scores=dict(zip(self.seeds, scores, strict=True)),
            checkpoints=dict(zip(self.seeds, checkpoints, strict=True)),
        )

    @property
    def groups(self) -> pd.DataFrame:
        """One row per config, best first: highest rung, then score; groups that failed last.

        Columns: ``group``; ``config/…`` for each hyperparameter; ``state``; ``epochs`` and
        ``n_seeds`` of the highest rung it is scored at (0 before the first); ``mean`` and ``std``
        of the metric over exactly those seeds at exactly that epoch; ``score/SEED`` for each of
        them; ``why``, what failed.
        """
        ranked = sorted(self._race.groups.items(), key=lambda item: self._rank(item[1]))
        return pd.DataFrame([self._group_row(name, group) for name, group in ranked])

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
        """A table of the groups, best first."""
        title = (
            f"{self.header.metric} ({self.header.mode}) over the seeds "
            f"{', '.join(map(str, self.seeds))}; rungs (epochs x seeds) "
            f"{' '.join(map(str, self.header.rungs))}"
        )
        table = self.groups
        if table.empty:
            return f"{title}\nno config was run"
        table["scores by seed"] = [self._scores_text(name) for name in table["group"]]
        table = table.drop(columns=[c for c in table.columns if c.startswith("score/")])
        table["rung"] = [
            f"{'end' if e == TO_THE_END else e}x{k}" if k else "-"
            for e, k in zip(table["epochs"], table["n_seeds"], strict=True)
        ]
        table = table.drop(columns=["epochs", "n_seeds"])
        table.columns = [c.removeprefix("config/") for c in table.columns]
        order = ["group", "state", "rung", "mean", "std", "scores by seed"]
        config = [c for c in table.columns if c not in (*order, "why")]
        columns = [*order, *config] + (["why"] if any(table["why"]) else [])
        text: str = cast(Any, table[columns]).to_string(
            index=False, float_format=lambda x: f"{x:.5g}", na_rep="", max_colwidth=60
        )
        return f"{title}\n{text}{self._differences_text()}"

    def _differences_text(self) -> str:
        return "".join(
            f"\n{group}: its runs differ in {entry}, not in the seed alone: "
            + "; ".join(
                f"{value!r} (seeds {', '.join(map(str, s))})" for value, s in values.items()
            )
            for group, differences in self.environment_differences.items()
            for entry, values in differences.items()
        )

    def _rank(self, group: Group) -> tuple[bool, int, float, int]:
        rungs = self.header.rungs
        level = max((k for k, rung in enumerate(rungs) if rung in group.scores), default=-1)
        score = group.scores[rungs[level]] if level >= 0 else -math.inf
        return bool(group.failures), -level, -score, group.index

    def _group_row(self, name: str, group: Group) -> dict[str, Any]:
        scored = [rung for rung in self.header.rungs if rung in group.scores]
        rung = scored[-1] if scored else None
        values = self.ledger.values_at(name, rung) if rung else None
        scores = [self.ledger.sign * value for value in values or ()]
        why = "; ".join(f"seed {seed}: {error}" for seed, error in group.failures.items())
        return {
            "group": name,
            **self._config_columns(name),
            "state": self._state(group),
            "epochs": rung.epochs if rung else 0,
            "n_seeds": rung.n_seeds if rung else 0,
            "mean": statistics.fmean(scores) if scores else math.nan,
            "std": _std(scores),
            **{f"score/{s}": v for s, v in zip(self.seeds, scores, strict=False)},
            "why": why,
        }

    def _state(self, group: Group) -> str:
        if group.failures:
            return "failed"
        if self.header.rungs[-1] in group.scores:
            return "complete"
        return "unfinished" if group.heading else "stopped"

    def _scores_text(self, name: str) -> str:
        group = self._race.groups[name]
        texts: list[str] = []
        for seed in self.seeds:
            run = self.ledger[RunKey(name, seed)]
            if run.outcome is Outcome.FAILED:
                texts.append("failed")
            elif not run.curve:
                texts.append("-")
            else:
                value = self.ledger.sign * run.curve[run.last_epoch]
                behind = group.goal.epochs not in (run.last_epoch, TO_THE_END)
                texts.append(f"{value:.4g}" + (f"@{run.last_epoch}" if behind else ""))
        return " ".join(texts)

    def _config_columns(self, name: str) -> dict[str, Any]:
        return {f"config/{k}": v for k, v in _flat(plain(self.ledger.configs[name])).items()}

    def _checkpoint(self, checkpoints: dict[int, str]) -> Checkpoint | None:
        if not checkpoints:
            return None
        path = PurePosixPath(self._fs_path) / checkpoints[max(checkpoints)]
        return Checkpoint(str(path), filesystem=self._fs)

    def _join(self, relative: str) -> str:
        return str(PurePosixPath(self._fs_path) / relative)


def _std(scores: list[float]) -> float:
    return statistics.stdev(scores) if len(scores) > 1 else math.nan


def _interval(scores: list[float]) -> tuple[float, float]:
    n = len(scores)
    if n < 2:
        return math.nan, math.nan
    half = float(stats.t.ppf(0.975, n - 1)) * statistics.stdev(scores) / math.sqrt(n)
    mean = float(np.mean(scores))
    return mean - half, mean + half


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}/"))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
