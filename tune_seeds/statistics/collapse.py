"""How often a run comes to nothing: it ends where it began, or diverges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from tune_seeds.statistics.distributions import beta_quantile
from tune_seeds.statistics.intervals import Interval, require_level
from tune_seeds.statistics.shown import Shown

#: A run that has gained less than this share of what the best run gained has done nothing.
LEAST_GAIN = 0.1


@dataclass(frozen=True, slots=True, repr=False)
class Share(Shown):
    """So many of so many, and what that says of the next one.

    Attributes:
        count: of runs that collapsed.
        n: of runs looked at.
        estimate: count/n; NaN of none.
        interval: Clopper–Pearson; runs count as independent, those of one config are only nearly.
    """

    count: int
    n: int
    estimate: float
    interval: Interval

    def __str__(self) -> str:
        """In words."""
        if self.n == 0:
            return "none of no runs"
        low, high = self.interval
        return (
            f"{self.count} of {self.n} ({self.estimate:.0%}, {self.interval.level:.0%} interval "
            f"{low:.0%} to {high:.0%})"
        )


@dataclass(frozen=True, slots=True, repr=False)
class Collapse(Shown):
    """How many runs that trained far enough ended at the level of doing nothing, or diverged.

    Attributes:
        study: over all runs of the study.
        best: over the runs of one config, the best one unless another was asked for.
        epochs: what counts as far enough.
        level: a run that ended at or beyond it has done nothing, in the metric's own direction;
            NaN where no level can be seen and only diverged runs count.
        diverged: how many of the runs diverged.
        runs: the collapsed ones, as (group, seed).
    """

    study: Share
    best: Share
    epochs: int
    level: float
    diverged: int
    runs: tuple[tuple[str, int], ...]

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        for of, share in (("study", self.study), ("config", self.best)):
            low, high = share.interval
            yield {
                "of": of,
                "collapsed": share.count,
                "runs": share.n,
                "rate": share.estimate,
                "low": low,
                "high": high,
            }

    def _notes(self) -> Sequence[str]:
        return (str(self),)

    def __str__(self) -> str:
        """In words."""
        text = (
            f"of the runs that trained for {self.epochs} epochs or more, {self.study} ended at the "
            "level of doing nothing or diverged"
        )
        return f"{text}; of the config's own runs {self.best}"


def share_of(count: int, n: int, *, level: float = 0.95) -> Share:
    """A share and its exact binomial interval (Clopper and Pearson 1934).

    Args:
        count: at least 0, at most n.
        n: how many there are; of none nothing is known, and the interval is all of 0 to 1.
        level: in (0, 1); higher is wider.

    Raises:
        ValueError: count is not in 0 … n, or level is out of range.

    Example:
        >>> share_of(0, 3).interval.high < 0.71
        True
    """
    require_level(level)
    if not 0 <= count <= n:
        raise ValueError(f"count must be in 0 … {n}, got {count}")
    tail = (1 - level) / 2
    low = beta_quantile(tail, count, n - count + 1) if count else 0.0
    high = beta_quantile(1 - tail, count + 1, n - count) if count < n else 1.0
    interval = Interval(low, high, level, "Clopper-Pearson", n)
    return Share(count, n, count / n if n else float("nan"), interval)


def doing_nothing(
    first: Float[np.ndarray, " run"], ever: Float[np.ndarray, " run"]
) -> float | None:
    """The value that a run has to pass to have done anything; None if there is no telling.

    The study itself shows what an untrained model scores: it is where the poorest run stood at its
    first report. Runs that have gained less than a tenth of the way from there to the best value
    seen have done nothing.

    Args:
        first: value of each run at its first report, higher is better; finite ones only.
        ever: best value of each run.
    """
    if len(first) < 4:
        return None
    lower, upper = np.percentile(first, [25, 75])
    # One that was thrown far off by its first epochs is no measure of doing nothing.
    start = float(np.min(first[first >= lower - 3 * (upper - lower)]))
    best = float(np.max(ever))
    return start + LEAST_GAIN * (best - start) if best > start else None


def far_enough(
    curves: Sequence[Mapping[int, float]], milestones: Sequence[int], nothing: float
) -> int | None:
    """The first milestone by which half of the runs that came to it have done something.

    Args:
        curves: epoch → value of each run, higher is better.
        milestones: epochs, rising.
        nothing: the level of doing nothing.
    """
    for epochs in milestones:
        there = [curve[epochs] for curve in curves if epochs in curve and epochs > min(curve)]
        if len(there) > 1 and float(np.median(there)) > nothing:
            return epochs
    return None
