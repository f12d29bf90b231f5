"""One model of all configs of a study: what each may expect on a fresh seed, chosen or not.

The interval of a config's own seeds does not know that the config was chosen as the best of many.
A model of all of them does: it learns how far configs lie apart and how far seeds do, and where
seeds do more, what stands out is drawn back towards the rest.

Configs are normal around a common mean, seeds normal around their config, with moderated variances
(``moderated_variance``). The spread of the configs is estimated from few of them, so its
uncertainty is kept, as Morris (1983, doi:10.1080/01621459.1983.10477920) asks; here by weighing
every hypothesis about it with the likelihood of all scores and a half-Cauchy prior (Gelman 2006,
doi:10.1214/06-BA117A) instead of by his expansion, which needs more configs than a study finishes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from tune_seeds.statistics.coverage_notes import coverage_note
from tune_seeds.statistics.distributions import f_density, student_log_density, student_tail
from tune_seeds.statistics.intervals import Interval, require_level, t_interval
from tune_seeds.statistics.moderated_variance import VarianceHypotheses, variance_hypotheses

METHOD = "random effects over all configs"
_N_SPREADS = 13
# The spread of the configs is sought between these shares of the spread of their means.
_LEAST_SPREAD, _MOST_SPREAD = 0.1, 5.0
# Configs this many quartile ranges below the others (diverged ones) are no company for them.
_FENCE = 20.0
# The luck of a config is this many times that of the average one at most.
_MOST_LUCK = 5.0
# Less excess kurtosis than this is none: the range is far away.
_LEAST_KURTOSIS = 0.5
# By how much its luck may differ from what its own spread says, as a share of the difference.
_LUCK_ERROR = 0.5
# Hypotheses below this share of the best one's weight are dropped.
_NEGLIGIBLE = 1e-3
#: Shares that the seed itself, alike in all configs, may have in the variance over seeds, and how
#: probable they are before anything is seen.
_SEED_SHARES = ((0.0, 0.6), (0.2, 0.1), (0.4, 0.1), (0.6, 0.1), (0.8, 0.1))


@dataclass(frozen=True, slots=True)
class Expected:
    """What a config is expected to score on a fresh seed.

    Attributes:
        estimate: the expected score.
        interval: of it; NaN where nothing in the study shows what a seed does.
        shrinkage: how far the estimate is drawn from the config's own mean to the rest: 0 not at
            all, 1 altogether.
    """

    estimate: float
    interval: Interval
    shrinkage: float


def expected_scores(
    scores: Float[np.ndarray, "config seed"],
    *,
    luck: Float[np.ndarray, " config"] | None = None,
    luck_error: Float[np.ndarray, " config"] | None = None,
    level: float = 0.95,
    smallest_sd: float = 0.0,
    ends: tuple[float, float] | None = None,
    wanted: Sequence[int] | None = None,
) -> tuple[Expected, ...]:
    """The expected score of every config, from all of them together.

    Args:
        scores: higher is better; NaN for a seed that a config does not have. At least one per
            config.
        luck: what selection at lower rungs is expected to have added to each config's mean.
        luck_error: its standard error.
        level: in (0, 1); higher is wider.
        smallest_sd: standard deviations over seeds are taken to be at least this.
        ends: lowest and highest value that a score can have, where that is known.
        wanted: the configs to answer for, in this order; all if None.

    Raises:
        ValueError: level is out of range, or a config has no score.
    """
    require_level(level)
    n = np.isfinite(scores).sum(axis=1)
    if scores.ndim != 2 or np.any(n == 0):
        raise ValueError("the model needs scores (config, seed) with at least one of each config")
    added = np.zeros(len(scores)) if luck is None else luck
    unsure = np.zeros(len(scores)) if luck_error is None else luck_error
    means = np.nanmean(scores, axis=1) - added
    squares = np.nansum((scores - np.nanmean(scores, axis=1)[:, None]) ** 2, axis=1)
    # Scores are floats: less spread than their own spacing can't be seen.
    spacing = np.maximum(np.spacing(np.nanmax(np.abs(scores), axis=1)), 1e-150)
    variances = np.maximum(squares / np.maximum(n - 1, 1), np.maximum(spacing, smallest_sd) ** 2)
    company = _company(means)
    asked = range(len(scores)) if wanted is None else wanted
    inside = [config for config in asked if company[config] and np.any(n[company] > 1)]
    found: dict[int, Expected] = {}
    if inside:
        places = np.cumsum(company)[inside] - 1
        tails = _weight_of_tails(means, variances, n, ends)
        df = (n - 1) / tails
        several = company & (n > 1)
        prior = variance_hypotheses(variances[several], df[several])
        note = coverage_note(scores[company], prior, tails[company])
        together = _model(
            prior,
            means[company],
            variances[company],
            n[company],
            df[company],
            added[company],
            unsure[company],
            level,
            _seed_share(scores[company]),
            places,
            note,
        )
        found = dict(zip(inside, together, strict=True))
    return tuple(
        found[config] if config in found else _alone(scores, config, level, smallest_sd)
        for config in asked
    )


def _model(
    prior: VarianceHypotheses,
    means: Float[np.ndarray, " config"],
    variances: Float[np.ndarray, " config"],
    n: Int[np.ndarray, " config"],
    own_df: Float[np.ndarray, " config"],
    added: Float[np.ndarray, " config"],
    unsure: Float[np.ndarray, " config"],
    level: float,
    seed_share: float,
    wanted: Int[np.ndarray, " wanted"],
    note: str | None,
) -> list[Expected]:
    several = n > 1
    within, df = prior.moderated(variances, own_df)
    own_error = within / n
    # What a seed does to all configs alike moves no config against the others.
    apart_error = own_error * (1 - seed_share)
    scale = float(np.std(means, ddof=1)) if len(means) > 1 else 0.0
    scale = max(scale, 0.2 * float(np.average(variances[several])) ** 0.5)
    spreads = scale * np.geomspace(_LEAST_SPREAD, _MOST_SPREAD, _N_SPREADS)
    spreads[0] /= 5  # stands for all that are smaller
    # Luck was judged by what seeds do on average; where they do less, there was less of it.
    average = np.average(variances[several], weights=own_df[several])
    lucky = np.minimum(within / average, _MOST_LUCK)
    means = means + added - lucky * added
    unsure = np.hypot(lucky * unsure, _LUCK_ERROR * (lucky - 1) * added)
    log_prior = np.log(np.gradient(spreads)) - np.log1p((spreads / scale) ** 2)
    parts: list[tuple[np.ndarray, ...]] = []
    for spread, before in zip(spreads.tolist(), log_prior.tolist(), strict=True):
        total = apart_error + spread**2
        weights = 1 / total
        common = (weights * means).sum(axis=1) / weights.sum(axis=1)
        common_error = 1 / weights.sum(axis=1)
        # Of scores alike on all seeds the ratio's square is no float any more.
        ratio = np.minimum(total / apart_error, 1e100)
        spread_df = np.minimum(df * ratio**2, 1e6)
        likelihood = (
            prior.log_likelihood
            + before
            + (
                student_log_density((means - common[:, None]) / np.sqrt(total), spread_df)
                - 0.5 * np.log(total)
            ).sum(axis=1)
            + 0.5 * np.log(common_error)
        )
        drawn = apart_error / total
        if means.shape[1] == 1:
            drawn = np.zeros_like(drawn)
        # A mean that stands out shows, as far as seeds made it so, how much they do.
        scatter = within
        for _ in range(2):
            of_seeds = n * (drawn * (means - common[:, None])) ** 2 + scatter * (1 - drawn)
            scatter = (df * within + of_seeds) / (df + 1)
            noise = scatter / n * (1 - seed_share)
            drawn = noise / (noise + spread**2)
            if means.shape[1] == 1:
                drawn = np.zeros_like(drawn)
        noise = scatter / n * (1 - seed_share)
        center = drawn * common[:, None] + (1 - drawn) * means
        error = noise * (1 - drawn) + drawn**2 * common_error[:, None]
        error = error + scatter / n * seed_share + unsure**2
        parts.append((likelihood, *(part[:, wanted] for part in (center, error, df, drawn))))
    likelihood = np.concatenate([part[0] for part in parts])
    weight = np.exp(likelihood - likelihood.max())
    kept = weight > _NEGLIGIBLE
    weight = weight[kept] / weight[kept].sum()
    center, error, df, drawn = (
        np.concatenate([part[k] for part in parts])[kept] for k in range(1, 5)
    )
    sd = np.sqrt(error)
    low, high = (_quantile(p, weight, center, sd, df) for p in ((1 - level) / 2, (1 + level) / 2))
    estimates, shrunk = weight @ center, weight @ drawn
    return [
        Expected(
            float(estimates[k]),
            Interval(float(low[k]), float(high[k]), level, METHOD, int(n[config]), note),
            float(shrunk[k]),
        )
        for k, config in enumerate(wanted.tolist())
    ]


def _quantile(
    p: float,
    weight: Float[np.ndarray, " hypothesis"],
    center: Float[np.ndarray, "hypothesis config"],
    sd: Float[np.ndarray, "hypothesis config"],
    df: Float[np.ndarray, "hypothesis config"],
) -> Float[np.ndarray, " config"]:
    """Quantile of a mixture of Student's t per config, by regula falsi (Illinois)."""

    def ahead(x: Float[np.ndarray, " config"]) -> Float[np.ndarray, " config"]:
        return weight @ student_tail((center - x) / sd, df) - p

    low, high = (center - 60 * sd).min(axis=0), (center + 60 * sd).max(axis=0)
    # Far out the curve is flat, so the bracket is halved first.
    for _ in range(9):
        x = (low + high) / 2
        left = ahead(x) < 0
        low, high = np.where(left, x, low), np.where(left, high, x)
    below, above = ahead(low), ahead(high)
    x = low
    for _ in range(20):
        x = low - below * (high - low) / np.maximum(above - below, 1e-300)
        there = ahead(x)
        if float(np.max(np.abs(there))) < 1e-7:
            break
        left = there < 0
        below, above = np.where(left, there, below / 2), np.where(left, above / 2, there)
        low, high = np.where(left, x, low), np.where(left, high, x)
    return x


