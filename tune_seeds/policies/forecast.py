"""What a score at a low rung says about the mean at full epochs: regression along the rungs.

Scores at low rungs are turned into normal scores of their ranks, so a diverged or an oddly scaled
metric cannot bend the lines; only the last epoch keeps the metric's own unit. From each rung to the
next runs a line with a normal residual, fitted on the groups that have both. Selection does not
bias such a line: groups go on by their lower score, and that is what it conditions on.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

#: Correlation of neighbouring rungs before any group has been at both, and how many groups it is
#: worth. Raising either stops more configs at low rungs while little is known.
PRIOR_CORRELATION = 0.3
PRIOR_WEIGHT = 3.0
#: Share of the seed in the variance that is left at the last epoch, before any group has a second
#: seed there, and how many groups it is worth. Raising it brings second seeds earlier.
PRIOR_SEED_SHARE = 0.07
PRIOR_SEED_WEIGHT = 2.0
#: Trust in recent epochs before any group has a second seed at the last one, and how many groups
#: it is worth. Raising it smooths more while nothing is known.
PRIOR_TRUST = 0.5
PRIOR_TRUST_WEIGHT = 3.0
#: Values at the last epoch this many quartile ranges below the lower quartile count as there.
FENCE = 1.5
# Pairs from a narrow range of lower scores would give slopes without bound.
_LEAST_SPREAD = 0.3
# Differences beyond this many times their median count as that.
_CUT = 5.0
# At least this share of the variance left is between configs, however noisy seeds seem.
_LEAST_SHARE = 0.5


class Line(NamedTuple):
    """Next score = ``intercept + slope · score`` ± a normal residual."""

    intercept: float
    slope: float
    variance: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is known of a group's mean over seeds at the last epoch, from each rung below.

    Attributes:
        lines: for each rung below the last epoch, the line from its normal score to that mean.
        between: variance of the mean given the score at the last rung below it.
        noise: variance of one seed around that mean.
        floor: values below it count as it.
        average: mean of the values at the last epoch; the forecast where there is no rung below.
    """

    lines: tuple[Line, ...]
    between: float
    noise: float
    floor: float
    average: float

    def left(self, level: int, n_seeds: int) -> float:
        """Variance of a group's mean that is left after a rung."""
        if level < len(self.lines):
            return self.lines[level].variance
        return self.between * self.noise / (n_seeds * self.between + self.noise)

    def below(self, level: int, score: float) -> float:
        """Expected mean given the normal score at a rung below the last epoch."""
        line = self.lines[level]
        return line.intercept + line.slope * score

    def top(self, below: float | None, score: float, n_seeds: int) -> float:
        """Expected mean given the score over seeds at the last epoch.

        Args:
            below: normal score of the group one rung below, None where there is no such rung.
            score: over ``n_seeds`` seeds, at the last epoch.
            n_seeds: how many; the more, the less the forecast from below counts.
        """
        prior = self.average if below is None else self.below(len(self.lines) - 1, below)
        weight = self.between / (self.between + self.noise / n_seeds)
        return prior + weight * (max(score, self.floor) - prior)

    def new(self) -> tuple[float, float]:
        """Mean and variance of a config of which nothing is known."""
        if not self.lines:
            return self.average, self.between
        line = self.lines[0]
        return line.intercept, line.slope**2 + line.variance


def normal_score(ranked: Sequence[float], value: float) -> float:
    """Normal quantile of a value's mid-rank among sorted values; 0 among fewer than two."""
    n = len(ranked)
    if n < 2:
        return 0.0
    rank = (bisect_left(ranked, value) + bisect_right(ranked, value)) / 2
    return float(ndtri(min(max(rank, 0.5), n - 0.5) / n))


def fit_forecast(
    ranked: Sequence[Sequence[float]],
    climbed: Sequence[Sequence[float]],
    spreads: Sequence[tuple[float, int]],
) -> Forecast:
    """Fit the lines between neighbouring rungs, and chain them to the last epoch.

    Args:
        ranked: per level, all scores of one seed there, sorted.
        climbed: per group that is in the race, its scores level by level, as far as it is.
        spreads: per group with several seeds at the last epoch, their variance and its degrees of
            freedom, at least 1.
    """
    last = len(ranked) - 1
    top = np.array([scores[last] for scores in climbed if len(scores) > last])
    floor = -math.inf
    if len(top) >= 4:
        lower, upper = np.percentile(top, [25, 75])
        floor = float(lower - FENCE * (upper - lower))
    top = np.maximum(top, floor)
    steps: list[Line] = []
    for level in range(last):
        pairs = [scores for scores in climbed if len(scores) > level + 1]
        x = _normal_scores(ranked[level], [scores[level] for scores in pairs])
        y = [scores[level + 1] for scores in pairs]
        higher = np.maximum(y, floor) if level + 1 == last else _normal_scores(ranked[level + 1], y)
        steps.append(_line(x, higher))
    spread = float(top.var(ddof=1)) if len(top) > 1 else 1.0
    left = steps[-1].variance if steps else spread
    noise = _pooled(spreads, PRIOR_SEED_SHARE * left)
    between = max(left - noise, _LEAST_SHARE * left, 1e-300)
    lines: list[Line] = []
    for level in reversed(range(last)):
        a, b, variance = steps[level]
        if lines:
            onward = lines[0]
            a, b = onward.intercept + onward.slope * a, onward.slope * b
            variance = onward.variance + onward.slope**2 * variance
        else:
            variance = between
        lines.insert(0, Line(a, b, variance))
    average = float(top.mean()) if len(top) else 0.0
    return Forecast(tuple(lines), between, max(noise, 1e-300), floor, average)


