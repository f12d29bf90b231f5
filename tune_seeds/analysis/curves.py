"""Learning curves: what runs reported over their epochs, and the mean over the seeds of a group."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tune_seeds.analysis.group_summary import standing
from tune_seeds.core.ledger import Run, RunKey
from tune_seeds.race.race import Race

#: What Ray and Lightning count beside a run's own metrics; nobody asks for its curve.
BOOKKEEPING = frozenset({"training_iteration", "time_total_s", "epoch", "step"})


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The metric of a group at one epoch: mean and sample standard deviation over its seeds."""

    epoch: int
    mean: float
    std: float


def metric_names(race: Race) -> list[str]:
    """Every metric that a run of the study's own seeds reported, the tuned one first."""
    tuned = race.ledger.metric.name
    names: dict[str, None] = {tuned: None}
    for run in race.ledger.values():
        for metrics in run.reports.values():
            names.update(dict.fromkeys(name for name in metrics if name not in BOOKKEEPING))
    return list(names)


def run_curve(race: Race, run: Run, metric: str | None = None) -> dict[int, float]:
    """Epoch → value of one run, rising, in the metric's own direction.

    Args:
        race: read only.
        run: of the race.
        metric: any that runs report, as they reported it. None: what the study compares runs by,
            which is the tuned metric, or its best or mean where ``score`` says so.
    """
    if metric is None:
        return {epoch: race.ledger.metric.own(run.curve[epoch]) for epoch in sorted(run.curve)}
    reports = run.reports
    return {epoch: reports[epoch][metric] for epoch in sorted(reports) if metric in reports[epoch]}


def mean_curve(race: Race, name: str, metric: str | None = None) -> list[CurvePoint]:
    """The metric at every epoch that all seeds of the group's last complete rung have come to.

    Before the first rung is complete it is the curve of the first seed. The standard deviation
    is NaN where there is one seed.

    Args:
        race: read only.
        name: of the group.
        metric: as for ``run_curve``.
    """
    ledger, shown = race.ledger, standing(race, name)
    n = max(len(shown.values), 1)
    runs = [run_curve(race, ledger[RunKey(name, seed)], metric) for seed in ledger.seeds[:n]]
    points: list[CurvePoint] = []
    for epoch in sorted(set(runs[0]).intersection(*runs)):
        values = np.array([run[epoch] for run in runs])
        # A run that diverges reports what has no mean.
        with np.errstate(all="ignore"):
            std = float(np.std(values, ddof=1)) if n > 1 else math.nan
            points.append(CurvePoint(epoch, float(np.mean(values)), std))
    return points
