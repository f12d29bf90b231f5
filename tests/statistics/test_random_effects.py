import math

import numpy as np
import pytest
from monte_carlo import slack

from tune_seeds.statistics.intervals import mean_interval
from tune_seeds.statistics.random_effects import expected_scores


def study(n_configs: int, n_seeds: int, spread: float, rng: np.random.Generator):
    truth = spread * rng.normal(size=n_configs)
    return truth, truth[:, None] + rng.normal(size=(n_configs, n_seeds))


def test_one_config_alone_has_its_own_mean_and_about_its_own_interval() -> None:
    scores = np.array([[1.0, 2.0, 4.0]])
    (found,) = expected_scores(scores)
    assert found.estimate == pytest.approx(scores.mean())
    assert found.shrinkage == 0
    assert found.interval.low < found.estimate < found.interval.high


def test_equal_configs_are_drawn_together_and_far_ones_left_alone() -> None:
    rng = np.random.default_rng(0)
    _, equal = study(30, 3, 0.0, rng)
    _, far = study(30, 3, 30.0, rng)
    assert min(found.shrinkage for found in expected_scores(equal)) > 0.7
    assert max(found.shrinkage for found in expected_scores(far)) < 0.05
    best = int(equal.mean(axis=1).argmax())
    assert expected_scores(equal)[best].estimate < equal[best].mean() - 0.5


def test_units_and_order_do_not_matter() -> None:
    _, scores = study(6, 3, 1.0, np.random.default_rng(1))
    scores[4:, 1:] = np.nan
    here = expected_scores(scores)
    there = expected_scores(1000 * scores[::-1] + 7)[::-1]
    for one, other in zip(here, there, strict=True):
        assert other.estimate == pytest.approx(1000 * one.estimate + 7, rel=1e-6, abs=1e-6)
        assert tuple(other.interval) == pytest.approx(
            tuple(1000 * end + 7 for end in one.interval), rel=1e-6, abs=1e-4
        )


def test_a_config_with_one_seed_borrows_what_seeds_do_to_others() -> None:
    scores = np.array([[0.0, 1.0, 2.0], [4.0, 5.0, 7.0], [9.0, np.nan, np.nan]])
    lonely = expected_scores(scores)[2].interval
    assert lonely.low < 9 < lonely.high and lonely.n == 1
    without = expected_scores(scores[:, :1])
    assert all(math.isnan(found.interval.low) for found in without), "nothing shows what seeds do"


def test_a_diverged_config_does_not_blur_the_others() -> None:
    _, scores = study(8, 3, 1.0, np.random.default_rng(2))
    with_outlier = np.vstack([scores, [-1e30, -2e30, -5e29]])
    for one, other in zip(expected_scores(scores), expected_scores(with_outlier), strict=False):
        assert tuple(other.interval) == pytest.approx(tuple(one.interval))


def test_equal_scores_are_not_certain_beyond_their_rounding() -> None:
    same = np.full((5, 3), 0.5)
    wide = expected_scores(same, smallest_sd=0.01)[0].interval
    narrow = expected_scores(same)[0].interval
    assert 0.5 in wide and wide.high - wide.low > 0.001 > narrow.high - narrow.low


def test_two_seeds_that_agree_on_average_exactly_are_no_trouble() -> None:
    scores = np.array([[2.0, 3.0], [3.0, 1.0], [0.5, 1.5], [0.5, np.nan]])
    for found in expected_scores(scores):
        assert found.interval.low < found.estimate < found.interval.high


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match="level must be"):
        expected_scores(np.zeros((2, 2)), level=1.5)
    with pytest.raises(ValueError, match="at least one of each config"):
        expected_scores(np.array([[np.nan, np.nan], [1.0, 2.0]]))


@pytest.mark.parametrize("log_sd", [0.0, 0.5])
@pytest.mark.slow
def test_the_best_of_many_is_covered_and_the_interval_of_its_seeds_is_not(log_sd: float) -> None:
    """All configs equal, ten finished on three seeds, the best taken."""
    rng = np.random.default_rng(3)
    repeats = 100
    inside = of_seeds = 0
    for _ in range(repeats):
        sd = np.exp(log_sd * rng.normal(size=10))
        scores = sd[:, None] * rng.normal(size=(10, 3))
        best = int(scores.mean(axis=1).argmax())
        inside += 0.0 in expected_scores(scores, wanted=[best])[0].interval
        of_seeds += 0.0 in mean_interval(scores[best])
    assert inside / repeats >= 0.95 - slack(0.95, repeats)
    assert of_seeds / repeats < 0.95 - slack(0.95, repeats), "the negative control must fail"


def test_with_many_configs_and_seeds_it_is_the_mixed_model_of_statsmodels() -> None:
    """There little is left to be uncertain of, and both shrink to the same predictions.

    statsmodels 0.15.0: MixedLM(scores.ravel(), ones, groups=config).fit(reml=True), its mean plus
    its random effects. REML takes its two variances for known and equal, and this model does not.
    """
    rng = np.random.default_rng(0)
    scores = np.round(3 * rng.normal(size=12)[:, None] + rng.normal(size=(12, 10)), 2)
    predicted = [0.107, -0.6287, 2.1607, 1.0763, -1.8343, 1.4043]
    predicted += [4.1268, 2.995, -2.2313, -4.1402, -1.265, -0.4475]
    estimates = [found.estimate for found in expected_scores(scores)]
    np.testing.assert_allclose(estimates, predicted, atol=0.01)
    # The means themselves are further away.
    assert np.max(np.abs(scores.mean(axis=1) - predicted)) > 0.05
