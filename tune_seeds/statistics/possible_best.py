"""How probably each config of a study is the best one, the stopped ones included.

A config that was stopped at a low rung has no score at the last epoch, but it has a forecast: what
the configs that went on became, given where they had stood. The means of all configs at all rungs
are taken to be jointly normal, and so are the values of one run around them; configs go on because
of values that are seen, so their selection needs no further account (Rubin 1976,
doi:10.1093/biomet/63.3.581). A Gibbs sampler draws the means and both covariance matrices, with the
little that is known of them (Gelman et al., Bayesian Data Analysis, 3rd ed., §11.1 and 15.3).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

#: Draws that are kept, and those before that are not.
N_DRAWS, N_BURN = 800, 200
# Values this many quartile ranges below the lower quartile of their rung count as there.
_FENCE = 3.0
# What configs and seeds vary by at every rung before anything is seen, in shares of the variance
# at that rung, and how many configs, or runs, that is worth beyond the least that can be.
_PRIOR_SHARE = 0.3
_PRIOR_WORTH = 2.0
# The set is filled up to 1 − this · (1 − level).
_CAUTION = 0.2


def draws_of_means(
    values: Float[np.ndarray, "run rung"],
    config: Int[np.ndarray, " run"],
    *,
    rng: np.random.Generator,
    n_draws: int = N_DRAWS,
    n_burn: int = N_BURN,
) -> Float[np.ndarray, "draw config"]:
    """Draws of every config's mean over seeds at the last rung, given all values.

    Args:
        values: of each run at each rung, lowest first, higher is better; NaN from where a run has
            not got on. At the lowest rung every run has one.
        config: whose run it is, counted from 0.
        rng: draws.
        n_draws: that are kept, at least 1; more lowers the noise.
        n_burn: that are not.

    Raises:
        ValueError: a run has no value at the lowest rung, or a value after a missing one.
    """
    seen = np.isfinite(values)
    if not seen[:, 0].all() or np.any(seen[:, 1:] & ~seen[:, :-1]):
        raise ValueError("a run must have values from the lowest rung on, without gaps")
    y, center, scale = _scaled(values)
    n_runs, n_rungs = y.shape
    n_configs = int(config.max()) + 1
    n_own = np.bincount(config, minlength=n_configs)
    n_seen = seen.sum(axis=1)
    partial = [(p, np.flatnonzero(n_seen == p)) for p in range(1, n_rungs) if np.any(n_seen == p)]
    counts = [(n, np.flatnonzero(n_own == n)) for n in np.unique(n_own).tolist()]
    least = n_rungs + 1 + _PRIOR_WORTH
    prior = _PRIOR_SHARE * _PRIOR_WORTH * np.eye(n_rungs)
    between = within = _PRIOR_SHARE * np.eye(n_rungs)
    common = np.zeros(n_rungs)
    means = np.zeros((n_configs, n_rungs))
    # Where a run has not got on, start from where it stands.
    last = y[np.arange(n_runs), n_seen - 1]
    y = np.where(seen, y, last[:, None])
    kept = np.empty((n_draws, n_configs))
    for draw in range(-n_burn, n_draws):
        of_config, of_seed = np.linalg.inv(between), np.linalg.inv(within)
        sums = np.zeros((n_configs, n_rungs))
        np.add.at(sums, config, y)
        pull = sums @ of_seed + of_config @ common
        for n, rows in counts:
            spread = np.linalg.inv(of_config + n * of_seed)
            noise = rng.standard_normal((len(rows), n_rungs)) @ np.linalg.cholesky(spread).T
            means[rows] = pull[rows] @ spread + noise
        for p, rows in partial:
            line = np.linalg.solve(within[:p, :p], within[:p, p:])
            left = within[p:, p:] - within[p:, :p] @ line
            own = means[config[rows]]
            noise = rng.standard_normal((len(rows), n_rungs - p)) @ np.linalg.cholesky(left).T
            y[rows, p:] = own[:, p:] + (y[rows, :p] - own[:, :p]) @ line + noise
        average = means.mean(axis=0)
        common = average + np.linalg.cholesky(between / n_configs) @ rng.standard_normal(n_rungs)
        between = _inverse_wishart(least + n_configs, prior + _products(means - common), rng)
        within = _inverse_wishart(least + n_runs, prior + _products(y - means[config]), rng)
        if draw >= 0:
            kept[draw] = means[:, -1]
    return center[-1] + scale[-1] * kept


def chances(draws: Float[np.ndarray, "draw config"]) -> Float[np.ndarray, " config"]:
    """Probability that each config's mean is the highest of all.

    Every config counts as best in one draw more than it was: so many draws can't rule one out.
    """
    wins = np.bincount(draws.argmax(axis=1), minlength=draws.shape[1]) + 1.0
    return wins / wins.sum()


def smallest_set(chance: Float[np.ndarray, " config"], *, level: float) -> tuple[int, ...]:
    """The fewest configs that hold the best one with a probability of at least ``level``.

    Sorting by noisy probabilities takes those first that look likely, so the set is filled up to
    more than ``level``. Measured in simulated default studies of 40 configs on three seeds, filled
    up to 97 to 98 %: the best of all was kept in 90 to 96 % of 40 or 50 studies (error 3 to 5
    points), in sets of 32 configs where these differ by as much as seeds do and of 35 to 37 where
    they differ by a third of that; hence a little more now. Among the finished alone it was in 25 %
    of the latter.

    Raises:
        ValueError: level is not in (0.5, 1).
    """
    if not 0.5 < level < 1:
        raise ValueError(f"level must be in (0.5, 1), got {level}")
    wanted = 1 - _CAUTION * (1 - level)
    order = np.argsort(-chance, kind="stable")
    n = int(np.searchsorted(np.cumsum(chance[order]), wanted - 1e-9)) + 1
    return tuple(order[: min(n, len(order))].tolist())


def _scaled(
    values: Float[np.ndarray, "run rung"],
) -> tuple[Float[np.ndarray, "run rung"], Float[np.ndarray, " rung"], Float[np.ndarray, " rung"]]:
    lower, upper = np.nanpercentile(values, [25, 75], axis=0)
    fenced = np.maximum(values, lower - _FENCE * (upper - lower))
    center = np.nanmean(fenced, axis=0)
    scale = np.nanstd(fenced, axis=0)
    # Few get to the last rungs, and they may be alike; the rung below says what unit they are in.
    for rung in range(len(scale)):
        if not scale[rung] > 1e-9 * max(abs(float(center[rung])), 1e-300):
            scale[rung] = scale[rung - 1] if rung else 1.0
    return (fenced - center) / scale, center, scale


def _products(rows: Float[np.ndarray, "n rung"]) -> Float[np.ndarray, "rung rung"]:
    return rows.T @ rows


def _inverse_wishart(
    df: float, scale: Float[np.ndarray, "rung rung"], rng: np.random.Generator
) -> Float[np.ndarray, "rung rung"]:
    """By Bartlett's decomposition of the Wishart matrix that it is the inverse of."""
    size = len(scale)
    factor = np.tril(rng.standard_normal((size, size)), -1)
    factor[np.diag_indices(size)] = np.sqrt(rng.chisquare(df - np.arange(size)))
    root = np.linalg.cholesky(np.linalg.inv(scale)) @ factor
    return np.linalg.inv(root @ root.T)
