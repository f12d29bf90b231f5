import math

import numpy as np
import pytest
from monte_carlo import slack
from scipy import stats

from tune_seeds.statistics.aggregate import Aggregate, IncompleteGroupError, Kind, get_aggregate
from tune_seeds.statistics.aggregate_intervals import aggregate_interval, bootstrap_interval
from tune_seeds.statistics.distributions import normal_order_statistic
from tune_seeds.statistics.intervals import mean_interval

SEEDS = (2, 3, 5, 10)
REPEATS = 1500
CLAIMED_REPEATS = 4000
NAMES = ["mean", "median", "iqm", "worst", "quantile:0.25", "mean-1se"]
# The array of the comparison with rliable 1.2.0.
TEN = np.array([0.61, 0.72, 0.55, 0.93, 0.68, 0.71, 0.70, 0.12, 0.66, 0.69])

DRAWS = {
    "normal": lambda g, size: g.normal(size=size),
    "t": lambda g, size: g.standard_t(3, size=size),
    "lognormal": lambda g, size: g.lognormal(size=size),
}
# (aggregate, scores) → coverage in % that the module's docstring claims
CLAIMED = {
    ("iqm", "normal"): (95.0, 95.0, 94.3, 94.2),
    ("iqm", "t"): (96.1, 96.3, 94.3, 95.2),
    ("iqm", "lognormal"): (89.2, 84.0, 88.8, 89.0),
    ("median", "lognormal"): (49.9, 75.1, 94.5, 98.1),
    ("worst", "normal"): (95.0, 95.3, 95.0, 95.0),
    ("worst", "lognormal"): (91.4, 95.4, 98.7, 59.9),
    ("quantile:0.25", "normal"): (95.2, 95.5, 95.5, 95.7),
    ("quantile:0.25", "t"): (96.2, 96.1, 95.7, 91.9),
    ("mean-1se", "normal"): (95.0, 95.6, 95.4, 95.6),
    ("mean-1se", "lognormal"): (91.4, 91.6, 92.7, 93.2),
}


def vectorised_mean(scores: np.ndarray) -> np.ndarray:
    return scores.mean(axis=-1)


@pytest.mark.parametrize(("name", "scores"), CLAIMED)
@pytest.mark.parametrize("column", range(4), ids=lambda i: f"{SEEDS[i]}-seeds")
def test_coverage_is_what_the_docstring_says(name: str, scores: str, column: int) -> None:
    aggregate, n = get_aggregate(name), SEEDS[column]
    rng = np.random.default_rng([column, *name.encode(), *scores.encode()])
    fresh = DRAWS[scores](rng, (200_000, n))
    expected = 1.0 if name == "median" else float(aggregate(fresh).mean())
    intervals = [
        aggregate_interval(sample, aggregate) for sample in DRAWS[scores](rng, (REPEATS, n))
    ]
    covered = np.mean([expected in interval for interval in intervals])
    share = CLAIMED[name, scores][column] / 100
    assert abs(covered - share) <= math.hypot(slack(share, REPEATS), slack(share, CLAIMED_REPEATS))
    if scores == "normal" or name == "median":
        promised = intervals[0].level
        assert covered >= promised - slack(promised, REPEATS)


@pytest.mark.parametrize("n", SEEDS)
@pytest.mark.slow
def test_bootstrap_t_covers_and_percentile_does_not(n: int) -> None:
    # The percentile interval is the negative control: it must fail the bound that t passes.
    mean = Aggregate("vectorised", Kind.CUSTOM, vectorised_mean)
    rng = np.random.default_rng(n)
    repeats = 1000
    covered = {"t": 0, "percentile": 0}
    for sample in rng.normal(size=(repeats, n)):
        for method in ("t", "percentile"):
            interval = bootstrap_interval(sample, mean, rng=rng, method=method, n_resamples=300)
            covered[method] += 0.0 in interval
    bound = 0.95 - slack(0.95, repeats)
    assert covered["t"] / repeats >= bound
    assert covered["percentile"] / repeats < bound


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_bootstrap_t_of_the_mean_is_the_t_interval(n: int) -> None:
    resamples = 40_000
    exact = mean_interval(TEN[:n])
    interval = bootstrap_interval(
        TEN[:n],
        Aggregate("vectorised", Kind.CUSTOM, vectorised_mean),
        rng=np.random.default_rng(0),
        n_resamples=resamples,
    )
    # A standard deviation from N resamples is within 3.5·√((kurtosis − 1)/4N) of its value.
    assert interval.high - interval.low == pytest.approx(exact.high - exact.low, rel=0.015)
    assert (interval.low + interval.high) / 2 == pytest.approx(TEN[:n].mean(), abs=1e-12)


@pytest.mark.parametrize(("name", "ends"), [("iqm", (0.54667, 0.73667)), ("mean", (0.502, 0.742))])
def test_percentile_is_rliables(name: str, ends: tuple[float, float]) -> None:
    # rliable 1.2.0: get_interval_estimates({"a": TEN[:, None]}, ..., reps=200_000)
    interval = bootstrap_interval(
        TEN,
        get_aggregate(name),
        rng=np.random.default_rng(0),
        method="percentile",
        n_resamples=50_000,
    )
    assert (interval.low, interval.high) == pytest.approx(ends, abs=0.005)
    assert interval.caveat == "a percentile bootstrap of 10 seeds covers less than 95%"


