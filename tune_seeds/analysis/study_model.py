"""What each config of a study is expected to score, from all configs of it together.

Every group is judged at the epochs of its last complete rung, beside every other group that has a
value at these epochs on any seed, and corrected for the luck that took it past the rungs below.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from tune_seeds.analysis.collapses import by_seed
from tune_seeds.core.metric import Metric
from tune_seeds.race.race import Race
from tune_seeds.statistics.aggregate import Aggregate, Kind
from tune_seeds.statistics.collapse import Collapse
from tune_seeds.statistics.coverage_notes import collapse_note
from tune_seeds.statistics.intervals import Interval, rounding_error
from tune_seeds.statistics.metric_range import MetricRange
from tune_seeds.statistics.random_effects import Expected, expected_scores
from tune_seeds.statistics.selection_luck import selection_luck


def expected_by_group(
    race: Race,
    groups: Iterable[str] | None = None,
    *,
    within: MetricRange | None = None,
    resolution: float = 0.0,
    level: float = 0.95,
) -> dict[str, Expected]:
    """Group → its expected score on a fresh seed, at the epochs of its last complete rung.

    Groups that failed or have no score are left out; so are all of them where the study ranks by
    something else than the mean over seeds, which is what the model is of.

    Args:
        race: read only.
        groups: whom to answer for, all if None; every group is looked at in any case.
        within: the range of the metric; intervals end at its ends.
        resolution: step of the metric's values; scores that agree to within it are not certain.
        level: of the intervals, in (0, 1).
    """
    if not isinstance(race.aggregate, Aggregate) or race.aggregate.kind is not Kind.MEAN:
        return {}
    at: dict[int, list[str]] = {}
    for name in race.groups if groups is None else groups:
        group = race.groups[name]
        if group.scores and not group.lost:
            at.setdefault(max(group.scores).epochs, []).append(name)
    found: dict[str, Expected] = {}
    for epochs, names in at.items():
        expected = _expected_at(race, names, epochs, within, resolution, level)
        for name, one in zip(names, expected, strict=True):
            found[name] = _own(one, race.ledger.metric, within)
    return found


def told_of_collapses(
    expected: dict[str, Expected], race: Race, collapse: Collapse | None
) -> dict[str, Expected]:
    """The same, with a note on each interval where runs collapsed on seeds, not for their config.

    Args:
        expected: group → its expected score.
        race: read only.
        collapse: which runs of the study collapsed; None where none has trained.
    """
    if collapse is None or not (told := by_seed(race, collapse)):
        return expected
    note = collapse_note(f"{len(told)} of {collapse.study.n} runs collapsed")
    return {name: _with_note(one, note) for name, one in expected.items()}


def scores_at(race: Race, names: Sequence[str], epochs: int) -> Float[np.ndarray, "group seed"]:
    """Every value of groups after so many epochs, NaN where a run has none; higher is better.

    Where a seed failed, the group counts with what its rung was scored on.
    """
    seeds = race.ledger.seeds
    table = np.full((len(names), len(seeds)), np.nan)
    for row, name in enumerate(names):
        group = race.groups[name]
        rungs = [rung for rung in group.values if rung.epochs == epochs]
        scored = group.values[max(rungs)] if rungs else {}
        for column, seed in enumerate(seeds):
            value = None if group.failures else race.ledger.values_on(name, [seed], epochs)
            table[row, column] = scored.get(seed, np.nan) if value is None else value[0]
    return table


def turned_ends(metric: Metric, within: MetricRange) -> tuple[float, float]:
    """The ends of the metric's range where higher is better, the lower first."""
    one, other = metric.turned(within.low), metric.turned(within.high)
    return min(one, other), max(one, other)


def _expected_at(
    race: Race,
    wanted: Sequence[str],
    epochs: int,
    within: MetricRange | None,
    resolution: float,
    level: float,
) -> tuple[Expected, ...]:
    names = [name for name, group in race.groups.items() if not group.lost]
    last = scores_at(race, names, epochs)
    below = sorted({rung.epochs for rung in race.policy.rungs if rung.epochs < epochs})
    n_first = race.policy.rungs[0].n_seeds
    luck = luck_error = np.zeros(len(names))
    if below:
        tables = [scores_at(race, names, lower) for lower in below]
        found = selection_luck(
            np.column_stack([table[:, :n_first].mean(axis=1) for table in tables]),
            tables[-1],
            last,
            n_first,
        )
        share = n_first / np.maximum(np.isfinite(last).sum(axis=1), n_first)
        luck, luck_error = found.expected * share, found.error * share
    there = np.isfinite(last).any(axis=1)
    place = {names[row]: k for k, row in enumerate(np.flatnonzero(there).tolist())}
    return expected_scores(
        last[there],
        luck=luck[there],
        luck_error=luck_error[there],
        level=level,
        smallest_sd=rounding_error(resolution),
        ends=None if within is None else turned_ends(race.ledger.metric, within),
        wanted=[place[name] for name in wanted],
    )


def _own(expected: Expected, metric: Metric, within: MetricRange | None) -> Expected:
    """In the metric's own direction, inside its range."""
    interval: Interval = metric.own_interval(expected.interval)
    estimate = metric.own(expected.estimate)
    if within is not None:
        interval, estimate = within.clipped(interval), within.nearest(estimate)
    return dataclasses.replace(expected, estimate=estimate, interval=interval)


def _with_note(expected: Expected, note: str) -> Expected:
    caveat = f"{expected.interval.caveat}; {note}" if expected.interval.caveat else note
    return dataclasses.replace(
        expected, interval=dataclasses.replace(expected.interval, caveat=caveat)
    )
