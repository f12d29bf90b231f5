from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats

from tune_seeds.statistics.aggregate import (
    IncompleteGroupError,
    Kind,
    get_aggregate,
    interquartile_mean,
    lower_quantile,
    mean,
    mean_minus_se,
    median,
    worst_seed,
)

NAMES = ["mean", "median", "iqm", "worst", "quantile:0.25", "mean-1se", "mean-0.5se"]
# Config 0 is steady, config 1 has a collapse, config 2 ties.
SCORES = np.array([[1.0, 2.0, 3.0, 6.0], [9.0, 9.0, 8.0, -26.0], [4.0, 4.0, 4.0, 4.0]])

finite = st.floats(-1e6, 1e6, allow_subnormal=False)
tables = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=finite)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mean", [3.0, 0.0, 4.0]),
        ("median", [2.5, 8.5, 4.0]),
        ("iqm", [2.5, 8.5, 4.0]),
        ("worst", [1.0, -26.0, 4.0]),
        ("quantile:0.25", [1.75, -0.5, 4.0]),
        # sd² = (4 + 1 + 0 + 9)/3 and (81 + 81 + 64 + 676)/3, se = sd/2
        ("mean-1se", [3 - np.sqrt(14 / 3) / 2, -np.sqrt(902 / 3) / 2, 4.0]),
        ("mean-2se", [3 - np.sqrt(14 / 3), -np.sqrt(902 / 3), 4.0]),
    ],
)
def test_small_matrix_by_hand(name: str, expected: list[float]) -> None:
    np.testing.assert_allclose(get_aggregate(name)(SCORES), expected, rtol=1e-14)


@pytest.mark.parametrize("n", range(1, 13))
def test_interquartile_mean_is_scipys_trimmed_mean(n: int) -> None:
    scores = np.random.default_rng(n).lognormal(size=(5, n))
    expected = stats.trim_mean(scores, 0.25, axis=1)
    np.testing.assert_allclose(interquartile_mean(scores), expected, rtol=1e-14)


def test_interquartile_mean_is_rliables() -> None:
    # rliable 1.2.0: metrics.aggregate_iqm(scores[:n, None])
    scores = np.array([0.61, 0.72, 0.55, 0.93, 0.68, 0.71, 0.70, 0.12, 0.66, 0.69])
    expected = {
        2: 0.665,
        3: 0.6266666666666667,
        4: 0.665,
        5: 0.67,
        7: 0.684,
        8: 0.675,
        10: 0.675,
    }
    for n, value in expected.items():
        assert interquartile_mean(scores[:n]) == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_seeds_are_not_trimmed(n: int) -> None:
    scores = SCORES[:, :n]
    np.testing.assert_array_equal(interquartile_mean(scores), mean(scores))


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_is_its_own_aggregate(name: str) -> None:
    np.testing.assert_array_equal(get_aggregate(name)(SCORES[:, :1]), SCORES[:, 0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_missing_seed_is_never_averaged_away(name: str, bad: float) -> None:
    scores = SCORES.copy()
    scores[1, 2] = bad
    with pytest.raises(IncompleteGroupError, match=r"config 1, seed 2"):
        get_aggregate(name)(scores)


def test_a_missing_seed_never_reaches_a_function() -> None:
    with pytest.raises(IncompleteGroupError, match="seed 1"):
        get_aggregate(np.nanmean).score([20.0, float("nan"), 22.0])


def test_no_seeds_at_all() -> None:
    with pytest.raises(IncompleteGroupError, match="at least one seed"):
        mean(np.empty((3, 0)))


@given(tables, st.randoms(use_true_random=False))
def test_the_order_of_seeds_and_configs_does_not_matter(scores: np.ndarray, random: Random) -> None:
    seeds = random.sample(range(scores.shape[1]), scores.shape[1])
    configs = random.sample(range(scores.shape[0]), scores.shape[0])
    for name in NAMES:
        aggregate = get_aggregate(name)
        shuffled = aggregate(scores[:, seeds][configs])
        np.testing.assert_allclose(shuffled, aggregate(scores)[configs], rtol=1e-9, atol=1e-6)


@given(tables, st.floats(-100, 100), st.floats(0.01, 100))
def test_shift_and_scale_go_through(scores: np.ndarray, shift: float, scale: float) -> None:
    for name in NAMES:
        aggregate = get_aggregate(name)
        np.testing.assert_allclose(
            aggregate(scale * scores + shift), scale * aggregate(scores) + shift, atol=1e-5
        )


@given(tables)
def test_order_of_caution(scores: np.ndarray) -> None:
    slack = 1e-9 * (1 + np.abs(scores).max())
    assert np.all(worst_seed(scores) <= lower_quantile(scores, 0.25) + slack)
    assert np.all(lower_quantile(scores, 0.25) <= median(scores) + slack)
    assert np.all(mean_minus_se(scores, 1.0) <= mean(scores) + slack)
    np.testing.assert_allclose(lower_quantile(scores, 0.5), median(scores))
    np.testing.assert_allclose(lower_quantile(scores, 0.0), worst_seed(scores))
    np.testing.assert_array_equal(mean_minus_se(scores, 0.0), mean(scores))


@given(tables)
def test_flipping_mode_and_sign_changes_nothing(errors: np.ndarray) -> None:
    # At the boundary a metric with mode="min" comes in negated and goes out negated: "worst" is
    # then the highest error, and the cautious side lies above the mean.
    def minimised(name: str) -> np.ndarray:
        return -get_aggregate(name)(-errors)

    np.testing.assert_array_equal(minimised("worst"), errors.max(axis=1))
    np.testing.assert_allclose(
        minimised("quantile:0.25"), np.quantile(errors, 0.75, axis=1), rtol=1e-9, atol=1e-9
    )
    for name in ("mean", "median", "iqm"):
        np.testing.assert_allclose(minimised(name), get_aggregate(name)(errors), atol=1e-9)


def test_a_function_sees_one_config_at_a_time() -> None:
    def spread(scores: np.ndarray) -> float:
        assert scores.ndim == 1
        scores.sort()  # in place: must not reach the caller's array
        return float(scores[0] - scores[-1])

    before = SCORES.copy()
    aggregate = get_aggregate(spread)
    np.testing.assert_array_equal(aggregate(SCORES), [-5.0, -35.0, 0.0])
    np.testing.assert_array_equal(SCORES, before)
    assert (aggregate.name, aggregate.kind) == ("spread", Kind.CUSTOM)
    assert aggregate.score([3.0, 1.0]) == -2.0


def test_a_function_must_give_a_number() -> None:
    with pytest.raises(ValueError, match=r"gave no finite number for \[1.0, 2.0, 3.0, 6.0\]"):
        get_aggregate(lambda _: float("nan"))(SCORES)


def test_an_aggregate_stands_for_itself() -> None:
    iqm = get_aggregate("iqm")
    assert get_aggregate(iqm) is iqm


@pytest.mark.parametrize(
    "spec", ["", "average", "quantile", "quantile:0.7", "quantile:-0.1", "mean--1se", "mean-se"]
)
def test_a_wrong_name_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match=r"no aggregate|q in \[0, 0.5\]"):
        get_aggregate(spec)


@pytest.mark.parametrize("k", [-1.0, float("nan"), float("inf")])
def test_k_is_finite_and_not_negative(k: float) -> None:
    with pytest.raises(ValueError, match="k of at least 0"):
        mean_minus_se(SCORES, k)
