"""How much the seed matters: for the scores, for the ranking, and for each choice made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float

from tune_seeds.statistics.aggregate import require_complete
from tune_seeds.statistics.marginals import Marginal
from tune_seeds.statistics.shown import Shown

# Rankings drawn to see what chance alone gives; the 95 % points are then off by 1 % or so.
_N_SHUFFLES = 400


@dataclass(frozen=True, slots=True)
class Chance:
    """What a measure comes to by chance alone, on as many configs and seeds.

    Attributes:
        mean: on average.
        high: it stays at or below this in 95 % of cases.
    """

    mean: float
    high: float

    def __str__(self) -> str:
        """Both, in words."""
        if self.mean != self.mean:
            return "not defined"
        return f"{self.mean:.2g} by chance, up to {self.high:.2g}"


@dataclass(frozen=True, slots=True)
class SeedChances:
    """What the measures of a study come to where neither config nor seed matters.

    Attributes:
        config: share of the variance, if configs did not matter.
        seed: share of the variance, if the seed did the same to no two configs.
        kendalls_w: if seeds ranked the configs at random.
        win_share: the largest share of seeds that one config wins, likewise.
    """

    config: Chance
    seed: Chance
    kendalls_w: Chance
    win_share: Chance


@dataclass(frozen=True, slots=True, repr=False)
class VarianceShares(Shown):
    """Where the spread of scores comes from; the three shares add up to 1.

    Attributes:
        config: share of the variance between configs.
        seed: share of what a seed does to all configs alike.
        residual: the rest: seeds that suit some configs better, and noise within a seed. One run
            per (config, seed) can't tell those two apart.
        total: the variance that the shares are of, in squared units of the score.
        caveat: what was cut off, or why the shares are NaN.
    """

    config: float
    seed: float
    residual: float
    total: float
    caveat: str | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SeedEffect(Shown):
    """Whether the scores and the ranking of configs depend on the seed.

    Attributes:
        variance: config, seed and residual.
        kendalls_w: agreement of the seeds on the ranking of configs; see ``kendalls_w``.
        win_shares: share of seeds on which each config is the best; see ``win_shares``.
        n_seeds: number of seeds.
        by_chance: what chance alone gives.
    """

    variance: VarianceShares
    kendalls_w: float
    win_shares: Float[np.ndarray, " config"]
    n_seeds: int
    by_chance: SeedChances

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        yield from effect_rows(self.variance, self.kendalls_w, self.by_chance)
        most = float(self.win_shares.max())
        yield effect_row("seeds won by the config that wins most", most, self.by_chance.win_share)


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether the choice of one hyperparameter is the same for all seeds.

    Attributes:
        name: the hyperparameter, dotted.
        overall: the value with the best mean over configs and seeds.
        by_seed: the best value on each seed; several where they tie.
        agreement: share of seeds that choose ``overall``, a seed with k tied values counting 1/k.
        by_chance: what the agreement is on average where the values do not matter; more than one
            over their number, since the seeds that agree are the ones that chose ``overall``.
    """

    name: str
    overall: str
    by_seed: tuple[tuple[str, ...], ...]
    agreement: float
    by_chance: float

    @property
    def same(self) -> bool:
        """Whether each seed alone would have led to the same choice."""
        return all(best == (self.overall,) for best in self.by_seed)


def seed_effect(scores: Float[np.ndarray, "config seed"]) -> SeedEffect:
    """What the seed does to the scores and to the ranking of the configs.

    Raises:
        IncompleteGroupError: a seed has no score; usually a crashed run.
        ValueError: scores is not (config, seed).
    """
    return SeedEffect(
        variance_shares(scores),
        kendalls_w(scores),
        win_shares(scores),
        scores.shape[1],
        seed_chances(scores),
    )


