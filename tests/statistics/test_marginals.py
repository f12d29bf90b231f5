import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monte_carlo import slack
from scipy import stats

from tune_seeds.statistics.aggregate import IncompleteGroupError
from tune_seeds.statistics.intervals import t_interval
from tune_seeds.statistics.marginals import ABSENT, columns, levels, marginals

GRID = [{"optimizer": o, "lr": lr} for o in ("sgd", "adam") for lr in (0.1, 0.01)]
SCORES = np.array([[5.0, 5.0, 8.0], [7.0, 9.0, 8.0], [1.0, 2.0, 4.0], [3.0, 4.0, 4.0]])


def test_grouped_table_by_hand() -> None:
    tables = marginals(GRID, SCORES)
    assert list(tables) == ["optimizer", "lr"]
    sgd, adam = tables["optimizer"]
    assert (sgd.value, sgd.n_configs, sgd.n_seeds) == ("sgd", 2, 3)
    # Per seed 6, 7, 8: mean 7, standard deviation 1, and over seeds 1/√3.
    np.testing.assert_allclose(sgd.by_seed, [6.0, 7.0, 8.0])
    assert (sgd.mean, sgd.standard_error) == pytest.approx((7.0, 1 / math.sqrt(3)))
    half = 4.302652729749462 / math.sqrt(3)
    assert (sgd.interval.low, sgd.interval.high) == pytest.approx((7 - half, 7 + half))
    # adam 2, 3, 4: sgd is 4 above on each seed, so 2 above the mean of both, with no spread.
    np.testing.assert_allclose(adam.by_seed, [2.0, 3.0, 4.0])
    assert (sgd.effect.low, sgd.effect.high) == pytest.approx((2.0, 2.0))
    assert (adam.effect.low, adam.effect.high) == pytest.approx((-2.0, -2.0))
    assert [row.value for row in tables["lr"]] == ["0.01", "0.1"]


def test_nested_keys_are_dotted_and_constants_have_no_table() -> None:
    configs = [
        {"model": {"lr": lr, "width": 64}, "data.batch_size": b, "layers": [8, 8]}
        for lr, b in ((0.1, 16), (0.01, 32))
    ]
    assert list(columns(configs)) == ["model.lr", "model.width", "data.batch_size", "layers"]
    assert list(marginals(configs, SCORES[:2])) == ["model.lr", "data.batch_size"]
    deep = {"model": {"optimizer": {"lr": 0.1}, "extra": {}}}
    assert columns([deep]) == {"model.optimizer.lr": [0.1], "model.extra": [{}]}


def test_a_conditional_hyperparameter_is_absent_elsewhere() -> None:
    configs = [{"momentum": 0.9}, {"momentum": 0.5}, {}, {"momentum": None}]
    assert [level.value for level in levels(columns(configs)["momentum"])] == [
        "0.5",
        "0.9",
        ABSENT,
        "None",
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2, 1, 2.0], {"1": [1], "2": [0, 2]}),
        ([True, False, 1], {"1": [2], "True": [0], "False": [1]}),
        ([np.float64(0.1), 0.1, np.int64(3)], {"0.1": [0, 1], "3": [2]}),
        ([[64, 64], [32], [64, 64]], {"[64, 64]": [0, 2], "[32]": [1]}),
        (["b", "a", "b"], {"b": [0, 2], "a": [1]}),
        ([float("nan"), 1.0, float("inf")], {"1.0": [1], "nan": [0], "inf": [2]}),
    ],
)
def test_levels(values: list[object], expected: dict[str, list[int]]) -> None:
    assert {level.value: level.members.tolist() for level in levels(values)} == expected


def test_many_numbers_become_thirds_by_rank() -> None:
    exponents = [-5.0, -1.0, -3.0, -4.0, -2.0, -4.5, -1.5, -3.5, -2.5]
    linear = levels(exponents, max_values=3)
    log_scale = levels([10**e for e in exponents], max_values=3)
    assert [level.value for level in linear] == ["-5 … -4", "-3.5 … -2.5", "-2 … -1"]
    assert [level.members.tolist() for level in linear] == [
        level.members.tolist() for level in log_scale
    ]
    # Equal values stay together, whatever that does to the sizes.
    crowded = levels([1, 1, 1, 1, 1, 2, 3, 4], max_values=3)
    assert [len(level.members) for level in crowded] == [5, 3]
    with pytest.raises(ValueError, match="max_values must be at least 3, got 2"):
        levels([1, 2, 3], max_values=2)


