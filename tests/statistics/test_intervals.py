import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monte_carlo import slack
from scipy import stats

from tune_seeds.statistics.aggregate import IncompleteGroupError
from tune_seeds.statistics.intervals import Interval, mean_interval, score_resolution

SEEDS = (2, 3, 5, 10)
REPEATS = 3000
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]

# scores → (draw, true mean, resolution, coverage in % that the module's docstring claims)
COVERAGE: dict[str, tuple[Draw, float, float, tuple[float, ...]]] = {
    "normal": (lambda g, size: g.normal(size=size), 0.0, 0.0, (95.0, 95.0, 95.2, 95.2)),
    "uniform": (lambda g, size: g.uniform(size=size), 0.5, 0.0, (92.9, 92.0, 93.0, 94.5)),
    "t": (lambda g, size: g.standard_t(3, size=size), 0.0, 0.0, (95.8, 96.1, 95.9, 95.6)),
    "exponential": (
        lambda g, size: g.exponential(size=size),
        1.0,
        0.0,
        (90.9, 88.5, 88.4, 89.8),
    ),
    "lognormal": (
        lambda g, size: g.lognormal(size=size),
        math.exp(0.5),
        0.0,
        (89.1, 83.7, 81.6, 83.9),
    ),
    "collapse": (
        lambda g, size: g.normal(size=size) - 10 * (g.random(size) < 0.1),
        -1.0,
        0.0,
        (91.7, 87.0, 76.4, 72.0),
    ),
    "accuracy": (
        lambda g, size: g.binomial(100, 0.95, size=size) / 100,
        0.95,
        0.01,
        (98.7, 95.3, 94.6, 94.8),
    ),
}
# Where "95%" is kept whatever the scores' own shape.
KEEPS_ITS_PROMISE = ("normal", "t", "accuracy")


@pytest.mark.parametrize("scores", COVERAGE)
@pytest.mark.parametrize("column", range(4), ids=lambda i: f"{SEEDS[i]}-seeds")
def test_coverage_is_what_the_docstring_says(scores: str, column: int) -> None:
    draw, true_mean, resolution, claimed = COVERAGE[scores]
    rng = np.random.default_rng([column, *scores.encode()])
    samples = draw(rng, (REPEATS, SEEDS[column]))
    covered = np.mean([true_mean in mean_interval(s, resolution=resolution) for s in samples])
    # The claim itself comes from 20,000 repeats.
    share = claimed[column] / 100
    allowed = math.hypot(slack(share, REPEATS), slack(share, 20_000))
    assert abs(covered - share) <= allowed
    if scores in KEEPS_ITS_PROMISE:
        assert covered >= 0.95 - slack(0.95, REPEATS)


def test_negative_control_a_normal_quantile_covers_too_little() -> None:
    # 1.96 standard errors, what an error bar usually is: with 3 seeds it holds 80% and not 95%.
    samples = np.random.default_rng(0).normal(size=(REPEATS, 3))
    error = samples.std(axis=1, ddof=1) / math.sqrt(3)
    covered = np.mean(np.abs(samples.mean(axis=1)) <= 1.96 * error)
    assert covered < 0.95 - 5 * slack(0.95, REPEATS)


def test_without_resolution_equal_scores_look_certain() -> None:
    samples = np.random.default_rng(0).binomial(100, 0.95, size=(REPEATS, 2)) / 100
    covered = np.mean([0.95 in mean_interval(s) for s in samples])
    assert covered < 0.95 - slack(0.95, REPEATS)


def test_by_hand() -> None:
    # mean 2, sd 1, t quantile of 2 degrees of freedom 4.30265
    interval = mean_interval(np.array([1.0, 2.0, 3.0]))
    half = 4.302652729749462 / math.sqrt(3)
    assert interval.low == pytest.approx(2 - half, rel=1e-12)
    assert interval.high == pytest.approx(2 + half, rel=1e-12)
    assert (interval.level, interval.n, interval.caveat) == (0.95, 3, None)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_is_scipys(n: int, level: float) -> None:
    scores = np.random.default_rng(n).normal(size=n)
    expected = stats.ttest_1samp(scores, 0).confidence_interval(level)
    interval = mean_interval(scores, level=level)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_one_seed_has_no_interval() -> None:
    interval = mean_interval(np.array([0.9]))
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert 0.9 not in interval
    assert interval.caveat == "one seed shows no spread: there is no interval"


