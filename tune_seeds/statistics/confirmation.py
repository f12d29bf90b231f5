"""What fresh seeds say about the configs that the search chose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

from tune_seeds.statistics.aggregate import Aggregate, Kind, get_aggregate, require_complete
from tune_seeds.statistics.aggregate_intervals import aggregate_interval
from tune_seeds.statistics.comparison import difference_interval
from tune_seeds.statistics.intervals import Interval
from tune_seeds.statistics.shown import Shown


class OverlappingSeedsError(ValueError):
    """A confirmation seed was used by the search, or is listed twice."""


@dataclass(frozen=True, slots=True, repr=False)
class ConfirmedConfig(Shown):
    """One config, on the seeds that chose it and on fresh ones; higher is better.

    Attributes:
        search_score: aggregate over the tuning seeds.
        confirmed_score: aggregate over the fresh seeds; selection has not touched it.
        interval: of ``confirmed_score``.
        flattery: search_score − confirmed_score; positive if the search made it look better.
        flattery_interval: of search_score − the expected score on fresh seeds.
    """

    search_score: float
    confirmed_score: float
    interval: Interval
    flattery: float
    flattery_interval: Interval


@dataclass(frozen=True, slots=True, repr=False)
class Confirmation(Shown):
    """The chosen configs on fresh seeds.

    Attributes:
        configs: in the order they were given.
        search_order: indices into ``configs``, best first, by search score.
        confirmed_order: likewise by confirmed score; ties keep the search's order.
        order_held: whether fresh seeds put no pair of configs the other way round.
        winner_held: whether no config scores above the search's winner on fresh seeds.
        winner_lead: paired interval, on fresh seeds, of the mean of the search's winner minus
            that of the best other config; None for a single config.
        caveat: why search and confirmed scores are not quite the same quantity, if so.
    """

    configs: tuple[ConfirmedConfig, ...]
    search_order: tuple[int, ...]
    confirmed_order: tuple[int, ...]
    order_held: bool
    winner_held: bool
    winner_lead: Interval | None
    caveat: str | None

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        for config in self.configs:
            (low, high), (least, most) = config.interval, config.flattery_interval
            yield {
                "in the search": config.search_score,
                "on fresh seeds": config.confirmed_score,
                "low": low,
                "high": high,
                "flattered by": config.flattery,
                "at least": least,
                "at most": most,
            }

    def _notes(self) -> Sequence[str]:
        order = f"the order of the search {'held' if self.order_held else 'did not hold'}"
        return (order, self.caveat) if self.caveat else (order,)


def require_fresh(tuning_seeds: Sequence[int], fresh_seeds: Sequence[int]) -> None:
    """Refuse confirmation seeds that the search has seen.

    Raises:
        OverlappingSeedsError: a fresh seed is a tuning seed, or is listed twice.
    """
    if seen := sorted(set(tuning_seeds) & set(fresh_seeds)):
        raise OverlappingSeedsError(
            f"confirmation needs seeds that the search never used, got {seen} again"
        )
    if len(set(fresh_seeds)) < len(fresh_seeds):
        twice = sorted({seed for seed in fresh_seeds if list(fresh_seeds).count(seed) > 1})
        raise OverlappingSeedsError(f"confirmation seeds are listed twice: {twice}")


def confirmation(
    search: Float[np.ndarray, "config seed"],
    fresh: Float[np.ndarray, "config fresh_seed"],
    *,
    aggregate: Aggregate | None = None,
    level: float = 0.95,
    rng: np.random.Generator | None = None,
    resolution: float = 0.0,
) -> Confirmation:
    """How much selection flattered the chosen configs, and whether their order held.

    The flattery of a config is its search score as it came out, a fixed number by now, minus its
    expected score on fresh seeds. So the interval needs the spread of the fresh seeds only, and
    holds however the config was chosen; a two-sample interval would treat scores that were
    selected for being high as an ordinary sample.

    Args:
        search: scores of the chosen configs on the tuning seeds, higher is better.
        fresh: scores of the same configs, in the same order, on seeds the search never saw.
        aggregate: the study's; the mean if None.
        level: of the intervals, in (0, 1); higher is wider.
        rng: for the interval of a user's own aggregate function, as in ``aggregate_interval``.
        resolution: the metric's step, as in ``mean_interval``.

    Raises:
        IncompleteGroupError: a seed has no score; usually a crashed run.
        ValueError: search and fresh don't hold the same number of configs, or an argument is out
            of range.
    """
    score = aggregate or get_aggregate("mean")
    before, after = require_complete(search), require_complete(fresh)
    if before.ndim != 2 or after.ndim != 2 or len(before) != len(after) or len(before) == 0:
        raise ValueError(
            "needs scores (config, seed) of the same configs from search and confirmation, got "
            f"shapes {before.shape} and {after.shape}"
        )
    searched, confirmed = score(before), score(after)
    configs: list[ConfirmedConfig] = []
    for own, old, new in zip(after, searched.tolist(), confirmed.tolist(), strict=True):
        interval = aggregate_interval(own, score, level=level, rng=rng, resolution=resolution)
        configs.append(ConfirmedConfig(old, new, interval, old - new, interval.reflected(old)))
    order = np.argsort(-searched, kind="stable")
    winner, others = int(order[0]), order[1:]
    lead = None
    if len(others):
        rival = int(others[np.argmax(after[others].mean(axis=1))])
        lead = difference_interval(after[winner], after[rival], level=level, resolution=resolution)
    return Confirmation(
        configs=tuple(configs),
        search_order=tuple(order.tolist()),
        confirmed_order=tuple(order[np.argsort(-confirmed[order], kind="stable")].tolist()),
        order_held=all(
            (searched[i] - searched[j]) * (confirmed[i] - confirmed[j]) >= 0
            for i, j in combinations(range(len(configs)), 2)
        ),
        winner_held=bool(confirmed[winner] >= confirmed.max()),
        winner_lead=lead,
        caveat=_caveat(score, before.shape[1], after.shape[1]),
    )


def _caveat(aggregate: Aggregate, n_search: int, n_fresh: int) -> str | None:
    if n_search == n_fresh or aggregate.kind in (Kind.MEAN, Kind.MEDIAN, Kind.IQM):
        return None
    return (
        f"{aggregate.name} of {n_search} seeds and of {n_fresh} seeds need not estimate the same "
        "quantity: part of the flattery may come from the number of seeds"
    )
