"""The learning curve of a group: the metric over epochs, averaged over its seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tune_seeds.analysis.group_summary import standing
from tune_seeds.core.ledger import RunKey
from tune_seeds.race.race import Race


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The metric of a group at one epoch: mean and sample standard deviation over its seeds."""

    epoch: int
    mean: float
    std: float


def mean_curve(race: Race, name: str) -> list[CurvePoint]:
    """The metric at every epoch that all seeds of the group's last complete rung have come to.

    Before the first rung is complete it is the curve of the first seed. The standard deviation
    is NaN where there is one seed.
    """
    ledger, shown = race.ledger, standing(race, name)
    n = max(len(shown.values), 1)
    runs = [ledger[RunKey(name, seed)] for seed in ledger.seeds[:n]]
    points: list[CurvePoint] = []
    for epoch in sorted(set(runs[0].curve).intersection(*(run.curve for run in runs))):
        values = np.array([ledger.metric.own(run.curve[epoch]) for run in runs])
        std = float(np.std(values, ddof=1)) if n > 1 else math.nan
        points.append(CurvePoint(epoch, float(np.mean(values)), std))
    return points
