import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats

from tune_seeds.statistics.aggregate import IncompleteGroupError
from tune_seeds.statistics.marginals import marginals
from tune_seeds.statistics.seed_effect import (
    choices,
    kendalls_w,
    seed_effect,
    variance_shares,
    win_shares,
)

# Rows are configs, columns seeds.
SCORES = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 7.0], [6.0, 4.0, 8.0]])
tables = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6),
    elements=st.integers(-9, 9).map(float),
)


def test_variance_by_hand() -> None:
    # Means of configs 2, 4, 6, of seeds 3, 3, 6, of all 4. MS_config = 3·(4 + 0 + 4)/2 = 12,
    # MS_seed = 3·(1 + 1 + 4)/2 = 9; residuals 0, 1, −1; −1, 0, 1; 1, −1, 0: MS = 6/4 = 1.5.
    # σ²: config (12 − 1.5)/3 = 3.5, seed (9 − 1.5)/3 = 2.5, residual 1.5.
    shares = variance_shares(SCORES)
    assert shares.total == pytest.approx(7.5)
    expected = (3.5 / 7.5, 2.5 / 7.5, 1.5 / 7.5)
    assert (shares.config, shares.seed, shares.residual) == pytest.approx(expected)
    assert shares.caveat is None


def test_a_negative_estimate_is_cut_off_and_said() -> None:
    # Nothing but interaction: both main effects are 0, both estimates below it.
    shares = variance_shares(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    assert (shares.config, shares.seed, shares.residual) == (0.0, 0.0, 1.0)
    assert shares.caveat == "estimate of config and seed was negative and is cut off at 0"


def test_variances_are_estimated_without_bias() -> None:
    # σ² 4, 1 and 0.25, over 400 studies of 10 configs and 5 seeds; nothing is cut off here.
    rng = np.random.default_rng(0)
    repeats = 400
    found = np.empty((repeats, 3))
    for row in found:
        scores = 2 * rng.normal(size=(10, 1)) + rng.normal(size=5) + 0.5 * rng.normal(size=(10, 5))
        shares = variance_shares(scores)
        row[:] = np.array([shares.config, shares.seed, shares.residual]) * shares.total
    error = found.std(axis=0, ddof=1) / math.sqrt(repeats)
    assert np.all(np.abs(found.mean(axis=0) - [4.0, 1.0, 0.25]) <= 3.5 * error)


@pytest.mark.parametrize(
    ("scores", "caveat"),
    [
        ([[1.0, 2.0]], "one config alone: effects can't be separated"),
        ([[1.0], [2.0]], "one seed alone: effects can't be separated"),
        ([[0.1, 0.1], [0.1, 0.1]], "all scores are equal: nothing to share out"),
    ],
)
def test_no_shares_where_there_are_none(scores: list[list[float]], caveat: str) -> None:
    shares = variance_shares(np.array(scores))
    assert math.isnan(shares.config)
    assert shares.caveat == caveat


def test_kendalls_w_by_hand() -> None:
    # Ranks of the configs: 1 2 3; 1 2 3; 1 2 3 on every seed.
    assert kendalls_w(SCORES) == pytest.approx(1.0)
    # Rank sums of 1 2 3, 1 3 2, 3 1 2 are 5, 6, 7: S = 2, W = 12·2/(9·24).
    cyclic = np.array([[1.0, 1.0, 3.0], [2.0, 3.0, 1.0], [3.0, 2.0, 2.0]])
    assert kendalls_w(cyclic) == pytest.approx(1 / 9)
    # With a tie on the second seed: ranks 1.5 1.5 3, rank sums 2.5, 3.5, 6 about 4, S = 6.5,
    # W = 12·6.5/(4·24 − 2·6).
    tied = np.array([[1.0, 4.0], [2.0, 4.0], [3.0, 5.0]])
    assert kendalls_w(tied) == pytest.approx(78 / 84)


@given(arrays(np.float64, (4, 3), elements=st.integers(0, 3).map(float)))
def test_kendalls_w_is_friedmans_statistic(scores: np.ndarray) -> None:
    w = kendalls_w(scores)
    if np.all(scores == scores[0]):
        assert math.isnan(w)
    else:
        friedman = stats.friedmanchisquare(*scores).statistic
        assert w == pytest.approx(friedman / (3 * 3), abs=1e-12)


def test_random_rankings_agree_by_one_nth() -> None:
    rng = np.random.default_rng(0)
    found = np.array([kendalls_w(rng.normal(size=(8, 3))) for _ in range(2000)])
    assert abs(found.mean() - 1 / 3) <= 3.5 * found.std(ddof=1) / math.sqrt(2000)


def test_one_seed_can_not_agree_with_itself() -> None:
    assert math.isnan(kendalls_w(SCORES[:, :1]))
    assert math.isnan(kendalls_w(SCORES[:1]))


def test_ties_split_a_win() -> None:
    scores = np.array([[1.0, 5.0, 2.0], [3.0, 5.0, 2.0], [0.0, 5.0, 1.0]])
    np.testing.assert_allclose(win_shares(scores), [5 / 18, 11 / 18, 2 / 18])


@given(tables, st.randoms(use_true_random=False))
def test_labels_seed_effects_and_scale_do_not_matter(scores: np.ndarray, random: Random) -> None:
    configs = random.sample(range(len(scores)), len(scores))
    seeds = random.sample(range(scores.shape[1]), scores.shape[1])
    shuffled = scores[configs][:, seeds]
    np.testing.assert_allclose(win_shares(shuffled), win_shares(scores)[configs])
    assert kendalls_w(shuffled) == pytest.approx(kendalls_w(scores), nan_ok=True)
    here, there = variance_shares(scores), variance_shares(shuffled)
    assert there.config == pytest.approx(here.config, nan_ok=True, abs=1e-9)

    shift = 10.0 * np.arange(scores.shape[1])
    moved = 3 * scores + shift
    np.testing.assert_allclose(win_shares(moved), win_shares(scores))
    assert kendalls_w(moved) == pytest.approx(kendalls_w(scores), nan_ok=True)
    assert win_shares(scores).sum() == pytest.approx(1)
    rescaled = variance_shares(3 * scores + 7)
    assert rescaled.residual == pytest.approx(here.residual, nan_ok=True, abs=1e-9)
    assert rescaled.total == pytest.approx(9 * here.total, abs=1e-9)
    # mode="min" turns signs: variance and agreement are the same.
    assert variance_shares(-scores).config == pytest.approx(here.config, nan_ok=True, abs=1e-9)
    assert kendalls_w(-scores) == pytest.approx(kendalls_w(scores), nan_ok=True)


def test_seed_effect_holds_all_three() -> None:
    effect = seed_effect(SCORES)
    assert effect.variance == variance_shares(SCORES)
    assert (effect.kendalls_w, effect.n_seeds) == (pytest.approx(1.0), 3)
    np.testing.assert_array_equal(effect.win_shares, [0.0, 0.0, 1.0])


def test_choice_of_each_hyperparameter() -> None:
    configs = [{"optimizer": o, "lr": lr} for o in ("sgd", "adam") for lr in (0.1, 0.01)]
    # sgd leads on each seed; lr 0.01 on seeds 0 and 1, and ties with 0.1 on seed 2.
    scores = np.array([[5.0, 5.0, 7.0], [8.0, 9.0, 7.0], [1.0, 2.0, 4.0], [3.0, 4.0, 4.0]])
    optimizer, lr = choices(marginals(configs, scores))
    assert (optimizer.name, optimizer.overall, optimizer.agreement) == ("optimizer", "sgd", 1.0)
    assert optimizer.same
    assert (lr.name, lr.overall, lr.agreement) == ("lr", "0.01", pytest.approx(2.5 / 3))
    assert lr.by_seed == (("0.01",), ("0.01",), ("0.01", "0.1"))
    assert not lr.same


def test_wrong_scores() -> None:
    for function in (variance_shares, kendalls_w, win_shares, seed_effect):
        with pytest.raises(IncompleteGroupError):
            function(np.array([[1.0, np.nan]]))
        with pytest.raises(ValueError, match=r"needs scores \(config, seed\)"):
            function(np.zeros(3))


@pytest.mark.parametrize(("n_configs", "n_seeds"), [(5, 3), (4, 5)])
@pytest.mark.slow
def test_what_chance_gives_stands_beside(n_configs: int, n_seeds: int) -> None:
    rng = np.random.default_rng([n_configs, n_seeds])
    above, repeats = 0, 12
    for _ in range(repeats):
        found = seed_effect(rng.normal(size=(n_configs, n_seeds)))
        assert found.by_chance.kendalls_w.mean == pytest.approx(1 / n_seeds, abs=0.06)
        above += found.kendalls_w > found.by_chance.kendalls_w.high
    assert above / repeats <= 0.05 + 3 * (0.05 * 0.95 / repeats) ** 0.5
    clear = seed_effect(
        10.0 * np.arange(n_configs)[:, None] + rng.normal(size=(n_configs, n_seeds))
    )
    assert clear.variance.config > clear.by_chance.config.high
    assert "by chance" in str(clear)


def test_variance_components_are_those_of_restricted_maximum_likelihood() -> None:
    """Balanced and with no negative estimate, ANOVA and REML are the same.

    The numbers are of statsmodels 0.15.0: MixedLM.from_formula("y ~ 1", groups="one",
    vc_formula={"config": "0 + C(config)", "seed": "0 + C(seed)"}, data=long).fit(reml=True), on the
    table below.
    """
    table = np.array([[1.0, 2.0, 4.5], [3.0, 4.5, 5.0], [6.0, 6.5, 9.0], [2.0, 4.0, 4.0]])
    found = variance_shares(table)
    parts = np.array([found.config, found.seed, found.residual]) * found.total
    np.testing.assert_allclose(parts, [3.986074, 1.611115, 0.451390], rtol=1e-3)


def test_an_agreement_stands_beside_that_of_values_that_do_not_matter() -> None:
    (choice,) = choices(
        marginals([{"x": 0}, {"x": 1}], np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 4.0]]))
    )
    # Of two values, three seeds agree on all three in 1 of 4 cases, else the mean decides.
    assert 2 / 3 < choice.by_chance < 0.85 and choice.agreement == pytest.approx(2 / 3)