def test_two_seeds_say_what_they_can_not_promise() -> None:
    interval = mean_interval(np.array([0.9, 0.8]))
    assert interval.caveat is not None
    assert interval.caveat.startswith("two seeds: right only if scores are normal")


def test_equal_scores_are_not_certainty() -> None:
    scores = np.full(3, 0.93)
    certain = mean_interval(scores)
    assert certain.low == certain.high == pytest.approx(0.93)
    assert certain.caveat == "all 3 values are equal: how much seeds matter can't be seen"
    rounded = mean_interval(scores, resolution=0.01)
    half = 4.302652729749462 * 0.01 / math.sqrt(12) / math.sqrt(3)
    assert rounded.high - 0.93 == pytest.approx(half, rel=1e-9)
    assert rounded.caveat is not None
    assert "the metric's rounding" in rounded.caveat


def test_a_resolution_below_the_spread_changes_nothing() -> None:
    scores = np.array([0.90, 0.93, 0.95])
    assert mean_interval(scores, resolution=0.01) == mean_interval(scores)


@given(
    arrays(np.float64, st.integers(2, 8), elements=st.floats(-1e3, 1e3, allow_subnormal=False)),
    st.floats(-1e3, 1e3),
    st.floats(0.1, 10),
)
def test_shift_scale_and_sign_go_through(scores: np.ndarray, shift: float, scale: float) -> None:
    here = mean_interval(scores)
    there = mean_interval(scale * scores + shift)
    ends = (scale * here.low + shift, scale * here.high + shift)
    assert (there.low, there.high) == pytest.approx(ends, abs=1e-6)
    mirrored = mean_interval(-scores).reflected()
    assert (mirrored.low, mirrored.high) == pytest.approx((here.low, here.high), abs=1e-6)


def test_reflected_about_a_total() -> None:
    interval = Interval(0.2, 0.5, 0.95, "t", 3, "why")
    assert interval.reflected(1.0) == Interval(0.5, 0.8, 0.95, "t", 3, "why")


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, 95.0, float("nan")])
def test_a_level_is_a_probability(level: float) -> None:
    with pytest.raises(ValueError, match=r"level must be in \(0, 1\)"):
        mean_interval(np.array([1.0, 2.0]), level=level)


@pytest.mark.parametrize("resolution", [-0.1, float("nan"), float("inf")])
def test_a_resolution_is_a_size(resolution: float) -> None:
    with pytest.raises(ValueError, match="resolution must be finite and at least 0"):
        mean_interval(np.array([1.0, 2.0]), resolution=resolution)


def test_a_missing_seed_is_refused() -> None:
    with pytest.raises(IncompleteGroupError, match="seed 1"):
        mean_interval(np.array([1.0, np.nan, 2.0]))


def test_a_table_is_not_one_config() -> None:
    with pytest.raises(ValueError, match=r"one config's scores \(seed,\), got \(2, 3\)"):
        mean_interval(np.zeros((2, 3)))


@pytest.mark.parametrize("n_examples", [3, 10, 100, 360, 1797, 10_000, 50_000])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_resolution_of_an_accuracy_is_one_example(n_examples: int, dtype: type) -> None:
    rng = np.random.default_rng(n_examples)
    scores = (rng.binomial(n_examples, 0.8, size=(40, 3)) / n_examples).astype(dtype)
    assert score_resolution(scores) == pytest.approx(1 / n_examples, rel=0.01)


def test_resolution_is_the_common_divisor_and_not_the_smallest_gap() -> None:
    assert score_resolution(np.array([0.0, 0.2, 0.5])) == pytest.approx(0.1)
    assert score_resolution(-np.array([0.0, 0.2, 0.5])) == pytest.approx(0.1)


def test_continuous_scores_have_hardly_any_step() -> None:
    for seed in range(50):
        scores = np.random.default_rng(seed).normal(size=(10, 3))
        assert 0 < score_resolution(scores) < 1e-4


def test_resolution_of_nothing_but_zeros_or_one_value() -> None:
    assert 0 < score_resolution(np.zeros((2, 2))) < 1e-200
    assert 0 < score_resolution(np.full((2, 2), 0.5)) < 1e-15


def test_a_diverged_run_does_not_hide_the_step_of_the_others() -> None:
    rng = np.random.default_rng(0)
    accuracies = rng.binomial(100, 0.9, size=30) / 100
    assert score_resolution(np.append(accuracies, -1e8)) == pytest.approx(0.01, rel=1e-6)
    assert score_resolution(np.append(rng.normal(size=30), 1e30)) < 1e-4
