"""What the configs of a race are expected to score, while it runs, for the live views."""

from __future__ import annotations

import math
import time

import numpy as np

from tune_seeds.analysis.group_summary import Standing, standing
from tune_seeds.analysis.study_model import expected_by_group
from tune_seeds.core.rungs import Rung
from tune_seeds.race.race import Race
from tune_seeds.statistics.intervals import score_resolution
from tune_seeds.statistics.metric_range import MetricRange, seen_share
from tune_seeds.statistics.random_effects import Expected

# The model of a large study takes a while; it may take this share of the driver's time.
_SHARE = 0.05


class Estimates:
    """The model of a whole study, looked at anew when there are new scores and time for it.

    Args:
        race: read only.
        declared: the range of the metric, where the user declared it.
    """

    def __init__(self, race: Race, declared: tuple[float, float] | None = None) -> None:
        self._race = race
        self._declared = declared
        self._found: dict[str, tuple[Rung, Expected]] = {}
        self._within: MetricRange | None = None
        self._resolution = 0.0
        self._n_scores = -1
        self._not_before = -math.inf

    def standing(self, name: str, *, live: bool = False, now: bool = False) -> Standing:
        """Where a group stands, with its estimate if that is known at its rung.

        Args:
            name: of the group.
            live: as for ``standing``.
            now: look in any case, as at the end of a study.
        """
        self._look(now)
        group = self._race.groups[name]
        found = self._found.get(name)
        is_known = found is not None and group.scores and max(group.scores) == found[0]
        return standing(
            self._race,
            name,
            live=live,
            resolution=self._resolution,
            expected=found[1] if found is not None and is_known else None,
            within=self._within,
        )

    def _look(self, now: bool) -> None:
        race = self._race
        n_scores = sum(len(group.scores) for group in race.groups.values())
        start = time.monotonic()
        if n_scores == self._n_scores or (start < self._not_before and not now):
            return
        self._n_scores = n_scores
        seen = [v for g in race.groups.values() for row in g.values.values() for v in row.values()]
        self._resolution = score_resolution(np.array(seen)) if seen else 0.0
        self._within = self._range()
        expected = expected_by_group(race, within=self._within, resolution=self._resolution)
        self._found = {name: (max(race.groups[name].scores), one) for name, one in expected.items()}
        end = time.monotonic()
        self._not_before = end + (end - start) / _SHARE

    def _range(self) -> MetricRange | None:
        metric = self._race.ledger.metric
        values = np.array(
            [metric.own(v) for run in self._race.ledger.values() for v in run.curve.values()]
        )
        values = values[np.isfinite(values)]
        if self._declared is None:
            return seen_share(metric.name, values)
        declared = MetricRange(*self._declared)
        # A range that the runs contradict would give wrong intervals.
        return declared if all(float(value) in declared for value in values) else None
