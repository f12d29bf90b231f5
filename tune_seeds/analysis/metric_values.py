"""The values of a study's metric: which were reported, their range, and the step between them."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from tune_seeds.race.race import Race
from tune_seeds.statistics.intervals import score_resolution
from tune_seeds.statistics.metric_range import MetricRange, seen_share


def reported_values(race: Race) -> Float[np.ndarray, " report"]:
    """Every finite value that a run reported, in the metric's own direction."""
    own = race.ledger.metric.own
    values = [own(value) for run in race.ledger.values() for value in run.curve.values()]
    return np.array([value for value in values if math.isfinite(value)])


def resolution_of_scores(race: Race) -> float:
    """The step of the values that groups were scored on, such as 1/N for an accuracy over N; or 0.

    It is 0 before the first score.
    """
    values = [
        value
        for group in race.groups.values()
        for by_seed in group.values.values()
        for value in by_seed.values()
    ]
    return score_resolution(np.array(values)) if values else 0.0


def metric_range(
    name: str, values: Float[np.ndarray, " report"], declared: tuple[float, float] | None
) -> MetricRange | None:
    """The range that the metric was declared to have, or (0, 1) where it plainly is a share.

    None where neither is so, and where runs reported values outside the declared range: a wrong
    range would give wrong intervals.

    Args:
        name: of the metric.
        values: every finite one that was reported, in the metric's own direction.
        declared: the lowest and the highest value, where the user declared them.
    """
    if declared is None:
        return seen_share(name, values)
    return None if range_contradiction(values, declared) else MetricRange(*declared)


def range_contradiction(
    values: Float[np.ndarray, " report"], declared: tuple[float, float] | None
) -> str | None:
    """Why a declared range is not used; None where it is, or where none was declared."""
    if declared is None or not len(values):
        return None
    found = MetricRange(*declared)
    outside = [v for v in (values.min(), values.max()) if float(v) not in found]
    if not outside:
        return None
    return (
        f"metric_range=({found.low:g}, {found.high:g}) is not used: a run reported "
        f"{float(outside[0]):.5g}"
    )
