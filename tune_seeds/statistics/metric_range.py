"""The values that a metric can take, declared or seen, and intervals that stay inside."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float

from tune_seeds.statistics.intervals import Interval, score_resolution

# Parts of a name that say a metric is a share, whatever its step is.
_SHARES = frozenset(
    ["acc", "accuracy", "precision", "recall", "f1", "auc", "auroc", "auprc", "iou", "miou", "dice"]
)
# Parts of a name that say it is none, whatever values it has taken so far.
_NO_SHARES = frozenset(
    ["loss", "nll", "mse", "rmse", "mae", "perplexity", "ppl", "reward", "return", "cost"]
)
# A step that is finer than this is no count of examples.
_MOST_EXAMPLES = 1_000_000


@dataclass(frozen=True, slots=True)
class MetricRange:
    """The lowest and the highest value that a metric can have.

    Attributes:
        low: lowest; −inf where there is none.
        high: highest; inf where there is none.
        declared: whether the user said so; else it was seen.

    Raises:
        ValueError: the ends are not numbers in rising order.

    Example:
        >>> MetricRange(0, 1).nearest(1.0026)
        1.0
    """

    low: float
    high: float
    declared: bool = True

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(
                "metric_range must be (lowest, highest) value of the metric, such as (0, 1), got "
                f"({self.low}, {self.high})"
            )

    def __contains__(self, value: float) -> bool:
        """Whether the metric can have this value."""
        return self.low <= value <= self.high

    def nearest(self, value: float) -> float:
        """The value, or the end that it lies beyond; NaN stays."""
        return value if math.isnan(value) else min(max(value, float(self.low)), float(self.high))

    def clipped(self, interval: Interval) -> Interval:
        """The part of an interval that the metric can reach.

        The expected score lies inside the range for certain, so cutting off what lies outside
        costs no coverage.
        """
        return dataclasses.replace(
            interval, low=self.nearest(interval.low), high=self.nearest(interval.high)
        )


def checked_range(ends: object) -> tuple[float, float]:
    """The two ends of a declared range, as plain numbers.

    Raises:
        ValueError: they are not two numbers in rising order.
    """
    try:
        low, high = (float(end) for end in cast(tuple[float, float], ends))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"metric_range must be (lowest, highest) value of the metric, got {ends!r}"
        ) from error
    found = MetricRange(low, high)
    return found.low, found.high


def seen_share(name: str, values: Float[np.ndarray, " any"]) -> MetricRange | None:
    """(0, 1) if a metric is plainly a share, else None.

    A share is what is called one (``val_acc``, ``f1``) and stays in 0 … 1, or what stays there in
    steps of 1/N, as a share of N examples does. A loss that happens to stay below 1 is none.

    Args:
        name: of the metric.
        values: all that was reported of it, finite, in its own direction.
    """
    if len(values) == 0 or float(values.min()) < 0 or float(values.max()) > 1:
        return None
    words = set(re.split(r"[^a-z0-9]+", name.lower())) | {name.lower()}
    if words & _NO_SHARES:
        return None
    if words & _SHARES or _counts_examples(values):
        return MetricRange(0.0, 1.0, declared=False)
    return None


def _counts_examples(values: Float[np.ndarray, " any"]) -> bool:
    step = score_resolution(np.concatenate([[0.0, 1.0], values]))
    n = 1 / step
    return n < _MOST_EXAMPLES and abs(n - round(n)) < 1e-3 and len(np.unique(values)) > 2
