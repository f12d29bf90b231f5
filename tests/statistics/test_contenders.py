from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monte_carlo import slack
from scipy import stats

from tune_seeds.statistics.aggregate import IncompleteGroupError
from tune_seeds.statistics.contenders import contenders

SEEDS = (2, 3, 5, 10)
N_CONFIGS = 40
REPEATS = 500
CLAIMED_REPEATS = 4000
SPREADS = np.geomspace(0.1, 10, N_CONFIGS)[:, None]
FAMILY = np.where(np.arange(N_CONFIGS) < N_CONFIGS // 2, 0.0, 1.0)[:, None]
Draw = Callable[[np.random.Generator, int], np.ndarray]


def normal(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=(N_CONFIGS, n)) + 2 * rng.normal(size=n)


# 40 configs with the same expected score; the one watched is the first.
NULL: dict[str, Draw] = {
    "normal": normal,
    "quiet best": lambda g, n: g.normal(size=(N_CONFIGS, n)) * SPREADS,
    "loud best": lambda g, n: g.normal(size=(N_CONFIGS, n)) * SPREADS[::-1],
    "families": lambda g, n: 0.1 * g.normal(size=(N_CONFIGS, n)) + FAMILY * g.normal(size=n),
    "exponential": lambda g, n: g.exponential(size=(N_CONFIGS, n)),
    "-lognormal": lambda g, n: -g.lognormal(size=(N_CONFIGS, n)),
    "t": lambda g, n: g.standard_t(3, size=(N_CONFIGS, n)),
    "accuracy": lambda g, n: g.binomial(100, 0.95, size=(N_CONFIGS, n)) / 100,
}


def collapsing_rivals(rng: np.random.Generator, n: int) -> np.ndarray:
    scores = 1 - rng.exponential(size=(N_CONFIGS, n))
    scores[0] = 0.05 * rng.normal(size=n)
    return scores


def kept_share(draw: Draw, n: int, keeps: Callable[[np.ndarray], bool]) -> float:
    rng = np.random.default_rng([n, 5])
    return float(np.mean([keeps(draw(rng, n)) for _ in range(REPEATS)]))


def first_is_kept(scores: np.ndarray) -> bool:
    return bool(contenders(scores).kept[0])


def first_is_kept_beside_the_observed_best(scores: np.ndarray) -> bool:
    # The uncorrected procedure: a paired t test against the config that came out first.
    best = int(np.argmax(scores.mean(axis=1)))
    if best == 0:
        return True
    test = stats.ttest_rel(scores[best], scores[0], alternative="greater")
    return bool(test.pvalue > 0.05)


def first_is_kept_with_pooled_variance(scores: np.ndarray) -> bool:
    # Hsu's classical form needs equal residual variances; its Dunnett quantile is simulated.
    n_configs, n = scores.shape
    residuals = scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0) + scores.mean()
    df = (n_configs - 1) * (n - 1)
    error = np.sqrt(np.sum(residuals**2) / df * 2 / n)
    return bool((scores.mean(axis=1).max() - scores[0].mean()) / error <= DUNNETT_39)


def _dunnett() -> float:
    draws = np.random.default_rng(0).normal(size=(40_000, N_CONFIGS)) / np.sqrt(2)
    return float(np.quantile(draws[:, 1:].max(axis=1) - draws[:, 0], 0.95))


DUNNETT_39 = _dunnett()


@pytest.mark.slow
@pytest.mark.parametrize("scores", NULL)
@pytest.mark.parametrize("n", SEEDS)
def test_the_best_is_kept_when_all_are_equal(scores: str, n: int) -> None:
    assert kept_share(NULL[scores], n, first_is_kept) >= 0.95 - slack(0.95, REPEATS)


@pytest.mark.parametrize("n", SEEDS)
def test_negative_control_uncorrected(n: int) -> None:
    kept = kept_share(normal, n, first_is_kept_beside_the_observed_best)
    assert kept < 0.95 - 2 * slack(0.95, REPEATS)


