"""The few distributions that our statistics need, typed: the one module that imports scipy.

``scipy.stats`` and ``scipy.integrate`` take longer to import than all of this package, and whoever
reads a study seldom needs them: they are imported where they are used. What SciPy's own
distributions compute by ``scipy.special`` is computed by it here too.
"""

# scipy 1.17 ships neither type stubs nor complete annotations.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from functools import cache
from math import exp, inf, isnan, lgamma, log, pi
from typing import cast

import numpy as np
from jaxtyping import Float
from scipy import special


@cache
def t_quantile(p: float, df: int) -> float:
    """The value that Student's t with df degrees of freedom stays below with probability p."""
    # SciPy 1.17 has +inf at both ends.
    return -inf if p == 0 else float(special.stdtrit(df, p))


def t_tail(t: float, df: int) -> float:
    """P(T > t) of Student's t with df degrees of freedom."""
    return float(special.stdtr(df, -t))


@cache
def noncentral_t_quantile(p: float, df: int, noncentrality: float) -> float:
    """The value that noncentral t stays below with probability p."""
    from scipy import stats

    return float(stats.nct.ppf(p, df, noncentrality))


def noncentral_t_tail(t: float, df: int, noncentrality: float) -> float:
    """P(T > t) of noncentral t."""
    from scipy import stats

    return float(stats.nct.sf(t, df, noncentrality))


def noncentrality_interval(t: float, df: int, level: float) -> tuple[float, float]:
    """The noncentralities under which t is not in either tail of (1 − level)/2."""
    from scipy import optimize

    if abs(t) > 100:
        # Beside it the normal part is nothing: t is the noncentrality over √(χ²/df).
        ends = [
            t * (chi_square_quantile(p, df) / df) ** 0.5 for p in (0.5 - level / 2, 0.5 + level / 2)
        ]
        return min(ends), max(ends)
    reach = abs(t) + 12.0 * (1 + abs(t) / df**0.5)

    def found(p: float) -> float:
        def ahead(d: float) -> float:
            below = float(special.nctdtr(df, d, t))
            # Far out in a tail scipy has no number (1.17.0).
            return (float(d < t) if isnan(below) else below) - p

        return cast(float, optimize.brentq(ahead, -reach, reach, xtol=1e-6))

    return found((1 + level) / 2), found((1 - level) / 2)


@cache
def chi_square_quantile(p: float, df: int) -> float:
    """The value that χ² with df degrees of freedom stays below with probability p."""
    return float(2 * special.gammaincinv(df / 2, p))


@cache
def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(at most k successes in n trials)."""
    from scipy import stats

    return float(stats.binom.cdf(k, n, p))


@cache
def beta_quantile(p: float, a: float, b: float) -> float:
    """The value that a Beta(a, b) variable stays below with probability p."""
    from scipy import stats

    return float(stats.beta.ppf(p, a, b))


@cache
def normal_order_statistic(rank: int, n: int) -> float:
    """Expected value of the rank-th lowest, counted from 0, of n standard normal scores."""
    from scipy import integrate

    log_count = log(n) + lgamma(n) - lgamma(rank + 1) - lgamma(n - rank)

    def density(x: float) -> float:
        below = rank * float(special.log_ndtr(x))
        above = (n - 1 - rank) * float(special.log_ndtr(-x))
        return x * exp(log_count + below + above - x * x / 2 - log(2 * pi) / 2)

    return float(integrate.quad(density, -10, 10)[0])


def log_gamma(x: Float[np.ndarray, " any"]) -> Float[np.ndarray, " any"]:
    """Logarithm of the gamma function."""
    return np.asarray(special.gammaln(x))


def student_log_density(
    t: Float[np.ndarray, "*any"], df: Float[np.ndarray, "*any"]
) -> Float[np.ndarray, "*any"]:
    """Logarithm of the density of Student's t."""
    return np.asarray(
        special.gammaln((df + 1) / 2)
        - special.gammaln(df / 2)
        - np.log(df * np.pi) / 2
        - (df + 1) / 2 * np.log1p(t * t / df)
    )


def student_tail(
    t: Float[np.ndarray, "*any"], df: Float[np.ndarray, "*any"]
) -> Float[np.ndarray, "*any"]:
    """P(T > t) of Student's t, for arrays."""
    return np.asarray(special.stdtr(df, -t))


def f_density(x: float, df: int, of_denominator: int) -> float:
    """Density of F with df and of_denominator degrees of freedom."""
    from scipy import stats

    return float(stats.f.pdf(x, df, of_denominator))