def trust_in_recent(groups: Sequence[tuple[Sequence[float], Sequence[float]]]) -> float:
    """How far a seed's value at the last epoch is best drawn towards its mean over recent epochs.

    What a value is to foretell is the group's mean over other seeds. So this is the slope of (mean
    of the other seeds − value) over (recent mean − value), through the origin and held to 0 … 1: it
    is 1 where the last epochs differ by noise alone, and 0 where curves still rise or fall.

    Args:
        groups: per group with several seeds at the last epoch, the value of each seed there, and
            its mean over recent epochs.
    """
    if not groups:
        return PRIOR_TRUST
    ahead = np.concatenate([np.subtract(recent, values) for values, recent in groups])
    missing = np.concatenate(
        [(sum(values) - np.array(values)) / (len(values) - 1) - values for values, _ in groups]
    )
    # One seed that collapsed at its last epoch would decide alone.
    ahead, missing = _cut(ahead), _cut(missing)
    power = float(np.mean(ahead**2))
    if power == 0:
        return PRIOR_TRUST
    seen, n = float(np.mean(ahead * missing)) / power, len(groups)
    drawn = (n * seen + PRIOR_TRUST_WEIGHT * PRIOR_TRUST) / (n + PRIOR_TRUST_WEIGHT)
    return min(1.0, max(0.0, drawn))


def expected_rise(ahead: float, variance: float) -> float:
    """E[max(0, N(−|ahead|, variance))]: how far knowing more would raise the best, on average.

    Args:
        ahead: expected mean of a group less that of its best rival; the sign does not matter.
        variance: of the group's expected mean once more is known; none or less settles nothing.
    """
    if variance <= 0:
        return 0.0
    spread = math.sqrt(variance)
    z = abs(ahead) / spread
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return spread * (density - z * 0.5 * math.erfc(z / math.sqrt(2)))


def _cut(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    most = _CUT * np.median(np.abs(x))
    return np.clip(x, -most, most)


def _pooled(spreads: Sequence[tuple[float, int]], prior: float) -> float:
    """Variance of a seed: the median over groups, so one seed that collapsed does not drown all.

    The median of a χ² with d degrees of freedom is about d(1 − 2/9d)³ (Wilson & Hilferty 1931,
    doi:10.1073/pnas.17.12.684); each variance is divided by that share first.
    """
    if not spreads:
        return prior
    seen = float(np.median([variance / (1 - 2 / (9 * d)) ** 3 for variance, d in spreads]))
    n = len(spreads)
    return (n * seen + PRIOR_SEED_WEIGHT * prior) / (n + PRIOR_SEED_WEIGHT)


def _line(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> Line:
    n = len(x)
    if n < 2:
        a = float(y[0] - PRIOR_CORRELATION * x[0]) if n else 0.0
        return Line(a, PRIOR_CORRELATION, 1 - PRIOR_CORRELATION**2)
    spread_x, spread_y = float(x.std(ddof=1)), float(y.std(ddof=1))
    product = spread_x * spread_y
    seen = float(np.cov(x, y)[0, 1]) / product if product > 0 else 0.0
    # A rung that seems to mislead is taken to say nothing: the next groups show whether it does.
    r = max(0.0, (n * seen + PRIOR_WEIGHT * PRIOR_CORRELATION) / (n + PRIOR_WEIGHT))
    slope = r * spread_y / max(spread_x, _LEAST_SPREAD)
    a = float(y.mean()) - slope * float(x.mean())
    return Line(a, slope, spread_y**2 * (1 - r * r) * (n + 1) / n)


def _normal_scores(ranked: Sequence[float], values: Sequence[float]) -> Float[np.ndarray, " n"]:
    n = len(ranked)
    if n < 2:
        return np.zeros(len(values))
    all_values = np.array(ranked)
    ranks = np.searchsorted(all_values, values, "left") + np.searchsorted(
        all_values, values, "right"
    )
    return ndtri(np.clip(ranks / 2, 0.5, n - 0.5) / n)