@given(
    arrays(np.float64, (8, 3), elements=st.integers(-50, 50).map(float)),
    st.randoms(use_true_random=False),
)
def test_the_order_of_configs_does_not_matter(scores: np.ndarray, random: Random) -> None:
    configs = [{"a": i % 2, "b": i % 3} for i in range(8)]
    order = random.sample(range(8), 8)
    here = marginals(configs, scores)
    there = marginals([configs[i] for i in order], scores[order])
    for name, rows in here.items():
        for row, other in zip(rows, there[name], strict=True):
            assert row.value == other.value
            np.testing.assert_allclose(row.by_seed, other.by_seed, atol=1e-9)
            # Effects sum to 0 over the values; turned signs turn them.
        assert sum(row.effect.low + row.effect.high for row in rows) == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
def test_intervals_cover_over_seeds() -> None:
    # 2 × 2 grid, additive effects, noise per run, a big effect of the seed on all runs.
    rng = np.random.default_rng(0)
    repeats, n = 1500, 3
    inside = {"interval": 0, "effect": 0}
    truth = np.array([[1.0], [3.0], [5.0], [7.0]])
    for _ in range(repeats):
        scores = truth + 5 * rng.normal(size=n) + rng.normal(size=(4, n))
        sgd = marginals(GRID, scores)["optimizer"][0]
        inside["interval"] += 2.0 in sgd.interval
        inside["effect"] += -2.0 in sgd.effect
    for covered in inside.values():
        assert abs(covered / repeats - 0.95) <= slack(0.95, repeats)


def test_one_seed_has_no_uncertainty_to_show() -> None:
    row = marginals(GRID, SCORES[:, :1])["lr"][0]
    assert math.isnan(row.standard_error)
    assert math.isnan(row.effect.low)
    assert row.mean == 5.0


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match=r"for 4 configs, got shape \(3, 3\)"):
        marginals(GRID, SCORES[:3])
    with pytest.raises(ValueError, match="level must be"):
        marginals(GRID, SCORES, level=2.0)
    with pytest.raises(IncompleteGroupError):
        marginals(GRID, np.where(SCORES == 9, np.nan, SCORES))


@pytest.mark.parametrize(("n_seeds", "values"), [(1, 2), (3, 4)])
def test_a_dead_hyperparameter_has_an_effect_at_its_level_only(n_seeds: int, values: int) -> None:
    """Random search over 40 configs; another hyperparameter decides."""
    rng = np.random.default_rng([n_seeds, values])
    repeats, found, of_seeds = 150, 0, 0
    for _ in range(repeats):
        quality = rng.normal(size=40)
        dead = rng.integers(values, size=40).tolist()
        configs = [{"dead": d, "lr": x} for d, x in zip(dead, quality.tolist(), strict=True)]
        scores = quality[:, None] + 0.5 * rng.normal(size=(40, n_seeds)) + rng.normal(size=n_seeds)
        rows = marginals(configs, scores)["dead"]
        found += any(0 not in row.effect for row in rows)
        effects = np.stack([row.by_seed for row in rows])
        effects = effects - effects.mean(axis=0)
        of_seeds += n_seeds > 1 and any(0 not in t_interval(row, level=0.95) for row in effects)
    assert found / repeats <= 0.05 + slack(0.05, repeats)
    if n_seeds > 1:
        assert of_seeds / repeats > 0.15, "the negative control: seeds alone mislead"


def test_pooled_spread_of_two_values_is_the_t_test_and_of_more_the_analysis_of_variance() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20, 1))
    configs = [{"x": k % 2, "y": k} for k in range(20)]
    low, high = marginals(configs, scores)["x"][1].effect
    test = stats.ttest_ind(scores[1::2, 0], scores[::2, 0]).confidence_interval(0.95)
    # The effect is the distance to the mean of both values, half of the difference.
    assert (low, high) == pytest.approx((test.low / 2, test.high / 2))