def test_trimmed_mean_by_hand() -> None:
    # Sorted 0, 1, 2, 4, 99: middle three 1, 2, 4, winsorised 1, 1, 2, 4, 4 with squares 9.2;
    # standard error √(9.2/(3·2)), t quantile of 2 degrees of freedom 4.30265.
    interval = aggregate_interval(np.array([99.0, 1.0, 4.0, 2.0, 0.0]), get_aggregate("iqm"))
    half = 4.302652729749462 * math.sqrt(9.2 / 6)
    assert interval.low == pytest.approx(7 / 3 - half, rel=1e-12)
    assert interval.high == pytest.approx(7 / 3 + half, rel=1e-12)


def test_iqm_of_few_seeds_is_the_mean() -> None:
    ours = aggregate_interval(TEN[:3], get_aggregate("iqm"))
    mean = mean_interval(TEN[:3])
    assert (ours.low, ours.high) == pytest.approx((mean.low, mean.high), rel=1e-12)


@pytest.mark.parametrize(
    ("n", "ends", "level"),
    [
        (2, (0, 1), 0.5),
        (3, (0, 2), 0.75),
        (5, (0, 4), 0.9375),
        (6, (0, 5), 0.95),
        (10, (1, 8), 0.95),
    ],
)
def test_median_says_the_level_it_reaches(n: int, ends: tuple[int, int], level: float) -> None:
    # 1 − 2·0.5ⁿ for the whole range; for n = 10 the second and the ninth hold 97.9%.
    interval = aggregate_interval(np.arange(float(n))[::-1], get_aggregate("median"))
    assert (interval.low, interval.high) == ends
    assert interval.level == pytest.approx(level)
    assert (interval.caveat is None) == (n >= 6)


def test_median_of_many_is_scipys_quantile_interval() -> None:
    scores = np.random.default_rng(0).normal(size=25)
    expected = stats.quantile_test(scores, q=0, p=0.5).confidence_interval(0.95)
    interval = aggregate_interval(scores, get_aggregate("median"))
    assert (interval.low, interval.high) == (expected.low, expected.high)


def test_expected_normal_order_statistics() -> None:
    # Harter (1961), table 1
    assert normal_order_statistic(0, 2) == pytest.approx(-0.56419, abs=1e-5)
    assert normal_order_statistic(0, 3) == pytest.approx(-0.84628, abs=1e-5)
    assert normal_order_statistic(1, 3) == pytest.approx(0.0, abs=1e-9)
    assert normal_order_statistic(1, 10) == pytest.approx(-1.00136, abs=1e-5)
    assert normal_order_statistic(0, 100) == pytest.approx(-2.50759, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_mode_and_sign(name: str) -> None:
    # The lower side of −x is the upper side of x, whatever the aggregate; here for the median.
    here = aggregate_interval(TEN, get_aggregate(name))
    assert here.low < here.high
    if name in ("mean", "median", "iqm"):
        mirrored = aggregate_interval(-TEN, get_aggregate(name)).reflected()
        assert (mirrored.low, mirrored.high) == pytest.approx((here.low, here.high), rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_shift_and_scale_go_through(name: str) -> None:
    here = aggregate_interval(TEN, get_aggregate(name))
    there = aggregate_interval(3 * TEN + 1, get_aggregate(name))
    assert (there.low, there.high) == pytest.approx((3 * here.low + 1, 3 * here.high + 1), rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_has_no_interval(name: str) -> None:
    interval = aggregate_interval(TEN[:1], get_aggregate(name))
    assert math.isnan(interval.low)
    assert interval.caveat == "one seed shows no spread: there is no interval"


@pytest.mark.parametrize("name", NAMES)
def test_two_seeds_have_a_caveat(name: str) -> None:
    assert aggregate_interval(TEN[:2], get_aggregate(name)).caveat


@pytest.mark.parametrize("name", ["mean", "iqm", "worst", "quantile:0.25", "mean-1se"])
def test_resolution_is_honoured(name: str) -> None:
    equal = np.full(5, 0.93)
    narrow = aggregate_interval(equal, get_aggregate(name))
    wide = aggregate_interval(equal, get_aggregate(name), resolution=0.01)
    assert narrow.low == pytest.approx(narrow.high)
    assert wide.high - wide.low > 0.005
    assert wide.caveat is not None


def test_resolution_is_honoured_by_the_bootstrap() -> None:
    equal = np.full(5, 0.93)
    interval = bootstrap_interval(
        equal, get_aggregate(np.mean), rng=np.random.default_rng(0), resolution=0.01
    )
    # The resampled mean then has the rounding's standard error, times √(5/4).
    half = 2.7764451051977934 * 0.01 / math.sqrt(12 * 5) * math.sqrt(5 / 4)
    assert interval.high - 0.93 == pytest.approx(half, rel=0.06)


def test_a_function_needs_a_generator_and_repeats_with_it() -> None:
    aggregate = get_aggregate(lambda scores: float(np.mean(scores) - np.std(scores)))
    with pytest.raises(ValueError, match="needs rng="):
        aggregate_interval(TEN, aggregate)
    first, again, other = (
        aggregate_interval(TEN, aggregate, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert first.caveat == "right only if the aggregate moves smoothly with every score"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_resamples": 99}, "at least 100 resamples, got 99"),
        ({"method": "bca"}, "'t' or 'percentile', got 'bca'"),
        ({"level": 1.0}, "level must be"),
        ({"resolution": -1.0}, "resolution must be"),
    ],
)
def test_wrong_arguments(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(TEN, get_aggregate("mean"), rng=np.random.default_rng(0), **arguments)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_seed_is_refused(name: str) -> None:
    with pytest.raises(IncompleteGroupError):
        aggregate_interval(np.array([1.0, np.nan]), get_aggregate(name))
