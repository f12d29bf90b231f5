"""One config of a study at its last complete rung: what it is, what it scored, what was kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tune_seeds.analysis.group_summary import Standing
from tune_seeds.core.jsonable import flat
from tune_seeds.core.ledger import RunKey
from tune_seeds.core.rungs import Rung
from tune_seeds.race.race import Race
from tune_seeds.statistics.collapse import Collapse
from tune_seeds.statistics.intervals import Interval
from tune_seeds.statistics.shown import Shown
from tune_seeds.store.configs import load_config
from tune_seeds.store.directory import ExperimentDir


@dataclass(frozen=True, slots=True, repr=False)
class BestRecord(Shown):
    """The config with the best score over the full list of seeds, after every epoch.

    Of a study that was left before its end it is the config that leads, at its last complete rung.

    Attributes:
        group: its name.
        config: the hyperparameters, without the seed. Read from the experiment's directory, values
            that JSON can't hold (classes, functions, tensors, …) are their ``repr``; from
            ``SeedTuner.fit``, and from ``load_config()``, they are what the runs got.
        score: the study's aggregate, by which it is best; the mean unless another was asked for.
        mean: of the metric over the seeds of ``rung``.
        std: sample standard deviation over the seeds (n − 1); nan with one seed.
        estimate: what the config is expected to score on a fresh seed, from all configs of the
            study together: what selection added to ``mean`` is taken off again. It is ``score``
            where the study ranks by something else than the mean.
        interval: 95 % interval of ``estimate``, which knows that the config was chosen; its
            ``method`` and ``caveat`` say what it can promise.
        seeds_interval: 95 % interval from these seeds alone, chosen or not: right for a config
            picked beforehand, and too high for the best of many.
        scores: seed → metric at the epochs of ``rung``.
        checkpoint_paths: seed → the newest checkpoint up to these epochs, on the file system of the
            experiment; None where none was reported.
        failures: seed → why it failed, where the study goes on without it.
        rung: where it is scored: the last one in a finished study.
        complete: whether that is every epoch on every seed.
        collapse: of the runs that trained far enough, how many came to nothing; None where none
            has trained.
        directory: of the experiment.
        run_directories: seed → the directory of its run, relative to ``directory``.
        reports: seed → epoch → every metric of that epoch, up to the epochs of ``rung``.
    """

    group: str
    config: dict[str, Any]
    score: float
    mean: float
    std: float
    estimate: float
    interval: Interval
    seeds_interval: Interval
    scores: dict[int, float]
    checkpoint_paths: dict[int, str | None]
    failures: dict[int, str]
    rung: Rung
    complete: bool
    collapse: Collapse | None
    directory: ExperimentDir = field(compare=False, repr=False)
    run_directories: dict[int, str | None] = field(compare=False, repr=False)
    reports: dict[int, dict[int, dict[str, float]]] = field(compare=False, repr=False)

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        low, high = self.interval
        seeds_low, seeds_high = self.seeds_interval
        yield {
            "group": self.group,
            **{f"config/{key}": value for key, value in flat(self.config).items()},
            "score": self.score,
            "mean": self.mean,
            "std": self.std,
            "estimate": self.estimate,
            "low": low,
            "high": high,
            "seeds_low": seeds_low,
            "seeds_high": seeds_high,
            **{f"score/{seed}": value for seed, value in self.scores.items()},
        }

    def __str__(self) -> str:
        """What it is, what it scored, and what it should score on a fresh seed."""
        config = ", ".join(f"{key}={value}" for key, value in flat(self.config).items())
        by_seed = ", ".join(f"{value:.5g} (seed {s})" for s, value in self.scores.items())
        std = "" if math.isnan(self.std) else f", standard deviation {self.std:.3g}"
        lines = [f"{self.group}: {config}", f"score {self.score:.5g}: {by_seed}{std}"]
        return "\n".join([*lines, *self.expectations(), *self.notes()])

    def expectations(self) -> list[str]:
        """What it should score on a fresh seed, and what its own seeds say alone."""
        (low, high), (own_low, own_high) = self.interval, self.seeds_interval
        lines: list[str] = []
        if low == low:
            lines.append(
                f"expected on a fresh seed: {self.estimate:.5g}, {self.interval.level:.0%} "
                f"interval {low:.5g} to {high:.5g} ({self.interval.method})"
            )
        if own_low == own_low and self.interval != self.seeds_interval:
            lines.append(
                f"of these {len(self.scores)} seeds alone, chosen or not: {self.mean:.5g}, "
                f"{self.seeds_interval.level:.0%} interval {own_low:.5g} to {own_high:.5g}"
            )
        return lines

    def _notes(self) -> Sequence[str]:
        return [*self.expectations(), *self.notes()]

    def notes(self) -> list[str]:
        """What the interval can't promise, and how many runs came to nothing."""
        notes: list[str] = []
        if self.interval.caveat:
            notes.append(f"note on the interval: {self.interval.caveat}")
        if self.collapse is not None and self.collapse.study.count:
            notes.append(str(self.collapse))
        return notes

    def load_config(self) -> dict[str, Any]:
        """The config with its objects, as the runs got it: ``Net(**best.load_config())``.

        It unpickles what is in the journal, which runs code: only for experiments of one's own.
        """
        return load_config(self.directory, self.group)


def best_record(
    race: Race, found: Standing, collapse: Collapse | None, directory: ExperimentDir
) -> BestRecord:
    """One config at its last complete rung; before its first, at the rung that it heads for.

    Args:
        race: read only.
        found: where its group stands.
        collapse: of the study's runs, how many came to nothing; None where none has trained.
        directory: of the experiment.
    """
    rung = found.rung or found.goal
    seeds = race.ledger.seeds[: rung.n_seeds]
    runs = {seed: race.ledger[RunKey(found.group, seed)] for seed in seeds}
    values = list(found.values.values())
    return BestRecord(
        group=found.group,
        config=found.config,
        score=found.score,
        mean=float(np.mean(values)) if values else math.nan,
        std=found.std,
        estimate=found.estimate,
        interval=found.interval,
        seeds_interval=found.seeds_interval,
        scores=found.values,
        checkpoint_paths={
            seed: _newest_checkpoint(run.checkpoints, rung.epochs, directory)
            for seed, run in runs.items()
        },
        failures=found.failures,
        rung=rung,
        complete=found.rung == race.policy.rungs[-1],
        collapse=collapse,
        directory=directory,
        run_directories={seed: run.trial_dir for seed, run in runs.items()},
        reports={
            seed: {epoch: m for epoch, m in run.reports.items() if epoch <= rung.epochs}
            for seed, run in runs.items()
        },
    )


def _newest_checkpoint(
    checkpoints: Mapping[int, str], epochs: int, directory: ExperimentDir
) -> str | None:
    newest = max((epoch for epoch in checkpoints if epoch <= epochs), default=None)
    return None if newest is None else directory.join(checkpoints[newest])