def _seed_share(scores: Float[np.ndarray, "config seed"]) -> float:
    """Expected share of the seed alone, alike in all configs, in the variance over seeds.

    From the configs that have every seed: under a share ρ, the ratio of the mean squares of seeds
    and residuals is 1 + m·ρ/(1 − ρ) times an F variable. Three configs on three seeds say little,
    so the shares are averaged by their likelihood instead of taking the likeliest.
    """
    whole = scores[np.isfinite(scores).all(axis=1)]
    m, k = whole.shape
    if m < 2 or k < 2:
        return 0.0
    centered = whole - whole.mean(axis=1)[:, None]
    of_seed = centered.mean(axis=0)
    between = m * float(np.sum(of_seed**2)) / (k - 1)
    residual = float(np.sum((centered - of_seed) ** 2)) / ((m - 1) * (k - 1))
    if residual <= 0 or not np.isfinite(between / residual):
        return 0.0
    # With two seeds the density has a pole at 0, where rounded scores can fall exactly.
    ratio = max(between / residual, 1e-9)
    found = [
        (share, before * f_density(ratio / r, k - 1, (m - 1) * (k - 1)) / r)
        for share, before in _SEED_SHARES
        for r in [1 + m * share / (1 - share)]
    ]
    total = sum(weight for _, weight in found)
    return sum(share * weight for share, weight in found) / total if total > 0 else 0.0


