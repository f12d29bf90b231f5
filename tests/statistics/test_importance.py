import math

import numpy as np
import pytest

from tune_seeds.statistics.aggregate import IncompleteGroupError
from tune_seeds.statistics.importance import MIN_CONFIGS, Importances, importances

N_SEEDS = 3


def study(n_configs: int = 40) -> tuple[list[dict[str, object]], np.ndarray]:
    """The exponent of lr decides, the optimizer matters, weight decay does not."""
    rng = np.random.default_rng(0)
    configs: list[dict[str, object]] = []
    expected: list[float] = []
    for _ in range(n_configs):
        exponent, name = rng.uniform(-5, -1), str(rng.choice(["sgd", "adam"]))
        optimizer: dict[str, object] = {"name": name, "lr": 10**exponent}
        if name == "sgd":
            optimizer["momentum"] = rng.uniform(0, 0.9)
        configs.append({"optimizer": optimizer, "decay": rng.uniform(), "epochs": 27})
        expected.append(-((exponent + 3) ** 2) + (name == "sgd"))
    noise = 0.2 * rng.normal(size=(n_configs, N_SEEDS)) + rng.normal(size=N_SEEDS)
    return configs, np.array(expected)[:, None] + noise


@pytest.fixture(scope="module")
def found() -> Importances:
    return importances(*study(), rng=np.random.default_rng(1), n_trees=40, n_repeats=3)


def test_what_matters_is_found(found: Importances) -> None:
    by_name = {row.name: row for row in found.rows}
    # epochs is constant and has no row; momentum exists for sgd only.
    assert set(by_name) == {"optimizer.name", "optimizer.lr", "optimizer.momentum", "decay"}
    assert by_name["optimizer.lr"].interval.low > by_name["decay"].interval.high
    assert by_name["optimizer.lr"].mean > 0.7
    assert abs(by_name["decay"].mean) < 0.1
    assert found.caveat is None
    assert np.all(found.fit > 0.5)


def test_uncertainty_is_over_configs_and_seeds(found: Importances) -> None:
    row = found.rows[1]
    assert row.by_seed.shape == (N_SEEDS,)
    assert row.mean == pytest.approx(row.by_seed.mean())
    assert row.standard_error > row.by_seed.std(ddof=1) / math.sqrt(N_SEEDS)
    assert row.interval.n == N_SEEDS


def test_a_generator_repeats_it() -> None:
    configs, scores = study(12)

    def run(seed: int) -> np.ndarray:
        found = importances(
            configs, scores, rng=np.random.default_rng(seed), n_trees=5, n_repeats=1
        )
        return np.stack([row.by_seed for row in found.rows])

    np.testing.assert_array_equal(run(1), run(1))
    assert np.any(run(1) != run(2))


def test_log_and_linear_scale_give_the_same() -> None:
    exponents = np.random.default_rng(0).uniform(-5, -1, size=20)
    scores = -((exponents + 3) ** 2)[:, None] * np.ones(2)
    linear, log = (
        importances(
            [{"lr": float(value)} for value in values],
            scores,
            rng=np.random.default_rng(3),
            n_trees=5,
        ).rows[0]
        for values in (exponents, np.exp(exponents))
    )
    # Trees split half way between two values, so ranks decide on seen configs; unseen ones
    # between two seen values may fall on the other side.
    np.testing.assert_allclose(linear.by_seed, log.by_seed, atol=0.15)


def test_sign_and_scale_of_the_scores_do_not_matter() -> None:
    configs, scores = study(12)
    here, there = (
        importances(configs, s, rng=np.random.default_rng(2), n_trees=5, n_repeats=1)
        for s in (scores, -4 * scores)  # exact in binary, so no split is decided by rounding
    )
    for row, other in zip(here.rows, there.rows, strict=True):
        np.testing.assert_array_equal(row.by_seed, other.by_seed)


def test_noise_is_not_explained_and_that_is_said() -> None:
    configs, _ = study()
    noise = np.random.default_rng(7).normal(size=(40, N_SEEDS))
    found = importances(configs, noise, rng=np.random.default_rng(1), n_trees=20, n_repeats=2)
    assert found.caveat is not None
    assert "no better than their mean" in found.caveat


def test_too_few_configs_are_said_and_not_guessed() -> None:
    configs, scores = study(MIN_CONFIGS - 1)
    found = importances(configs, scores, rng=np.random.default_rng(0))
    assert found.caveat == "9 configs are too few to learn from: at least 10 are needed"
    assert all(math.isnan(row.mean) for row in found.rows)


def test_nothing_to_explain() -> None:
    configs, _ = study(12)
    found = importances(configs, np.ones((12, 2)), rng=np.random.default_rng(0), n_trees=2)
    assert found.caveat == "all scores are equal: nothing can matter"
    assert all(row.mean == 0 for row in found.rows)
    same = importances([{"a": 1}] * 12, np.ones((12, 2)), rng=np.random.default_rng(0))
    assert (same.rows, same.caveat) == ((), "all configs have the same hyperparameters")


def test_wrong_input() -> None:
    configs, scores = study(12)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"for 12 configs, got shape \(11, 3\)"):
        importances(configs, scores[:11], rng=rng)
    with pytest.raises(ValueError, match="n_trees and n_repeats must be at least 1"):
        importances(configs, scores, rng=rng, n_trees=0)
    scores[3, 1] = np.nan
    with pytest.raises(IncompleteGroupError, match="config 3, seed 1"):
        importances(configs, scores, rng=rng)


def test_of_one_seed_the_configs_show_how_uncertain_it_is() -> None:
    configs, scores = study(14)
    found = importances(configs, scores[:, :1], rng=np.random.default_rng(0), n_trees=10)
    assert all(math.isfinite(end) for row in found.rows for end in row.interval)


@pytest.mark.slow
def test_a_dead_hyperparameter_matters_at_its_level_only() -> None:
    rng = np.random.default_rng(5)
    repeats, found, live = 15, 0, 0
    for _ in range(repeats):
        quality = rng.normal(size=24)
        configs = [{"dead": float(rng.uniform()), "lr": float(q)} for q in quality]
        scores = quality[:, None] + 0.3 * rng.normal(size=(24, 1))
        rows = importances(configs, scores, rng=rng, n_trees=10, n_repeats=2).rows
        found += rows[0].interval.low > 0
        live += rows[1].interval.low > 0
    assert found / repeats <= 0.025 + 3 * (0.025 * 0.975 / repeats) ** 0.5
    assert live / repeats > 0.8
