"""What the configs of a race are expected to score, while it runs, for the live views."""

from __future__ import annotations

import math
import time

from tune_seeds.analysis.group_summary import Standing, standing
from tune_seeds.analysis.metric_values import metric_range, reported_values, resolution_of_scores
from tune_seeds.analysis.study_model import expected_by_group
from tune_seeds.core.rungs import Rung
from tune_seeds.race.race import Race
from tune_seeds.statistics.metric_range import MetricRange
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
        self._resolution = resolution_of_scores(race)
        self._within = metric_range(race.ledger.metric.name, reported_values(race), self._declared)
        expected = expected_by_group(race, within=self._within, resolution=self._resolution)
        self._found = {name: (max(race.groups[name].scores), one) for name, one in expected.items()}
        end = time.monotonic()
        self._not_before = end + (end - start) / _SHARE
