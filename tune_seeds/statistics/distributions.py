"""The few distributions that our statistics need, typed: the one module that imports scipy."""

# scipy 1.17 ships neither type stubs nor complete annotations.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from functools import cache
from math import exp, lgamma, log

from scipy import integrate, special, stats


@cache
def t_quantile(p: float, df: int) -> float:
    """The value that Student's t with df degrees of freedom stays below with probability p."""
    return float(stats.t.ppf(p, df))


def t_tail(t: float, df: int) -> float:
    """P(T > t) of Student's t with df degrees of freedom."""
    return float(special.stdtr(df, -t))


@cache
def noncentral_t_quantile(p: float, df: int, noncentrality: float) -> float:
    """The value that noncentral t stays below with probability p."""
    return float(stats.nct.ppf(p, df, noncentrality))


def noncentral_t_tail(t: float, df: int, noncentrality: float) -> float:
    """P(T > t) of noncentral t."""
    return float(stats.nct.sf(t, df, noncentrality))


@cache
def chi_square_quantile(p: float, df: int) -> float:
    """The value that χ² with df degrees of freedom stays below with probability p."""
    return float(stats.chi2.ppf(p, df))


@cache
def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(at most k successes in n trials)."""
    return float(stats.binom.cdf(k, n, p))


@cache
def beta_quantile(p: float, a: float, b: float) -> float:
    """The value that a Beta(a, b) variable stays below with probability p."""
    return float(stats.beta.ppf(p, a, b))


@cache
def normal_order_statistic(rank: int, n: int) -> float:
    """Expected value of the rank-th lowest, counted from 0, of n standard normal scores."""
    log_count = log(n) + lgamma(n) - lgamma(rank + 1) - lgamma(n - rank)

    def density(x: float) -> float:
        below = rank * float(stats.norm.logcdf(x))
        above = (n - 1 - rank) * float(stats.norm.logsf(x))
        return x * exp(log_count + below + above + float(stats.norm.logpdf(x)))

    return float(integrate.quad(density, -10, 10)[0])
