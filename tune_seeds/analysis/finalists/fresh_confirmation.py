"""How the best configs do on seeds that the search never used."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tune_seeds.core.ledger import RunKey
from tune_seeds.core.metric import Metric
from tune_seeds.race.race import Race
from tune_seeds.statistics.aggregate import Aggregate
from tune_seeds.statistics.confirmation import Confirmation, ConfirmedConfig, confirmation
from tune_seeds.statistics.intervals import score_resolution
from tune_seeds.statistics.shown import Shown


@dataclass(frozen=True, slots=True, repr=False)
class FreshConfirmation(Shown):
    """The best configs on seeds that the search never used.

    Attributes:
        seeds: the fresh seeds.
        groups: those with a score on every tuning seed and every fresh seed, in the order of the
            search's ranking; ``statistics`` is about them.
        scores: group → fresh seed → metric.
        unfinished: group → fresh seed → why it has no score yet.
        statistics: flattery, intervals and order, scores in the metric's own direction; a positive
            flattery says that the search made a config look better. None while no group is done.
    """

    seeds: tuple[int, ...]
    groups: tuple[str, ...]
    scores: dict[str, dict[int, float]]
    unfinished: dict[str, dict[int, str]]
    statistics: Confirmation | None

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        found = () if self.statistics is None else self.statistics.configs
        for name, config in zip(self.groups, found, strict=False):
            low, high = config.interval
            yield {
                "group": name,
                "in the search": config.search_score,
                "on fresh seeds": config.confirmed_score,
                "low": low,
                "high": high,
                "flattered by": config.flattery,
                **{str(seed): value for seed, value in self.scores[name].items()},
            }

    def _notes(self) -> Sequence[str]:
        notes = [
            f"{name}, seed {seed}: {why}"
            for name, seeds in self.unfinished.items()
            for seed, why in seeds.items()
        ]
        if self.statistics is not None and len(self.groups) > 1:
            held = "held" if self.statistics.order_held else "did not hold"
            notes.append(f"the order of the search {held}")
        return notes


def fresh_confirmation(race: Race, level: float) -> FreshConfirmation | None:
    """The best configs on fresh seeds, or None where none were asked for."""
    ledger = race.ledger
    seeds = ledger.fresh_seeds
    if not seeds:
        return None
    top = race.policy.rungs[-1]
    # After a study has grown, a config that was confirmed may not have come to its end again.
    asked = {
        key.group: None
        for key in ledger
        if key.seed in seeds and top in race.groups[key.group].scores
    }
    order = sorted(
        asked, key=lambda name: (-race.groups[name].scores[top], race.groups[name].index)
    )
    scores: dict[str, dict[int, float]] = {}
    unfinished: dict[str, dict[int, str]] = {}
    for name in order:
        for seed in seeds:
            run = ledger.get(RunKey(name, seed))
            value = None if run is None else ledger.values_on(name, [seed], top.epochs)
            if value is not None:
                scores.setdefault(name, {})[seed] = ledger.metric.own(value[0])
            elif run is not None:
                unfinished.setdefault(name, {})[seed] = run.error or "not finished"
    searched = {name: race.groups[name].values[top] for name in order}
    done = [
        name
        for name in order
        if len(scores.get(name, {})) == len(seeds) and set(searched[name]) == set(ledger.seeds)
    ]
    statistics, aggregate = None, race.aggregate
    if done and isinstance(aggregate, Aggregate):
        fresh = np.array([[ledger.metric.turned(scores[n][s]) for s in seeds] for n in done])
        search = np.array([[searched[name][seed] for seed in ledger.seeds] for name in done])
        statistics = confirmation(
            search,
            fresh,
            aggregate=aggregate,
            level=level,
            rng=np.random.default_rng(seeds),
            resolution=score_resolution(fresh),
        )
        statistics = dataclasses.replace(
            statistics, configs=tuple(_own(config, ledger.metric) for config in statistics.configs)
        )
    return FreshConfirmation(seeds, tuple(done), scores, unfinished, statistics)


def _own(config: ConfirmedConfig, metric: Metric) -> ConfirmedConfig:
    return dataclasses.replace(
        config,
        search_score=metric.own(config.search_score),
        confirmed_score=metric.own(config.confirmed_score),
        interval=metric.own_interval(config.interval),
    )
