import numpy as np
import pytest
from monte_carlo import slack

from tune_seeds.statistics.possible_best import chances, draws_of_means, smallest_set


def study(
    spread: float, rng: np.random.Generator, n_configs: int = 12
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two rungs; the better third at the first goes on, and gets a second and a third seed."""
    truth = spread * rng.normal(size=n_configs)
    luck = rng.normal(size=(n_configs, 3))
    first = truth[:, None] + 0.7 * luck + 0.7 * rng.normal(size=luck.shape)
    last = truth[:, None] + luck
    goes_on = np.argsort(-first[:, 0])[: n_configs // 3]
    rows = [(c, first[c, 0], last[c, 0] if c in goes_on else np.nan) for c in range(n_configs)]
    rows += [(c, first[c, s], last[c, s]) for c in goes_on for s in (1, 2)]
    table = np.array(rows)
    return table[:, 1:], table[:, 0].astype(int), truth


@pytest.mark.parametrize("spread", [0.5, 4.0])
@pytest.mark.slow
def test_the_best_of_all_is_kept_as_often_as_promised(spread: float) -> None:
    rng = np.random.default_rng(0)
    repeats, kept, finished, sizes = 25, 0, 0, list[int]()
    for _ in range(repeats):
        values, config, truth = study(spread, rng)
        draws = draws_of_means(values, config, rng=rng, n_draws=300, n_burn=50)
        found = smallest_set(chances(draws), level=0.95)
        best = int(truth.argmax())
        kept += best in found
        finished += best in set(config[np.isfinite(values[:, 1])].tolist())
        sizes.append(len(found))
    assert kept / repeats >= 0.95 - slack(0.95, repeats)
    if spread < 1:
        assert finished < kept, "the negative control: the best of all is often not finished"
    else:
        assert np.mean(sizes) < 11, "what is hopeless is excluded"


def test_a_forecast_follows_what_became_of_the_others() -> None:
    """A stopped config that stood low is forecast low, with more doubt than a finished one."""
    rng = np.random.default_rng(1)
    values, config, truth = study(3.0, rng, n_configs=20)
    draws = draws_of_means(values, config, rng=rng, n_draws=300)
    assert np.corrcoef(draws.mean(axis=0), truth)[0, 1] > 0.8
    seen = {int(c) for c in config[np.isfinite(values[:, 1])]}
    doubt = draws.std(axis=0)
    stopped = [doubt[c] for c in range(20) if c not in seen]
    assert np.mean(stopped) > np.mean([doubt[c] for c in seen])


def test_units_do_not_matter_and_a_generator_repeats_it() -> None:
    values, config, _ = study(1.0, np.random.default_rng(2))
    one = draws_of_means(values, config, rng=np.random.default_rng(3), n_draws=20, n_burn=5)
    other = draws_of_means(
        7 + 1000 * values, config, rng=np.random.default_rng(3), n_draws=20, n_burn=5
    )
    np.testing.assert_allclose(other, 7 + 1000 * one, rtol=1e-6, atol=1e-3)


def test_sets_are_filled_from_the_likeliest_on() -> None:
    chance = np.array([0.6, 0.1, 0.299, 0.001])
    assert smallest_set(chance, level=0.8) == (0, 2, 1)
    assert smallest_set(np.full(4, 0.25), level=0.95) == (0, 1, 2, 3)
    with pytest.raises(ValueError, match="level must be"):
        smallest_set(chance, level=0.2)


def test_gaps_are_refused() -> None:
    with pytest.raises(ValueError, match="without gaps"):
        draws_of_means(
            np.array([[np.nan, 1.0], [0.0, 1.0]]), np.array([0, 1]), rng=np.random.default_rng(0)
        )


def test_equal_values_and_a_diverged_run_are_no_trouble() -> None:
    values = np.full((6, 2), 0.5)
    values[0] = [-1e30, np.nan]
    config = np.array([0, 1, 1, 2, 2, 3])
    draws = draws_of_means(values, config, rng=np.random.default_rng(0), n_draws=20, n_burn=5)
    assert np.isfinite(draws).all()
