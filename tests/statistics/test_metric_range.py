import numpy as np
import pytest

from tune_seeds.statistics.intervals import Interval
from tune_seeds.statistics.metric_range import MetricRange, checked_range, seen_share

UNEVEN = np.array([0.123456, 0.31, 0.777123])


@pytest.mark.parametrize(
    ("name", "values", "is_share"),
    [
        ("val_acc", UNEVEN, True),
        ("val/f1", UNEVEN, True),
        ("score", UNEVEN, False),
        ("score", np.array([0.9, 0.98, 0.976]), True),
        ("val_loss", np.array([0.9, 0.98, 0.976]), False),
        ("loss_acc", UNEVEN, False),
        ("val_acc", np.array([98.2, 97.1]), False),
        ("acc", np.array([-0.1, 0.5]), False),
        ("acc", np.array([]), False),
    ],
)
def test_a_share_is_seen(name: str, values: np.ndarray, is_share: bool) -> None:
    assert seen_share(name, values) == (MetricRange(0, 1, declared=False) if is_share else None)


def test_intervals_are_cut_at_the_ends() -> None:
    within = MetricRange(0, 1)
    cut = within.clipped(Interval(0.97, 1.0026, 0.95, "t", 3))
    assert (cut.low, cut.high) == (0.97, 1.0)
    unbounded = MetricRange(0, float("inf"))
    assert tuple(unbounded.clipped(Interval(-1.0, 5.0, 0.95, "t", 3))) == (0, 5)
    undefined = within.clipped(Interval(float("nan"), float("nan"), 0.95, "t", 1))
    assert np.isnan(list(undefined)).all()


@pytest.mark.parametrize("ends", [(1, 0), (0, 0), (0, float("nan")), "ab", 3, (0, 1, 2), None])
def test_what_is_no_range(ends: object) -> None:
    with pytest.raises(ValueError, match="metric_range must be"):
        checked_range(ends)
