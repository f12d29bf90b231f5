"""From a race to the statistics of its finalists, in the metric's own direction.

Everything here is about the groups that hold every epoch on every seed of the study; the numbers
themselves are computed by the modules of ``tune_seeds.statistics``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from tune_seeds.analysis.errors import NothingToCompareError
from tune_seeds.core.ledger import RunKey
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung
from tune_seeds.race.race import Race
from tune_seeds.statistics.aggregate import Aggregate
from tune_seeds.statistics.comparison import SeedsToSeparate, seeds_to_separate
from tune_seeds.statistics.confirmation import Confirmation, ConfirmedConfig, confirmation
from tune_seeds.statistics.contenders import contenders
from tune_seeds.statistics.importance import Importances, importances
from tune_seeds.statistics.intervals import score_resolution
from tune_seeds.statistics.marginals import Marginal, Marginals, marginals
from tune_seeds.statistics.seed_effect import (
    Choice,
    SeedChances,
    VarianceShares,
    choices,
    effect_row,
    effect_rows,
    seed_effect,
)
from tune_seeds.statistics.shown import Shown


@dataclass(frozen=True, slots=True, repr=False)
class ScoreTable(Shown):
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

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        for name, row in zip(self.groups, self.scores.tolist(), strict=True):
            yield {"group": name, **dict(zip(map(str, self.seeds), row, strict=True))}


@dataclass(frozen=True, slots=True, repr=False)
class Contention(Shown):
    """The configs that can't be told apart from the best.

    Attributes:
        groups: those that may still be the best, in the order of the ranking.
        p_values: group → p value of "no other config is better on average", corrected for all;
            empty among all.
        rivals: group → the group that speaks most against it; empty among all.
        level: probability with which the truly best config of those compared is among ``groups``,
            at least.
        n_seeds: common seeds; among all, of the study.
        left_out: groups without all seeds, which can't be compared in pairs; among all, those that
            failed or have no score.
        caveat: what can't be promised.
        among: ``"finished"``: the best of those that hold every epoch and seed is meant, and the
            best of all may have been stopped; ``"all"``: the best of all configs.
        n_compared: how many configs that are.
        probabilities: among all, group → probability of being the best; else empty.
    """

    groups: tuple[str, ...]
    p_values: dict[str, float]
    rivals: dict[str, str]
    level: float
    n_seeds: int
    left_out: tuple[str, ...]
    caveat: str | None
    among: str = "finished"
    n_compared: int = 0
    probabilities: Mapping[str, float] = dataclasses.field(default_factory=dict[str, float])

    @property
    def promise(self) -> str:
        """What is promised, as a sentence."""
        of = (
            "all configs, stopped ones included," if self.among == "all" else "the finished configs"
        )
        return (
            f"with a probability of {self.level:.0%} the truly best of {of} is among these "
            f"{len(self.groups)} of {self.n_compared}"
        )

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        if self.among == "all":
            for name, chance in self.probabilities.items():
                yield {"group": name, "kept": name in self.groups, "P(best)": chance}
            return
        for name, p in self.p_values.items():
            rival = self.rivals[name]
            yield {"group": name, "kept": name in self.groups, "p": p, "strongest rival": rival}

    def _notes(self) -> Sequence[str]:
        return tuple(note for note in (self.promise, self.caveat) if note)


@dataclass(frozen=True, slots=True, repr=False)
class SeedReport(Shown):
    """How much the seed matters among the finalists.

    Attributes:
        variance: shares of config, seed and the rest in the variance of the scores.
        kendalls_w: agreement of the seeds on the ranking, 1 the same ranking, 0 none.
        win_shares: group → share of seeds on which it is the best.
        choices: for each hyperparameter, whether every seed alone would choose the same value.
        separation: how many seeds would tell the first two apart; None with one config.
        n_seeds: common seeds.
        by_chance: what chance alone gives, for as many configs and seeds.
    """

    variance: VarianceShares
    kendalls_w: float
    win_shares: dict[str, float]
    choices: tuple[Choice, ...]
    separation: SeedsToSeparate | None
    n_seeds: int
    by_chance: SeedChances

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        yield from effect_rows(self.variance, self.kendalls_w, self.by_chance)
        for name, share in self.win_shares.items():
            yield effect_row(f"share of seeds that {name} wins", share, self.by_chance.win_share)

    def _title(self) -> str:
        return f"{len(self.win_shares)} configs on {self.n_seeds} common seeds"

    def _notes(self) -> Sequence[str]:
        notes = [self.variance.caveat or ""]
        for choice in self.choices:
            notes.append(
                f"{choice.name}: {choice.overall} is best, and on {choice.agreement:.0%} of the "
                f"seeds alone ({choice.by_chance:.0%} by chance)"
            )
        if self.separation is not None:
            notes.append(f"seeds that would separate the first two: {self.separation.range_text}")
        return [note for note in notes if note]


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


def score_table(race: Race, rung: Rung | None = None) -> ScoreTable:
    """The groups that are scored at a rung, the last if None, on all its seeds, best first.

    Raises:
        NothingToCompareError: there is no such group.
        ValueError: the study has no such rung.
    """
    if rung is not None and rung not in race.policy.rungs:
        known = ", ".join(map(str, race.policy.rungs))
        raise ValueError(f"rung must be one of the study's ({known}) as a Rung, got {rung!r}")
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
        n_compared=len(names),
    )


def meeting_rung(race: Race) -> Rung:
    """The rung where most configs meet; the highest of several."""
    alive = [group for group in race.groups.values() if not group.lost]
    rungs = race.policy.rungs
    met = [sum(rung in group.scores for group in alive) for rung in rungs]
    return max(zip(met, range(len(rungs)), rungs, strict=True))[-1]


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
        by_chance=effect.by_chance,
    )


def marginal_tables(table: ScoreTable, metric: Metric, level: float) -> Marginals:
    """The grouped table of each hyperparameter, in the metric's own direction."""
    tables = marginals(table.configs, table.scores, level=level)
    if metric.higher_is_better:
        return tables
    return Marginals((name, tuple(_turned(row) for row in rows)) for name, rows in tables.items())


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


def _turned(row: Marginal) -> Marginal:
    return dataclasses.replace(
        row,
        by_seed=-row.by_seed,
        mean=-row.mean,
        interval=row.interval.reflected(),
        effect=row.effect.reflected(),
    )
