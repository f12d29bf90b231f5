from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from tune_seeds.policies.forecast import (
    PRIOR_TRUST,
    expected_rise,
    fit_forecast,
    normal_score,
    trust_in_recent,
)


def fitted(scores: np.ndarray, spreads: Sequence[tuple[float, int]] = ()):
    """A forecast from groups that are all at the last epoch: scores[group, level]."""
    ranked = [sorted(column) for column in scores.T.tolist()]
    return fit_forecast(ranked, scores.tolist(), spreads)


def test_normal_scores_are_symmetric_and_share_ties():
    ranked = [1.0, 2.0, 2.0, 3.0]
    assert normal_score(ranked, 2.0) == pytest.approx(0)
    assert normal_score(ranked, 1.0) == pytest.approx(-normal_score(ranked, 3.0))
    assert normal_score([1.0], 1.0) == 0.0
    assert math.isfinite(normal_score(ranked, math.inf))


@pytest.mark.parametrize(("ahead", "variance"), [(0.0, 4.0), (-1.0, 1.0), (0.7, 0.2)])
def test_the_expected_rise_is_the_mean_of_what_is_above(ahead: float, variance: float):
    draws = np.random.default_rng(0).normal(-abs(ahead), math.sqrt(variance), 400_000)
    above = np.maximum(draws, 0)
    error = above.std() / math.sqrt(len(above))
    assert expected_rise(ahead, variance) == pytest.approx(above.mean(), abs=4 * error)
    assert expected_rise(ahead, 0.0) == 0.0


def test_a_rung_that_decides_leaves_little_unknown_and_a_useless_one_everything():
    rng = np.random.default_rng(0)
    low = rng.normal(size=400)
    decides = fitted(np.stack([low, low + rng.normal(scale=0.1, size=400)], axis=1))
    useless = fitted(np.stack([low, rng.normal(size=400)], axis=1))
    assert decides.lines[0].slope == pytest.approx(1, abs=0.1)
    assert decides.between < 0.05
    assert abs(useless.lines[0].slope) < 0.15
    assert useless.between > 0.5


def test_a_rung_that_misleads_is_taken_to_say_nothing():
    low = np.linspace(-1, 1, 50)
    forecast = fitted(np.stack([low, -low], axis=1))
    assert forecast.lines[0].slope == 0.0


def test_a_forecast_covers_what_it_says_also_where_only_the_best_went_on():
    rng = np.random.default_rng(0)
    n, rho = 3000, 0.8
    low = rng.normal(size=n)
    end = rho * low + rng.normal(scale=math.sqrt(1 - rho**2), size=n)
    went_on = low > np.quantile(low, 2 / 3)
    climbed = [[a, b] if on else [a] for a, b, on in zip(low, end, went_on, strict=True)]
    ranked = [sorted(low.tolist()), sorted(end[went_on].tolist())]
    forecast = fit_forecast(ranked, climbed, [])
    expected = np.array([forecast.below(0, normal_score(ranked[0], x)) for x in low])
    variance = forecast.left(0, 1) + forecast.noise
    covered = np.abs(end - expected) < 1.645 * math.sqrt(variance)
    # The noise share is a prior here, so the total is what can be right or wrong.
    assert forecast.lines[0].slope == pytest.approx(rho, abs=0.06)
    assert 0.87 < covered.mean() < 0.96
    assert covered.mean() > 0.9 - 4 * math.sqrt(0.09 / n)


def test_the_pooled_spread_over_seeds_is_the_noise():
    rng = np.random.default_rng(0)
    means = rng.normal(scale=2.0, size=200)
    seeds = means[:, None] + rng.normal(scale=0.5, size=(200, 3))
    forecast = fitted(seeds[:, :1], [(v, 2) for v in seeds.var(axis=1, ddof=1)])
    assert forecast.noise == pytest.approx(0.25, rel=0.2)
    assert forecast.between == pytest.approx(4.0, rel=0.3)


@pytest.mark.parametrize("degrees", [1, 2, 4])
def test_a_collapsed_seed_does_not_drown_the_noise(degrees: int):
    seeds = np.random.default_rng(0).normal(size=(400, degrees + 1))
    seeds[:40, 0] = -1e9
    spreads = [(v, degrees) for v in seeds.var(axis=1, ddof=1)]
    assert fitted(seeds[:, 1:2], spreads).noise == pytest.approx(1, rel=0.35)


def test_more_seeds_draw_a_mean_less_towards_the_forecast():
    forecast = fitted(np.random.default_rng(0).normal(size=(50, 2)))
    high = [forecast.top(0.0, 3.0, n) for n in (1, 2, 5)]
    assert high == sorted(high)
    assert high[-1] < 3.0
    left = [forecast.left(1, n) for n in (1, 2, 5)]
    assert left == sorted(left, reverse=True)
    assert forecast.left(0, 1) > left[0]


def test_the_unit_of_the_metric_does_not_matter():
    scores = np.random.default_rng(0).normal(size=(30, 3)).cumsum(axis=1)
    one, other = fitted(scores), fitted(1000 * scores - 7)
    assert other.below(0, 1.0) == pytest.approx(1000 * one.below(0, 1.0) - 7)
    assert other.left(0, 1) == pytest.approx(1e6 * one.left(0, 1))


def test_a_diverged_value_bends_nothing():
    scores = np.random.default_rng(0).normal(size=(40, 2)).cumsum(axis=1)
    far = scores.copy()
    worst = int(np.argmin(far[:, 1]))
    far[worst, 1] = -1e9
    assert fitted(far).lines[0].slope == pytest.approx(fitted(scores).lines[0].slope, abs=0.4)


def test_nothing_known_is_no_error():
    forecast = fit_forecast([[], [], []], [], [])
    mean, variance = forecast.new()
    assert mean == 0.0
    assert variance > 0
    assert forecast.left(0, 1) > forecast.left(1, 1) > forecast.left(2, 1) > 0


def groups_with(noise: float, drift: float, n: int = 200) -> list[tuple[list[float], list[float]]]:
    """Values of three seeds at the last epoch and their means over it and nine before it."""
    rng = np.random.default_rng(0)
    rise = rng.normal(scale=drift, size=(n, 1)) + np.zeros((n, 3))
    jitter = rng.normal(scale=noise, size=(n, 3, 10))
    values = rise + jitter[..., -1]
    return list(zip(values.tolist(), jitter.mean(axis=2).tolist(), strict=True))


def test_recent_epochs_are_trusted_where_they_differ_by_noise_and_not_where_curves_move():
    assert trust_in_recent(groups_with(noise=1, drift=0)) > 0.9
    assert trust_in_recent(groups_with(noise=0.1, drift=1)) < 0.1
    assert trust_in_recent([]) == PRIOR_TRUST
    assert trust_in_recent([([1.0, 2.0], [1.0, 2.0])]) == PRIOR_TRUST


def test_one_seed_that_collapses_does_not_decide_the_trust():
    groups = groups_with(noise=1, drift=0)
    groups[0][0][0] = -1e9
    assert trust_in_recent(groups) == pytest.approx(
        trust_in_recent(groups_with(noise=1, drift=0)), abs=0.1
    )
