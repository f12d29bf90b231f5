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
from tune_seeds.statistics.comparison import (
    difference_interval,
    probability_of_beating,
    probability_of_improvement,
    seeds_to_separate,
)
from tune_seeds.statistics.contenders import contenders

SEEDS = (2, 3, 5, 10)
REPEATS = 2000
A = np.array([0.61, 0.72, 0.55, 0.93, 0.68, 0.71, 0.70, 0.12, 0.66, 0.69])
B = np.array([0.58, 0.70, 0.60, 0.88, 0.71, 0.64, 0.70, 0.35, 0.52, 0.61])

Draw = Callable[[np.random.Generator, int], np.ndarray]
PAIRS: dict[str, Draw] = {
    # a strong effect of the seed on both
    "normal": lambda g, n: g.normal(size=(2, n)) * [[1], [3]] + 10 * g.normal(size=n),
    "lognormal": lambda g, n: g.lognormal(size=(2, n)),
    "t": lambda g, n: g.standard_t(3, size=(2, n)),
    "accuracy": lambda g, n: g.binomial(100, 0.95, size=(2, n)) / 100,
}


@pytest.mark.parametrize("scores", PAIRS)
@pytest.mark.parametrize("n", SEEDS)
def test_difference_covers_what_it_promises(scores: str, n: int) -> None:
    rng = np.random.default_rng([*scores.encode(), n])
    resolution = 0.01 if scores == "accuracy" else 0.0
    pairs = [PAIRS[scores](rng, n) for _ in range(REPEATS)]
    covered = np.mean([0.0 in difference_interval(*p, resolution=resolution) for p in pairs])
    assert covered >= 0.95 - slack(0.95, REPEATS)


@pytest.mark.parametrize(("n", "claimed"), [(2, 0.917), (3, 0.885), (5, 0.882), (10, 0.901)])
def test_a_quiet_config_against_a_skewed_one(n: int, claimed: float) -> None:
    # What the docstring admits: 10,000 repeats.
    rng = np.random.default_rng(n)
    quiet, skewed = 1 + 0.05 * rng.normal(size=(REPEATS, n)), rng.exponential(size=(REPEATS, n))
    covered = np.mean(
        [0.0 in difference_interval(a, b) for a, b in zip(quiet, skewed, strict=True)]
    )
    assert abs(covered - claimed) <= math.hypot(slack(claimed, REPEATS), slack(claimed, 10_000))


def test_pairing_is_what_makes_it_narrow() -> None:
    # Unpaired, the seed's effect would stay in: scipy's Welch interval here is 3.3 wide.
    seed_effect = np.array([0.0, 1.0, 2.0])
    first, second = seed_effect + 0.5, seed_effect + np.array([0.0, 0.01, -0.01])
    interval = difference_interval(first, second)
    welch = stats.ttest_ind(first, second, equal_var=False).confidence_interval()
    assert 0.5 in interval
    assert interval.high - interval.low < (welch.high - welch.low) / 50


@pytest.mark.parametrize("n", [2, 3, 10])
def test_difference_is_scipys_paired_interval(n: int) -> None:
    expected = stats.ttest_rel(A[:n], B[:n]).confidence_interval(0.9)
    interval = difference_interval(A[:n], B[:n], level=0.9)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_a_constant_difference_of_rounded_scores_is_not_certain() -> None:
    interval = difference_interval(np.array([0.9, 0.8]), np.array([0.8, 0.7]), resolution=0.1)
    half = 12.706204736174694 * 0.1 / math.sqrt(6) / math.sqrt(2)
    assert interval.high == pytest.approx(0.1 + half, rel=1e-9)


@pytest.mark.parametrize(
    ("first", "second", "wins", "ties", "low", "high"),
    [
        # Clopper–Pearson by hand: all won (α/2)^(1/n); none won 1 − (α/2)^(1/n)
        ([2.0, 2.0, 2.0], [1.0, 1.0, 1.0], 3, 0, 0.025 ** (1 / 3), 1.0),
        ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], 0, 0, 0.0, 1 - 0.025 ** (1 / 3)),
        # one win, one tie: low end for one win of two, high end for two of two
        ([2.0, 1.0], [1.0, 1.0], 1, 1, 1 - math.sqrt(0.975), 1.0),
        ([1.0, 1.0], [1.0, 1.0], 0, 2, 0.0, 1.0),
    ],
)
def test_probability_by_hand(first, second, wins, ties, low, high) -> None:
    result = probability_of_beating(np.array(first), np.array(second))
    assert (result.wins, result.ties, result.n) == (wins, ties, len(first))
    assert result.estimate == (wins + ties / 2) / len(first)
    assert (result.interval.low, result.interval.high) == pytest.approx((low, high), abs=1e-12)
    assert result.interval.caveat == (
        f"even winning on all {len(first)} seeds does not show that it wins more often than not"
    )