def seed_chances(scores: Float[np.ndarray, "config seed"]) -> SeedChances:
    """What chance alone gives on scores like these, by shuffling them.

    Scores are shuffled over the configs, within each seed, to see what shares and W come to where
    configs do not matter; and over the seeds, within each config, for the share of the seed. Among
    three configs on three seeds the configs' share is then above a half in one case of eight.

    Raises:
        IncompleteGroupError: a seed has no score; usually a crashed run.
        ValueError: scores is not (config, seed).
    """
    table = _table(scores)
    if min(table.shape) < 2:
        unknown = Chance(float("nan"), float("nan"))
        return SeedChances(unknown, unknown, unknown, unknown)
    rng = np.random.default_rng(table.size)
    seen: list[tuple[float, float, float, float]] = []
    for _ in range(_N_SHUFFLES):
        over_configs, over_seeds = rng.permuted(table, axis=0), rng.permuted(table, axis=1)
        seen.append(
            (
                variance_shares(over_configs).config,
                variance_shares(over_seeds).seed,
                kendalls_w(over_configs),
                float(win_shares(over_configs).max()),
            )
        )
    return SeedChances(*(_chance(column) for column in np.array(seen).T))


def effect_rows(
    variance: VarianceShares, w: float, by_chance: SeedChances
) -> Iterator[Mapping[str, Any]]:
    """The measures of a study, each beside what chance alone gives."""
    yield effect_row("share of config in the variance", variance.config, by_chance.config)
    yield effect_row("share of seed", variance.seed, by_chance.seed)
    yield effect_row("share of the rest", variance.residual, None)
    yield effect_row("Kendall's W", w, by_chance.kendalls_w)


def effect_row(measure: str, value: float, by_chance: Chance | None) -> Mapping[str, Any]:
    """One measure beside what chance alone gives."""
    nan = float("nan")
    return {
        "measure": measure,
        "value": value,
        "by chance": by_chance.mean if by_chance else nan,
        "95 % of chance up to": by_chance.high if by_chance else nan,
    }


def _chance(values: Float[np.ndarray, " shuffle"]) -> Chance:
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return Chance(float("nan"), float("nan"))
    # The higher of two neighbours: few configs on few seeds have few different values.
    return Chance(float(known.mean()), float(np.quantile(known, 0.95, method="higher")))


def variance_shares(scores: Float[np.ndarray, "config seed"]) -> VarianceShares:
    """Shares of config, seed and residual in the variance of a fresh config on a fresh seed.

    Two-way analysis of variance with one run per cell, moment estimates of random effects (Searle,
    Casella and McCulloch 1992, §4.3): σ²_config = (MS_config − MS_residual)/n_seeds, likewise for
    the seed. A negative estimate is cut off at 0 before the shares are taken, so a share of 0
    says "not seen", not "none". Configs count as drawn at random; with a search they are not,
    and the share describes those that were tried.

    Raises:
        IncompleteGroupError: a seed has no score; usually a crashed run.
        ValueError: scores is not (config, seed).
    """
    table = _table(scores)
    n_configs, n_seeds = table.shape
    nan = float("nan")
    if n_configs == 1 or n_seeds == 1:
        alone = "config" if n_configs == 1 else "seed"
        return VarianceShares(nan, nan, nan, nan, f"one {alone} alone: effects can't be separated")
    centered = table - table.mean()
    of_config, of_seed = centered.mean(axis=1), centered.mean(axis=0)
    residuals = centered - of_config[:, None] - of_seed
    ms_config = n_seeds * float(np.sum(of_config**2)) / (n_configs - 1)
    ms_seed = n_configs * float(np.sum(of_seed**2)) / (n_seeds - 1)
    residual = float(np.sum(residuals**2)) / ((n_configs - 1) * (n_seeds - 1))
    config, seed = (ms_config - residual) / n_seeds, (ms_seed - residual) / n_configs
    cut = [name for name, part in (("config", config), ("seed", seed)) if part < 0]
    config, seed = max(config, 0.0), max(seed, 0.0)
    total = config + seed + residual
    if total <= (1e-15 * float(np.max(np.abs(table)))) ** 2:
        return VarianceShares(nan, nan, nan, 0.0, "all scores are equal: nothing to share out")
    caveat = f"estimate of {' and '.join(cut)} was negative and is cut off at 0" if cut else None
    return VarianceShares(config / total, seed / total, residual / total, total, caveat)


