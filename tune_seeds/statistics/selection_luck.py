"""How much of a finalist's luck at the last epoch is the luck that brought it there.

A run that was lucky at a low rung mostly still is at the last epoch, and configs go on because they
looked good. So the values of configs that got to the last epoch are too high on average, all of
them, and nothing at the last epoch shows it. What shows it are the configs that were stopped: their
values say how far above the average the survivors were at the lower rungs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

# Values this many quartile ranges outside the quartiles count as there.
_FENCE = 3.0
#: Fewer configs than this at two neighbouring rungs show no line between them.
MIN_CONFIGS = 4


@dataclass(frozen=True, slots=True, eq=False)
class SelectionLuck:
    """Expected luck of each config's first seeds at the last epoch.

    Attributes:
        expected: of the mean of the first seeds, positive if selection flatters it.
        error: standard error of ``expected``.
    """

    expected: Float[np.ndarray, " config"]
    error: Float[np.ndarray, " config"]


def selection_luck(
    first: Float[np.ndarray, "config rung"],
    below: Float[np.ndarray, "config seed"],
    last: Float[np.ndarray, "config seed"],
    n_first: int,
) -> SelectionLuck:
    """The expected luck at the last epoch, given how well a config did at the rung below it.

    For normal scores it is cov/var · (value below − mean below): cov is the covariance of a seed's
    luck at both epochs, seen within configs that have several seeds there, over the number of first
    seeds; mean and variance are those of *all* configs at the rung below. Those that did not get
    there are made up for by chaining the lines from rung to rung (Anderson 1957,
    doi:10.1080/01621459.1957.10501379), which selection by the lower value does not bend.

    Args:
        first: mean over the first seeds at each rung below the last epoch, lowest first; NaN where
            a config did not get.
        below: value of each seed at the rung below the last epoch, NaN where there is none.
        last: value of each seed at the last epoch, likewise.
        n_first: number of seeds that every config starts with.
    """
    n_configs, n_rungs = first.shape
    nothing = SelectionLuck(np.zeros(n_configs), np.zeros(n_configs))
    if n_rungs == 0 or np.isfinite(first[:, 0]).sum() < MIN_CONFIGS:
        return nothing
    fences = [_fences(column) for column in first.T]
    inside = np.column_stack(
        [np.clip(column, *fence) for column, fence in zip(first.T, fences, strict=True)]
    )
    mean, variance = float(np.nanmean(inside[:, 0])), float(np.nanvar(inside[:, 0], ddof=1))
    for lower, higher in zip(inside.T[:-1], inside.T[1:], strict=True):
        both = np.isfinite(lower) & np.isfinite(higher)
        if both.sum() < MIN_CONFIGS:
            return nothing
        x, y = lower[both], higher[both]
        slope = float(np.cov(x, y)[0, 1]) / max(float(np.var(x, ddof=1)), 1e-300)
        left = float(np.sum((y - y.mean() - slope * (x - x.mean())) ** 2)) / (len(x) - 2)
        mean = float(y.mean()) + slope * (mean - float(x.mean()))
        variance = left + slope**2 * variance
    if not 0 < variance < np.inf:
        return nothing
    products = squares_below = squares_last = 0.0
    df = 0
    for own, end in zip(np.clip(below, *fences[-1]), last, strict=True):
        both = np.isfinite(own) & np.isfinite(end)
        if both.sum() > 1:
            x, y = own[both] - own[both].mean(), end[both] - end[both].mean()
            products += float(x @ y)
            squares_below += float(x @ x)
            squares_last += float(y @ y)
            df += len(x) - 1
    if df == 0:
        return nothing
    error = ((squares_below * squares_last + products**2) / df) ** 0.5 / df
    ahead = np.nan_to_num(inside[:, -1] - mean) / (n_first * variance)
    return SelectionLuck(max(products / df, 0.0) * ahead, error * np.abs(ahead))


def _fences(values: Float[np.ndarray, " config"]) -> tuple[float, float]:
    lower, upper = np.nanpercentile(values, [25, 75])
    reach = _FENCE * (upper - lower)
    return float(lower - reach), float(upper + reach)
