"""The one record of a study: what every run reported, and how it ended."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import TO_THE_END, Rung


class RunKey(NamedTuple):
    """One run: a group (all runs of one config) and one seed of the study's list."""

    group: str
    seed: int


class Outcome(StrEnum):
    """How a run ended; a run without an outcome is running, waiting or not started."""

    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(slots=True)
class Run:
    """What one run reported.

    Attributes:
        reports: epoch → every metric of that epoch, in the metric's own direction.
        curve: epoch → what the run is worth there by the study's metric and its ``score``, turned
            so that higher is better; with ``score="last"`` the metric as it was reported.
        outcome: how it ended, if it did.
        error: why it failed, if it did.
        trial_id: Ray's id of the trial that runs it, the last one after a restore.
        trial_dir: that trial's directory, relative to the experiment.
        checkpoints: epoch → checkpoint directory, relative to the experiment, of those that are
            not deleted; the one that was reported last is the last.
        checkpoint_bytes: epoch → size of that checkpoint, where the run told it.
        environment: what its bits depend on, as it was when it started.
    """

    reports: dict[int, dict[str, float]] = field(default_factory=dict[int, dict[str, float]])
    curve: dict[int, float] = field(default_factory=dict[int, float])
    outcome: Outcome | None = None
    error: str | None = None
    trial_id: str | None = None
    trial_dir: str | None = None
    checkpoints: dict[int, str] = field(default_factory=dict[int, str])
    checkpoint_bytes: dict[int, int] = field(default_factory=dict[int, int])
    environment: dict[str, Any] | None = None

    @property
    def last_epoch(self) -> int:
        """The newest reported epoch, 0 before the first report."""
        return max(self.curve, default=0)


class Ledger(Mapping[RunKey, Run]):
    """A mapping from (group, seed) to its run, for the seeds of one study in their order.

    Args:
        seeds: the study's distinct seeds; every group is run on the same ones, in this order.
        metric: what is tuned; turned here, once, so that higher is better inside.
    """

    def __init__(self, seeds: Sequence[int], metric: Metric) -> None:
        self.seeds = tuple(seeds)
        self.metric = metric
        self.configs: dict[str, dict[str, Any]] = {}
        self.fresh_seeds: tuple[int, ...] = ()
        self._runs: dict[RunKey, Run] = {}

    def __getitem__(self, key: RunKey) -> Run:
        return self._runs[key]

    def __iter__(self) -> Iterator[RunKey]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def add_group(self, group: str, config: dict[str, Any]) -> None:
        """Open a group: one empty run per seed.

        Raises:
            ValueError: the group exists.
        """
        if group in self.configs:
            raise ValueError(f"group {group} exists already")
        self.configs[group] = config
        for seed in self.seeds:
            self._runs[RunKey(group, seed)] = Run()

    def extend(self, seeds: Sequence[int]) -> None:
        """Let every group meet more seeds.

        Args:
            seeds: all of them; the ones before are their head.

        Raises:
            ValueError: they are not, or one of the new ones is a fresh seed of a confirmation.
        """
        if tuple(seeds[: len(self.seeds)]) != self.seeds:
            raise ValueError(f"the seeds {list(seeds)} don't begin with {list(self.seeds)}")
        if used := sorted(set(seeds) & set(self.fresh_seeds)):
            raise ValueError(f"the seeds {used} have confirmed configs, so they can't tune")
        self.seeds = tuple(seeds)
        before, self._runs = self._runs, {}
        for group in self.configs:
            for seed in self.seeds:
                key = RunKey(group, seed)
                self._runs[key] = before.pop(key, None) or Run()
        self._runs.update(before)

    def add_confirmation(self, groups: Sequence[str], seeds: Sequence[int]) -> list[RunKey]:
        """Open runs of groups on fresh seeds; they join no rung.

        Returns:
            The runs that did not exist.

        Raises:
            ValueError: a seed is one of the study's own.
        """
        overlap = sorted(set(seeds) & set(self.seeds))
        if overlap:
            raise ValueError(f"seeds {overlap} were tuned on, so they can't confirm")
        keys = [RunKey(group, seed) for group in groups for seed in seeds]
        keys = [key for key in keys if key not in self._runs]
        for key in keys:
            self._runs[key] = Run()
        self.fresh_seeds = tuple(dict.fromkeys((*self.fresh_seeds, *seeds)))
        return keys

    def record(self, key: RunKey, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Note one report; the first one of an epoch counts.

        A run that goes on from an older checkpoint repeats epochs. They must come out equal, and
        decisions were taken on the first ones, so those stay.

        Returns:
            Whether the report was new.
        """
        run = self._runs[key]
        if epoch in run.reports:
            return False
        run.reports[epoch] = dict(metrics)
        if self.metric.name in metrics:
            run.curve[epoch] = self.metric.worth(self._reported(run))
        return True

    def _reported(self, run: Run) -> list[float]:
        """The metric of the newest report, and where the score needs them those before it."""
        name = self.metric.name
        if self.metric.score == "last":
            return [next(reversed(run.reports.values()))[name]]
        return [metrics[name] for metrics in run.reports.values() if name in metrics]

    def values_at(self, group: str, rung: Rung) -> tuple[float, ...] | None:
        """The metric of exactly the rung's seeds at exactly its epochs; None while one is missing.

        Returns:
            One value per seed, higher is better, in the study's order of seeds; None also where
            runs that came to their own ends did so at different epochs.
        """
        return self.values_on(group, self.seeds[: rung.n_seeds], rung.epochs)

    def values_on(self, group: str, seeds: Sequence[int], epochs: int) -> tuple[float, ...] | None:
        """As ``values_at``, on any seeds."""
        runs = [self._runs[RunKey(group, seed)] for seed in seeds]
        if epochs == TO_THE_END:
            if any(run.outcome is not Outcome.COMPLETED for run in runs):
                return None
            if len({run.last_epoch for run in runs}) != 1:
                return None
            values = [run.curve.get(run.last_epoch) for run in runs]
        else:
            values = [run.curve.get(epochs) for run in runs]
        finite = [value for value in values if value is not None and math.isfinite(value)]
        return tuple(finite) if len(finite) == len(runs) else None