def kendalls_w(scores: Float[np.ndarray, "config seed"]) -> float:
    """Agreement of the seeds on the ranking of configs, corrected for ties (Kendall 1948, ch. 6).

    1: each seed ranks the configs the same. Seeds that ranked at random and independently would
    give 1/n_seeds on average, which for few seeds is far from 0. Friedman's statistic is
    n_seeds · (n_configs − 1) · W. NaN for one seed, one config, or configs that tie on each seed.

    Raises:
        IncompleteGroupError: a seed has no score; usually a crashed run.
        ValueError: scores is not (config, seed).
    """
    table = _table(scores)
    n_configs, n_seeds = table.shape
    if n_configs == 1 or n_seeds == 1:
        return float("nan")
    below = np.sum(table < table[:, None], axis=1)
    tied = np.sum(table == table[:, None], axis=1)
    ranks = below + (tied + 1) / 2
    # Each config in a tie of t adds t² − 1, so the tie adds the t³ − t of Kendall's correction.
    ties = float(np.sum(tied**2 - 1))
    spread = float(np.sum((ranks.sum(axis=1) - n_seeds * (n_configs + 1) / 2) ** 2))
    most = n_seeds**2 * (n_configs**3 - n_configs) - n_seeds * ties
    return 12 * spread / most if most > 0 else float("nan")


def win_shares(scores: Float[np.ndarray, "config seed"]) -> Float[np.ndarray, " config"]:
    """Share of seeds on which each config has the best score; k tied bests get 1/k of a seed each.

    The shares add up to 1.

    Raises:
        IncompleteGroupError: a seed has no score; usually a crashed run.
        ValueError: scores is not (config, seed).
    """
    table = _table(scores)
    best = table == table.max(axis=0)
    return (best / best.sum(axis=0)).mean(axis=1)


def choices(marginals: Mapping[str, Sequence[Marginal]]) -> tuple[Choice, ...]:
    """For each hyperparameter, the value that the marginals choose, overall and seed by seed.

    Args:
        marginals: name → one marginal per value, from ``marginals.marginals``.
    """
    chosen: list[Choice] = []
    for name, rows in marginals.items():
        values = [row.value for row in rows]
        by_seed = np.stack([row.by_seed for row in rows])
        best = by_seed == by_seed.max(axis=0)
        overall = int(np.argmax(by_seed.mean(axis=1)))
        leaders = tuple(tuple(values[i] for i in np.flatnonzero(column)) for column in best.T)
        agreement = float((best / best.sum(axis=0))[overall].mean())
        by_chance = _agreement_by_chance(len(values), by_seed.shape[1])
        chosen.append(Choice(name, values[overall], leaders, agreement, by_chance))
    return tuple(chosen)


@cache
def _agreement_by_chance(n_values: int, n_seeds: int) -> float:
    """Share of seeds on which the value with the best mean is the best, of equally good ones."""
    rng = np.random.default_rng([n_values, n_seeds])
    drawn = rng.normal(size=(4000, n_values, n_seeds))
    overall = drawn.mean(axis=2).argmax(axis=1)
    return float((drawn.argmax(axis=1) == overall[:, None]).mean())


def _table(scores: Float[np.ndarray, "config seed"]) -> Float[np.ndarray, "config seed"]:
    complete = require_complete(scores)
    if complete.ndim != 2 or len(complete) == 0:
        raise ValueError(f"needs scores (config, seed), got shape {complete.shape}")
    return complete