@pytest.mark.parametrize("n", SEEDS)
def test_negative_control_pooled_variance(n: int) -> None:
    # It is right where its assumption holds, so what fails is the assumption.
    assert kept_share(normal, n, first_is_kept_with_pooled_variance) >= 0.9
    kept = kept_share(NULL["quiet best"], n, first_is_kept_with_pooled_variance)
    assert kept < 0.95 - 2 * slack(0.95, REPEATS)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "claimed"), [(2, 0.40), (3, 0.88)])
def test_negative_control_without_resolution(n: int, claimed: float) -> None:
    kept = kept_share(NULL["accuracy"], n, lambda s: bool(contenders(s, resolution=0.0).kept[0]))
    assert kept < 0.95 - slack(0.95, REPEATS)
    assert abs(kept - claimed) <= 2 * slack(claimed, REPEATS)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "claimed"), [(2, 0.847), (3, 0.655), (5, 0.418), (10, 0.391)])
def test_what_breaks_it_is_what_the_docstring_says(n: int, claimed: float) -> None:
    kept = kept_share(collapsing_rivals, n, first_is_kept)
    assert abs(kept - claimed) <= slack(claimed, REPEATS) + slack(claimed, CLAIMED_REPEATS)


@pytest.mark.slow
@pytest.mark.parametrize("n", SEEDS)
def test_a_true_best_ahead_of_the_others_is_kept(n: int) -> None:
    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        scores = normal(rng, n)
        scores[0] += 0.5
        return scores

    assert kept_share(draw, n, first_is_kept) >= 0.95 - slack(0.95, REPEATS)


@pytest.mark.parametrize(("n", "lead"), [(3, 35.0), (5, 8.0), (10, 4.0)])
def test_power(n: int, lead: float) -> None:
    # One config leads 39 equal ones by ``lead`` standard deviations: power of one comparison is
    # the noncentral t tail, and the expected number excluded is 39 of it.
    rng = np.random.default_rng(n)
    repeats = 100
    excluded = 0
    for _ in range(repeats):
        scores = normal(rng, n)
        scores[0] += lead
        result = contenders(scores)
        assert result.kept[0]
        excluded += int(np.sum(~result.kept[1:]))
    critical = stats.t.ppf(1 - 0.05 / 39, n - 1)
    power = float(stats.nct.sf(critical, n - 1, lead / np.sqrt(2) * np.sqrt(n)))
    assert power > 0.9
    # The 39 share the leader's scores, so studies, not comparisons, are what is independent.
    assert excluded / repeats / 39 >= power - slack(power, repeats)


def test_by_hand() -> None:
    # 1 against 0: differences −1, −2, −3, mean −2, sd 1, t = −2√3. So 0's rival leads by 3.4641,
    # whose one-sided tail for 2 degrees of freedom is 0.0371. 2 is 1 moved down by 100.
    scores = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [-99.0, -98.0, -97.0]])
    result = contenders(scores)
    np.testing.assert_array_equal(result.kept, [True, True, False])
    np.testing.assert_array_equal(result.strongest_rival[[0, 2]], [1, 1])
    assert result.p_values[0] == pytest.approx(2 * stats.t.sf(2 * np.sqrt(3), 2), rel=1e-9)
    assert result.p_values[1] == 1.0
    # Two configs alone: no correction, and 0 is out.
    np.testing.assert_array_equal(contenders(scores[:2]).kept, [False, True])