def _weight_of_tails(
    means: Float[np.ndarray, " config"],
    variances: Float[np.ndarray, " config"],
    n: Int[np.ndarray, " config"],
    ends: tuple[float, float] | None,
) -> Float[np.ndarray, " config"]:
    """By how much the variance of a config's own seeds is less certain than of normal scores.

    Near an end of their range scores have one long tail: most runs are close to the end and alike,
    and the few that are not make the mean. There scores are about gamma distributed at their
    distance d from the end, with an excess kurtosis κ of 6·variance/d², and a sample variance of n
    scores varies as one of (n − 1)/(1 + κ(n − 1)/2n) degrees of freedom of normal scores.
    """
    if ends is None or not np.any(n > 1):
        return np.ones(len(means))
    several = n > 1
    common = float(np.average(variances[several], weights=n[several] - 1))
    distance = np.maximum(np.minimum(means - ends[0], ends[1] - means), 0)
    kurtosis = 6 * common / np.maximum(distance**2, 1e-6 * common + 1e-300)
    return 1 + np.where(kurtosis > _LEAST_KURTOSIS, kurtosis, 0) * (n - 1) / (2 * n)


def _company(means: Float[np.ndarray, " config"]) -> Bool[np.ndarray, " config"]:
    if len(means) < 4:
        return np.ones(len(means), dtype=bool)
    lower, upper = np.percentile(means, [25, 75])
    return means >= lower - _FENCE * (upper - lower)


def _alone(
    scores: Float[np.ndarray, "config seed"], config: int, level: float, smallest_sd: float
) -> Expected:
    own = scores[config][np.isfinite(scores[config])]
    return Expected(float(own.mean()), t_interval(own, level=level, smallest_sd=smallest_sd), 0.0)