def test_probability_is_scipys_exact_interval() -> None:
    result = probability_of_beating(A, B)
    assert (result.wins, result.ties) == (6, 1)
    low = stats.binomtest(6, 10).proportion_ci(method="exact").low
    high = stats.binomtest(7, 10).proportion_ci(method="exact").high
    assert (result.interval.low, result.interval.high) == pytest.approx((low, high), rel=1e-9)
    assert result.interval.caveat is None


@pytest.mark.parametrize("n", SEEDS)
@pytest.mark.parametrize(("lead", "step"), [(0.5, 0.0), (0.5, 1.0)], ids=["no ties", "ties"])
def test_probability_covers_what_it_promises(n: int, lead: float, step: float) -> None:
    rng = np.random.default_rng(n)

    def draw(repeats: int) -> tuple[np.ndarray, np.ndarray]:
        first, second = rng.normal(size=(2, repeats, n)) + np.array([lead, 0.0])[:, None, None]
        return (np.round(first), np.round(second)) if step else (first, second)

    ahead = np.subtract(*draw(100_000))
    truth = float(np.mean(ahead > 0) + np.mean(ahead == 0) / 2)
    pairs = zip(*draw(REPEATS), strict=True)
    covered = np.mean([truth in probability_of_beating(a, b).interval for a, b in pairs])
    assert covered >= 0.95 - slack(0.95, REPEATS)


def test_probability_of_improvement_is_rliables() -> None:
    # rliable 1.2.0: metrics.probability_of_improvement(a[:, None], b[:, None])
    assert probability_of_improvement(A, B) == pytest.approx(0.59, rel=1e-12)
    assert probability_of_improvement(B, A) == pytest.approx(0.41, rel=1e-12)
    assert probability_of_improvement(A[:3], B[:5]) == pytest.approx(0.4, rel=1e-12)


@given(
    arrays(np.float64, (2, 5), elements=st.integers(-3, 3).map(float)),
    st.permutations(range(5)),
)
def test_swapping_two_configs_mirrors_every_comparison(pair: np.ndarray, order: list[int]) -> None:
    first, second = pair
    there, back = difference_interval(first, second), difference_interval(second, first)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    won, lost = probability_of_beating(first, second), probability_of_beating(second, first)
    assert won.estimate + lost.estimate == pytest.approx(1)
    assert won.interval.low == pytest.approx(1 - lost.interval.high)
    assert probability_of_improvement(first, second) == pytest.approx(
        1 - probability_of_improvement(second, first)
    )
    assert probability_of_beating(first[order], second[order]) == won
    # mode="min": both negated, so the roles swap.
    assert probability_of_beating(-second, -first) == won


@pytest.mark.parametrize(
    ("effect", "expected"),
    # Cohen (1988), one-sided at 2.5%: what every power table gives for a two-sided 5% and 80%
    [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)],
)
def test_sample_sizes_of_the_power_tables(effect: float, expected: int) -> None:
    differences = effect + np.array([-1.0, 1.0]) / math.sqrt(2)
    result = seeds_to_separate(differences, np.zeros(2), level=0.975)
    assert result.total == expected
    assert result.additional == expected - 2
    assert result.effect == pytest.approx(effect)


@pytest.mark.parametrize("n_configs", [2, 10])
@pytest.mark.slow
def test_the_promised_power_is_the_power_of_contenders(n_configs: int) -> None:
    # Differences of effect 1.5; the other configs are hopeless but are paid for.
    half = 1 / math.sqrt(2)
    plan = seeds_to_separate(
        1.5 + np.array([-half, half]), np.zeros(2), n_configs=n_configs, power=0.8
    )
    assert plan.total is not None
    rng = np.random.default_rng(n_configs)
    repeats = 600

    def separated(n: int) -> float:
        kept = 0
        for _ in range(repeats):
            scores = np.full((n_configs, n), -1e6) + rng.normal(size=(n_configs, n))
            scores[1] = rng.normal(size=n)
            scores[0] = scores[1] + 1.5 + rng.normal(size=n)
            kept += contenders(scores).kept[1]
        return 1 - kept / repeats

    assert separated(plan.total) >= 0.8 - slack(0.8, repeats)
    assert separated(plan.total - 1) <= 0.8 + slack(0.8, repeats)


def test_more_configs_need_more_seeds() -> None:
    needs = [
        seeds_to_separate(A[:5], A[:5] - [0.1, 0.0, 0.1, 0.0, 0.1], n_configs=m).total
        for m in (2, 5, 40)
    ]
    assert needs == sorted(needs)
    assert len(set(needs)) == 3


