import math

import numpy as np
import pytest
from monte_carlo import slack
from scipy import stats

from tune_seeds.statistics.aggregate import IncompleteGroupError, get_aggregate
from tune_seeds.statistics.confirmation import OverlappingSeedsError, confirmation, require_fresh

SEARCH = np.array([[9.0, 7.0], [6.0, 6.0], [5.0, 1.0]])
FRESH = np.array([[4.0, 6.0, 5.0], [7.0, 6.0, 5.0], [0.0, 1.0, 2.0]])


def test_by_hand() -> None:
    result = confirmation(SEARCH, FRESH)
    winner = result.configs[0]
    assert (winner.search_score, winner.confirmed_score, winner.flattery) == (8.0, 5.0, 3.0)
    half = 4.302652729749462 / math.sqrt(3)
    assert (winner.interval.low, winner.interval.high) == pytest.approx((5 - half, 5 + half))
    ends = (winner.flattery_interval.low, winner.flattery_interval.high)
    assert ends == pytest.approx((3 - half, 3 + half))
    assert result.search_order == (0, 1, 2)
    assert result.confirmed_order == (1, 0, 2)
    assert not result.order_held
    assert not result.winner_held
    assert result.caveat is None


def test_winner_lead_is_paired_against_the_best_other_on_fresh_seeds() -> None:
    lead = confirmation(SEARCH, FRESH).winner_lead
    expected = stats.ttest_rel(FRESH[0], FRESH[1]).confidence_interval(0.95)
    assert lead is not None
    assert (lead.low, lead.high) == pytest.approx((expected.low, expected.high))
    # The rival is whoever leads on fresh seeds, here the search's last.
    last_leads = confirmation(SEARCH, FRESH[[0, 2, 1]]).winner_lead
    assert last_leads == lead
    assert confirmation(SEARCH[:1], FRESH[:1]).winner_lead is None


def test_order_held_and_ties() -> None:
    assert confirmation(SEARCH, SEARCH[:, ::-1]).order_held
    tied = np.array([[5.0, 5.0], [5.0, 5.0], [1.0, 1.0]])
    result = confirmation(SEARCH, tied)
    assert result.order_held
    assert result.winner_held
    assert result.confirmed_order == (0, 1, 2)


@pytest.mark.slow
def test_flattery_interval_covers_although_the_search_selected() -> None:
    # Best of 40 equal configs by 3 seeds: its flattery is real, and the interval finds it.
    rng = np.random.default_rng(0)
    repeats = 1500
    covered = welch_covered = 0
    flattery = np.empty(repeats)
    for i in range(repeats):
        search = rng.normal(size=(40, 3))
        best = search[[np.argmax(search.mean(axis=1))]]
        fresh = rng.normal(size=(1, 5))
        config = confirmation(best, fresh).configs[0]
        flattery[i] = config.flattery
        covered += best.mean() in config.flattery_interval
        # Negative control: Welch, as if the selected scores were an ordinary sample of mean 0.
        welch = stats.ttest_ind(best[0], fresh[0], equal_var=False).confidence_interval(0.95)
        welch_covered += welch.low <= 0 <= welch.high
    assert covered / repeats >= 0.95 - slack(0.95, repeats)
    assert welch_covered / repeats < 0.95 - 2 * slack(0.95, repeats)
    # Expected maximum of 40 normal means of 3 is 2.16/√3 = 1.247.
    error = flattery.std(ddof=1) / math.sqrt(repeats)
    assert abs(flattery.mean() - 1.247) <= 3.5 * error + 0.001


def test_the_confirmed_score_is_not_flattered() -> None:
    rng = np.random.default_rng(1)
    confirmed = np.empty(1500)
    for i in range(1500):
        search = rng.normal(size=(40, 3))
        fresh = rng.normal(size=(40, 5))
        best = [int(np.argmax(search.mean(axis=1)))]
        confirmed[i] = confirmation(search[best], fresh[best]).configs[0].confirmed_score
    assert abs(confirmed.mean()) <= 3.5 * confirmed.std(ddof=1) / math.sqrt(1500)


def test_the_aggregate_of_the_study_is_used() -> None:
    result = confirmation(SEARCH, FRESH, aggregate=get_aggregate("worst"))
    assert [config.search_score for config in result.configs] == [7.0, 6.0, 1.0]
    assert [config.confirmed_score for config in result.configs] == [4.0, 5.0, 0.0]
    assert result.caveat is not None
    assert result.caveat.startswith("worst of 2 seeds and of 3 seeds")
    same_n = confirmation(SEARCH, FRESH[:, :2], aggregate=get_aggregate("worst"))
    assert same_n.caveat is None


def test_a_function_needs_a_generator() -> None:
    aggregate = get_aggregate(np.mean)
    with pytest.raises(ValueError, match="needs rng="):
        confirmation(SEARCH, FRESH, aggregate=aggregate)
    result = confirmation(SEARCH, FRESH, aggregate=aggregate, rng=np.random.default_rng(0))
    assert result.configs[0].interval.method == "bootstrap t"


def test_resolution_and_level_are_honoured() -> None:
    equal = np.full((2, 3), 5.0)
    wide = confirmation(SEARCH[:2], equal, resolution=1.0)
    assert wide.configs[0].interval.high > 5.5
    assert wide.winner_lead is not None
    assert wide.winner_lead.high > 0.5
    assert confirmation(SEARCH, FRESH, level=0.5).configs[0].interval.level == 0.5


def test_flipping_the_sign_turns_the_order() -> None:
    here, there = confirmation(SEARCH, FRESH), confirmation(-SEARCH, -FRESH)
    assert there.search_order == here.search_order[::-1]
    assert [c.flattery for c in there.configs] == [-c.flattery for c in here.configs]


def test_fresh_seeds_are_fresh() -> None:
    require_fresh([47, 881, 123456789], [1, 2, 3])
    with pytest.raises(OverlappingSeedsError, match=r"never used, got \[47, 881\] again"):
        require_fresh([47, 881, 123456789], [881, 1, 47])
    with pytest.raises(OverlappingSeedsError, match=r"listed twice: \[2\]"):
        require_fresh([47], [1, 2, 2])


def test_wrong_scores() -> None:
    with pytest.raises(ValueError, match=r"shapes \(3, 2\) and \(2, 3\)"):
        confirmation(SEARCH, FRESH[:2])
    with pytest.raises(IncompleteGroupError, match="config 0, seed 0"):
        confirmation(SEARCH, np.where(FRESH == 4, np.nan, FRESH))