def test_p_values_are_scipys_times_the_rivals() -> None:
    scores = np.random.default_rng(3).normal(size=(6, 5)) + np.arange(6.0)[:, None]
    result = contenders(scores)
    for config, p_value in enumerate(result.p_values):
        tests = [
            stats.ttest_rel(rival, scores[config], alternative="greater").pvalue
            for j, rival in enumerate(scores)
            if j != config
        ]
        assert p_value == pytest.approx(min(1.0, 5 * min(tests)), rel=1e-6)


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 6), st.integers(1, 5)),
        elements=st.integers(-50, 50).map(float),
    ),
    st.randoms(use_true_random=False),
)
def test_labels_do_not_matter_and_the_observed_best_stays(
    scores: np.ndarray, random: Random
) -> None:
    result = contenders(scores)
    means = scores.mean(axis=1)
    assert result.kept[means == means.max()].all()
    configs = random.sample(range(len(scores)), len(scores))
    seeds = random.sample(range(scores.shape[1]), scores.shape[1])
    shuffled = contenders(scores[configs][:, seeds])
    np.testing.assert_allclose(shuffled.p_values, result.p_values[configs], rtol=1e-6)
    seed_effect = 3.0 * np.arange(scores.shape[1])
    np.testing.assert_allclose(
        contenders(scores + seed_effect, resolution=1.0).p_values,
        contenders(scores, resolution=1.0).p_values,
        rtol=1e-6,
    )
    rescaled = contenders(2 * scores + 7, resolution=2.0)
    np.testing.assert_allclose(
        rescaled.p_values, contenders(scores, resolution=1.0).p_values, rtol=1e-6
    )


def test_a_higher_level_keeps_more() -> None:
    scores = np.random.default_rng(0).normal(size=(10, 4)) + np.arange(10.0)[:, None] / 2
    kept = [contenders(scores, level=level).kept for level in (0.6, 0.9, 0.99)]
    assert np.all(kept[0] <= kept[1])
    assert np.all(kept[1] <= kept[2])
    assert kept[0].sum() < kept[2].sum()


def test_one_seed_excludes_nothing() -> None:
    result = contenders(np.array([[1.0], [100.0]]))
    assert result.kept.all()
    assert result.caveat == "one seed shows no spread: nothing can be excluded"


def test_two_seeds_have_a_caveat_and_one_config_stands_alone() -> None:
    assert contenders(np.array([[1.0, 2.0], [3.0, 5.0]])).caveat is not None
    alone = contenders(np.array([[1.0, 2.0, 3.0]]))
    assert alone.kept.all()
    assert alone.strongest_rival.tolist() == [0]


def test_scores_that_no_seed_moves() -> None:
    # A deterministic metric on no grid: only the best can be the best.
    same_on_each_seed = np.array([0.1234567, 0.7654321, 0.5555551, 0.9182736])[:, None] * np.ones(3)
    assert contenders(same_on_each_seed).kept.tolist() == [False, False, False, True]
    assert contenders(np.zeros((3, 4))).kept.all()


def test_a_diverged_config_does_not_blur_the_others() -> None:
    rng = np.random.default_rng(0)
    scores = np.array([0.0, 10.0])[:, None] + 0.01 * rng.normal(size=(2, 5))
    with_outlier = np.vstack([scores, [-1e30, -2e30, -5e29, -1e30, -3e30]])
    assert contenders(scores).kept.tolist() == [False, True]
    assert contenders(with_outlier).kept[:2].tolist() == [False, True]


@pytest.mark.parametrize("level", [0.5, 1.0, 5.0, 0.0])
def test_levels(level: float) -> None:
    with pytest.raises(ValueError, match=r"level must be in \(0.5, 1\)"):
        contenders(np.zeros((2, 2)), level=level)


def test_wrong_scores() -> None:
    with pytest.raises(IncompleteGroupError, match="config 1, seed 0"):
        contenders(np.array([[1.0, 2.0], [np.nan, 3.0]]))
    with pytest.raises(ValueError, match=r"need scores \(config, seed\), got shape \(3,\)"):
        contenders(np.zeros(3))
    with pytest.raises(ValueError, match="resolution must be"):
        contenders(np.zeros((2, 2)), resolution=-1.0)
