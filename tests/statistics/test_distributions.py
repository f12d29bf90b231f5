"""What is computed by ``scipy.special`` is what ``scipy.stats`` computes."""

from __future__ import annotations

import pytest
from scipy import stats

from tune_seeds.statistics.distributions import (
    chi_square_quantile,
    normal_order_statistic,
    t_quantile,
    t_tail,
)

PROBABILITIES = (1e-9, 0.025, 0.5, 0.8, 0.975, 1 - 1e-9)


@pytest.mark.parametrize("df", [1, 2, 3, 7, 30, 1000, 10**6])
def test_quantiles_and_tails(df: int):
    for p in PROBABILITIES:
        t = t_quantile(p, df)
        assert t == pytest.approx(stats.t.ppf(p, df), rel=1e-12, abs=1e-12)
        assert chi_square_quantile(p, df) == pytest.approx(stats.chi2.ppf(p, df), rel=1e-12)
        assert t_tail(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-12)


@pytest.mark.parametrize("p", [0, 1])
def test_the_ends_are_the_ends_of_the_distributions(p: int):
    assert t_quantile(p, 3) == stats.t.ppf(p, 3)
    assert chi_square_quantile(p, 3) == stats.chi2.ppf(p, 3)


def test_order_statistics_of_two_and_three_are_known():
    """Of two: ±1/√π; of three: ±3/(2√π) and 0 (Harter 1961)."""
    assert normal_order_statistic(1, 2) == pytest.approx(0.5641895835477563, rel=1e-9)
    assert normal_order_statistic(0, 3) == pytest.approx(-0.8462843753216345, rel=1e-9)
    assert normal_order_statistic(1, 3) == pytest.approx(0, abs=1e-12)
