"""From a race to the statistics of its finalists, in the metric's own direction.

Everything here is about the groups that hold every epoch on every seed of the study; the numbers
themselves are computed by the modules of ``tune_seeds.statistics``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from tune_seeds.ledger import Rung, RunKey
from tune_seeds.race import Race
from tune_seeds.statistics.aggregate import Aggregate
from tune_seeds.statistics.comparison import SeedsToSeparate, seeds_to_separate
from tune_seeds.statistics.confirmation import Confirmation, confirmation
from tune_seeds.statistics.contenders import contenders
from tune_seeds.statistics.importance import Importances, importances
from tune_seeds.statistics.intervals import score_resolution
from tune_seeds.statistics.marginals import Marginal, marginals
from tune_seeds.statistics.seed_effect import Choice, VarianceShares, choices, seed_effect


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """The scores of several groups on the same seeds.

    Attributes:
        groups: names, best first.
        configs: their hyperparameters.
        seeds: the columns.
        scores: (group, seed), higher is better.
        left_out: groups at that rung that lack a seed, which was dropped when it failed.
    """

    groups: tuple[str, ...]
    configs: tuple[Mapping[str, Any], ...]
    seeds: tuple[int, ...]
    scores: Float[np.ndarray, "group seed"]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contention:
    """The configs that can't be told apart from the best.

    Attributes:
        groups: those that may still be the best, in the order of the ranking.
        p_values: group → p value of "no other config is better on average", corrected for all.
        rivals: group → the group that speaks most against it.
        level: probability with which the truly best config is among them, at least.
        n_seeds: common seeds.
        left_out: groups without all seeds, which can't be compared in pairs.
        caveat: what can't be promised.
    """

    groups: tuple[str, ...]
    p_values: dict[str, float]
    rivals: dict[str, str]
    level: float
    n_seeds: int
    left_out: tuple[str, ...]
    caveat: str | None


@dataclass(frozen=True, slots=True)
class SeedReport:
    """How much the seed matters among the finalists.

    Attributes:
        variance: shares of config, seed and the rest in the variance of the scores.
        kendalls_w: agreement of the seeds on the ranking, 1 the same ranking, 0 none.
        win_shares: group → share of seeds on which it is the best.
        choices: for each hyperparameter, whether every seed alone would choose the same value.
        separation: how many seeds would tell the first two apart; None with one config.
        n_seeds: common seeds.
    """

    variance: VarianceShares
    kendalls_w: float
    win_shares: dict[str, float]
    choices: tuple[Choice, ...]
    separation: SeedsToSeparate | None
    n_seeds: int


@dataclass(frozen=True, slots=True)
class FreshConfirmation:
    """The best configs on seeds that the search never used.

    Attributes:
        seeds: the fresh seeds.
        groups: those with a score on every tuning seed and every fresh seed, in the order of the
            search's ranking; ``statistics`` is about them.
        scores: group → fresh seed → metric.
        unfinished: group → fresh seed → why it has no score yet.
        statistics: flattery, intervals and order, higher is better; None while no group is done.
    """

    seeds: tuple[int, ...]
    groups: tuple[str, ...]
    scores: dict[str, dict[int, float]]
    unfinished: dict[str, dict[int, str]]
    statistics: Confirmation | None


class NothingToCompareError(RuntimeError):
    """No group holds every seed at that rung."""


def score_table(race: Race, rung: Rung | None = None) -> ScoreTable:
    """The groups that are scored at a rung, the last if None, on all its seeds, best first.

    Raises:
        NothingToCompareError: there is no such group.
    """
    rung = rung or race.policy.rungs[-1]
    seeds = race.ledger.seeds[: rung.n_seeds]
    there = [name for name, group in race.groups.items() if rung in group.scores and not group.lost]
    there.sort(key=lambda name: (-race.groups[name].scores[rung], race.groups[name].index))
    whole = [name for name in there if set(race.groups[name].values[rung]) == set(seeds)]
    if not whole:
        raise NothingToCompareError(f"no config has all {len(seeds)} seeds at the rung {rung}")
    rows = [[race.groups[name].values[rung][seed] for seed in seeds] for name in whole]
    return ScoreTable(
        groups=tuple(whole),
        configs=tuple(race.ledger.configs[name] for name in whole),
        seeds=seeds,
        scores=np.array(rows, dtype=np.float64),
        left_out=tuple(name for name in there if name not in whole),
    )


def contention(table: ScoreTable, level: float) -> Contention:
    """Which groups can't be told apart from the best; see ``contenders.contenders``."""
    found = contenders(table.scores, level=level)
    names = table.groups
    return Contention(
        groups=tuple(name for name, kept in zip(names, found.kept, strict=True) if kept),
        p_values=dict(zip(names, found.p_values.tolist(), strict=True)),
        rivals={
            name: names[rival] for name, rival in zip(names, found.strongest_rival, strict=True)
        },
        level=found.level,
        n_seeds=found.n_seeds,
        left_out=table.left_out,
        caveat=found.caveat,
    )


def seed_report(table: ScoreTable) -> SeedReport:
    """How much the seed matters; see ``seed_effect``."""
    effect = seed_effect(table.scores)
    tables = marginals(table.configs, table.scores)
    separation = None
    if len(table.scores) > 1:
        first, second = table.scores[:2]
        separation = seeds_to_separate(
            first,
            second,
            n_configs=len(table.scores),
            resolution=score_resolution(table.scores),
        )
    return SeedReport(
        variance=effect.variance,
        kendalls_w=effect.kendalls_w,
        win_shares=dict(zip(table.groups, effect.win_shares.tolist(), strict=True)),
        choices=choices(tables),
        separation=separation,
        n_seeds=effect.n_seeds,
    )


def marginal_tables(
    table: ScoreTable, sign: float, level: float
) -> dict[str, tuple[Marginal, ...]]:
    """The grouped table of each hyperparameter, in the metric's own direction."""
    tables = marginals(table.configs, table.scores, level=level)
    if sign > 0:
        return tables
    return {name: tuple(_turned(row) for row in rows) for name, rows in tables.items()}


def importance_table(table: ScoreTable, level: float) -> Importances:
    """How much each hyperparameter matters; the forests are seeded by the study's seeds."""
    rng = np.random.default_rng(table.seeds)
    return importances(table.configs, table.scores, rng=rng, level=level)


def fresh_confirmation(race: Race, level: float) -> FreshConfirmation | None:
    """The best configs on fresh seeds, or None where none were asked for."""
    ledger = race.ledger
    seeds = ledger.fresh_seeds
    if not seeds:
        return None
    top = race.policy.rungs[-1]
    asked = dict.fromkeys(key.group for key in ledger if key.seed in seeds)
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
                scores.setdefault(name, {})[seed] = ledger.sign * value[0]
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
        fresh = np.array([[ledger.sign * scores[n][s] for s in seeds] for n in done])
        search = np.array([[searched[name][seed] for seed in ledger.seeds] for name in done])
        statistics = confirmation(
            search,
            fresh,
            aggregate=aggregate,
            level=level,
            rng=np.random.default_rng(seeds),
            resolution=score_resolution(fresh),
        )
    return FreshConfirmation(seeds, tuple(done), scores, unfinished, statistics)


def _turned(row: Marginal) -> Marginal:
    return dataclasses.replace(
        row,
        by_seed=-row.by_seed,
        mean=-row.mean,
        interval=row.interval.reflected(),
        effect=row.effect.reflected(),
    )