def test_cautious_number_is_the_larger() -> None:
    result = seeds_to_separate(A, A - np.tile([0.02, -0.01], 5))
    assert result.total is not None
    assert result.cautious_total is not None
    assert 10 < result.total < result.cautious_total


def test_separated_already() -> None:
    result = seeds_to_separate(np.array([1.0, 1.01, 0.99]), np.zeros(3))
    assert (result.total, result.additional) == (3, 0)
    assert result.caveat == "separated already at 95%"
    assert result.power_now == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("first", "second", "caveat"),
    [
        ([1.0, 2.0], [2.0, 1.0], "hopeless: the first is not ahead on average"),
        ([1.0, 1.0], [1.0, 1.0], "hopeless: the first is not ahead on average"),
        ([1.0, 2.0], [2.0, 3.0], "hopeless: the first is not ahead on average"),
        ([1.001, -1.0, 0.0], [0.0, 0.0, 0.0], "hopeless: more than 1000 seeds"),
        ([1.0], [0.0], "one seed shows no spread: there is no telling"),
    ],
)
def test_no_number_where_there_is_none(first, second, caveat: str) -> None:
    result = seeds_to_separate(np.array(first), np.array(second))
    assert (result.total, result.additional) == (None, None)
    assert result.caveat == caveat


def test_a_constant_difference() -> None:
    first = np.array([1.0, 2.0, 3.0])
    certain = seeds_to_separate(first + 0.5, first)
    assert (certain.total, certain.additional, certain.effect) == (3, 0, math.inf)
    assert "the same on all 3 seeds" in certain.caveat
    # As rounded scores, it may hide a spread.
    assert seeds_to_separate(first + 0.5, first, resolution=0.5, n_configs=40).additional


@pytest.mark.parametrize(
    "compare", [difference_interval, probability_of_beating, seeds_to_separate]
)
def test_common_complete_seeds_are_needed(compare: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="same seeds for both, got 3 and 2"):
        compare(A[:3], B[:2])
    with pytest.raises(IncompleteGroupError):
        compare(A[:2], np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="level must be"):
        compare(A[:2], B[:2], level=1.5)


@pytest.mark.parametrize(
    "arguments", [{"n_configs": 1}, {"power": 0.0}, {"power": 1.0}, {"max_seeds": 1}]
)
def test_wrong_plans(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="needs at least 2 configs"):
        seeds_to_separate(A, B, **arguments)


def _needed(effect: float, n_configs: int = 2) -> float:
    """Seeds that it takes by the true effect; inf if the first is not the better one."""
    tail, power = 0.05 / (n_configs - 1), 0.8
    for n in range(2, 1001):
        if stats.nct.sf(stats.t.ppf(1 - tail, n - 1), n - 1, effect * n**0.5) >= power:
            return n
    return math.inf


@pytest.mark.parametrize(("n_seeds", "n_finalists"), [(3, 2), (5, 5)])
@pytest.mark.slow
def test_the_range_of_seeds_holds_what_is_needed(n_seeds: int, n_finalists: int) -> None:
    """Two configs picked beforehand, and the first two of several: 80 % of ranges hold it."""
    rng = np.random.default_rng([n_seeds, n_finalists])
    repeats, inside, points = 50, 0, 0
    for _ in range(repeats):
        truth = rng.normal(size=n_finalists)
        scores = truth[:, None] + rng.normal(size=(n_finalists, n_seeds))
        first, second = 0, 1
        if n_finalists > 2:
            first, second = np.argsort(-scores.mean(axis=1))[:2]
        found = seeds_to_separate(scores[first], scores[second])
        needed = _needed((truth[first] - truth[second]) / 2**0.5)
        if found.additional == 0:
            repeats -= 1  # separated already: nothing is asked
            continue
        low = math.inf if found.fewest is None else found.fewest
        inside += low <= needed <= (math.inf if found.most is None else found.most)
        points += found.total is not None and 0.8 * found.total <= needed <= 1.25 * found.total
    assert inside / repeats >= 0.8 - slack(0.8, repeats)
    assert points / repeats < 0.5, "the negative control: a single number is no answer"


def test_a_range_in_words() -> None:
    apart = seeds_to_separate(np.array([2.0, 2.1, 2.2]), np.array([1.0, 1.0, 1.1]))
    assert apart.additional == 0 and apart.range_text == "3"
    close = seeds_to_separate(np.array([1.0, 2.0, 3.0]), np.array([1.1, 1.5, 2.8]))
    assert close.most is None and "can't say how many at most" in close.range_text
    assert seeds_to_separate(np.array([1.0]), np.array([0.0])).range_text == "there is no telling"
