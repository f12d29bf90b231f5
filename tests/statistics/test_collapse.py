import math

import numpy as np
import pytest
from scipy import stats

from tune_seeds.statistics.collapse import doing_nothing, far_enough, share_of


@pytest.mark.parametrize(("count", "n"), [(0, 3), (1, 3), (3, 3), (2, 40), (40, 40)])
def test_the_interval_is_scipys_exact_one(count: int, n: int) -> None:
    found = share_of(count, n)
    expected = stats.binomtest(count, n).proportion_ci(0.95, method="exact")
    assert tuple(found.interval) == pytest.approx((expected.low, expected.high))
    assert found.estimate == count / n and f"{count} of {n}" in str(found)


def test_of_nothing_nothing_is_known() -> None:
    found = share_of(0, 0)
    assert tuple(found.interval) == (0, 1) and math.isnan(found.estimate)
    with pytest.raises(ValueError, match="count must be"):
        share_of(4, 3)


def test_the_level_of_doing_nothing_is_where_the_poorest_run_began() -> None:
    first = np.array([0.1, 0.11, 0.5, 0.6, 0.4])
    assert doing_nothing(first, np.array([0.9, 0.8, 0.7, 0.9, 0.9])) == pytest.approx(0.18)
    thrown = np.append(first, -1e8)
    assert doing_nothing(thrown, np.full(6, 0.9)) == pytest.approx(0.18), "a diverged loss is none"
    assert doing_nothing(first[:3], first[:3]) is None, "too few to tell"
    assert doing_nothing(np.ones(5), np.ones(5)) is None, "nothing has moved"


def test_far_enough_is_where_half_have_done_something() -> None:
    slow = {1: 0.1, 3: 0.12, 9: 0.8}
    fast = {1: 0.1, 3: 0.7, 9: 0.9}
    assert far_enough([slow, slow, fast], (1, 3, 9), 0.18) == 9
    assert far_enough([slow, fast, fast], (1, 3, 9), 0.18) == 3
    assert far_enough([{1: 0.1}, {1: 0.9}], (1, 3, 9), 0.18) is None, "the first report is no end"
