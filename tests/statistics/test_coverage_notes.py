import numpy as np
import pytest

from tune_seeds.statistics.coverage_notes import skewness_score
from tune_seeds.statistics.random_effects import expected_scores


def note(scores: np.ndarray, **options: object) -> str:
    return expected_scores(scores, **options)[0].interval.caveat or ""  # type: ignore[arg-type]


def test_plain_scores_promise_what_they_keep() -> None:
    scores = np.add.outer(np.arange(6.0), [-1.0, 0.0, 1.0, 0.2, -0.2])
    assert note(scores) == ""


def test_skewed_scores_say_so_with_the_number() -> None:
    rng = np.random.default_rng(0)
    skewed = 1 - rng.exponential(size=(8, 10))
    assert "look skewed" in note(skewed) and "covered" in note(skewed) and "%" in note(skewed)


def test_how_often_skew_is_seen() -> None:
    rng = np.random.default_rng(1)
    normal = [abs(skewness_score(rng.normal(size=(6, 5)))) >= 1.3 for _ in range(300)]
    skewed = [abs(skewness_score(rng.exponential(size=(6, 5)))) >= 1.3 for _ in range(300)]
    assert np.mean(normal) < 0.3 < 0.6 < np.mean(skewed)


def test_spreads_that_differ_strongly_say_so() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(8, 5))
    noise -= noise.mean(axis=1)[:, None]
    noise /= noise.std(axis=1)[:, None]
    assert "differ strongly" not in note(noise)
    assert "differ strongly" in note(noise * np.logspace(-2, 2, 8)[:, None])


@pytest.mark.parametrize("n_seeds", [2, 3])
def test_near_an_end_of_the_range_two_seeds_are_not_enough(n_seeds: int) -> None:
    scores = np.random.default_rng(3).beta(19.6, 0.4, size=(8, n_seeds))
    said = "near an end" in note(scores, ends=(0.0, 1.0))
    assert said == (n_seeds == 2)
    assert "near an end" not in note(scores, ends=(-100.0, 100.0))


@pytest.mark.slow
def test_near_an_end_the_variance_of_alike_runs_is_not_believed() -> None:
    """Most runs are at 1 within rounding; the few that are not make the mean."""
    rng = np.random.default_rng(4)
    inside, blind = 0, 0
    for _ in range(60):
        scores = rng.beta(0.24 * 0.995 / 0.005, 0.24, size=(8, 3))
        best = int(scores.mean(axis=1).argmax())
        (known,) = expected_scores(scores, ends=(0.0, 1.0), wanted=[best])
        (unknown,) = expected_scores(scores, wanted=[best])
        inside += 0.995 in known.interval
        blind += 0.995 in unknown.interval
    assert inside >= 54 > blind, "without the range, it is believed, and does not cover"


def test_units_of_the_other_direction_give_the_same_interval_reflected() -> None:
    scores = np.random.default_rng(5).beta(19.6, 0.4, size=(6, 3))
    here = expected_scores(scores, ends=(0.0, 1.0))[0].interval
    there = expected_scores(scores - 1, ends=(-1.0, 0.0))[0].interval
    assert tuple(there) == pytest.approx([here.low - 1, here.high - 1], abs=1e-7)
