import numpy as np
import pytest

from tune_seeds.statistics.selection_luck import selection_luck


def raced(lasting: float, rng: np.random.Generator) -> tuple[float, float]:
    """Equal configs; the luckiest quarter goes on. Their mean luck, and what was expected."""
    below = rng.normal(size=(40, 4))
    last = lasting * below + np.sqrt(1 - lasting**2) * rng.normal(size=(40, 4))
    order = np.argsort(-below[:, 0])
    first = below[:, :1].copy()
    below[order[10:]], last[order[10:]] = np.nan, np.nan
    found = selection_luck(first, below, last, 1)
    return float(last[order[:10], 0].mean()), float(found.expected[order[:10]].mean())


@pytest.mark.parametrize("lasting", [0.0, 0.7, 1.0])
def test_the_luck_that_selection_brought_is_found(lasting: float) -> None:
    rng = np.random.default_rng(0)
    true, expected = np.mean([raced(lasting, rng) for _ in range(60)], axis=0)
    assert true == pytest.approx(1.27 * lasting, abs=0.1), "the best quarter's mean, times r"
    # Survivors' first seeds stand out from their others too, which counts as luck that lasts.
    assert true - 0.1 < expected < true + 0.25


def test_where_nothing_can_be_learnt_nothing_is_taken_off() -> None:
    nothing = np.full((5, 1), np.nan)
    found = selection_luck(np.zeros((5, 0)), nothing, np.zeros((5, 3)), 3)
    assert not found.expected.any() and not found.error.any()
    one_seed = selection_luck(np.arange(5.0)[:, None], np.arange(5.0)[:, None], nothing, 1)
    assert not one_seed.expected.any()
