from __future__ import annotations

import statistics

import pytest

from tune_seeds.core.ledger import Ledger, RunKey
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import TO_THE_END, Rung
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.race import Decision, OnSeedFailure, Race, RungMissedError

SEEDS = (47, 881, 123456789)


def make_race(rungs: tuple[Rung, ...], n_finalists: int = 1, mode: str = "max") -> Race:
    ledger = Ledger(SEEDS, Metric("acc", mode))
    return Race(ledger, SuccessiveHalving(rungs, 3, n_finalists), statistics.fmean)


def start_all(race: Race) -> None:
    for key in race.queue:
        race.start(key)


def test_a_new_group_queues_one_run_per_seed_of_its_rung():
    race = make_race((Rung(1, 2), Rung(2, 3)))
    group = race.add_group({"lr": 1})
    assert race.queue == [RunKey(group, 47), RunKey(group, 881)]


def test_a_run_pauses_at_its_rung_and_the_group_is_scored_over_exactly_its_seeds():
    race = make_race((Rung(2, 2), Rung(4, 3)))
    group = race.add_group({"lr": 1})
    start_all(race)
    first, second = RunKey(group, 47), RunKey(group, 881)
    assert race.report(first, 1, {"acc": 0.1}) is Decision.CONTINUE
    assert race.report(first, 2, {"acc": 0.2}) is Decision.PAUSE
    assert race.groups[group].scores == {}
    race.report(second, 1, {"acc": 0.3})
    assert race.report(second, 2, {"acc": 0.4}) is Decision.PAUSE
    assert race.groups[group].scores == {Rung(2, 2): statistics.fmean([0.2, 0.4])}
    assert [item.score for item in race.news] == [statistics.fmean([0.2, 0.4])]


def test_a_run_goes_on_without_a_pause_where_its_group_is_what_the_slot_should_do():
    race = make_race((Rung(1, 1), Rung(2, 3)))
    race.exhaust()
    group = race.add_group({"lr": 1})
    start_all(race)
    key = RunKey(group, 47)
    assert race.report(key, 1, {"acc": 0.2}) is Decision.CONTINUE
    assert race.queue == [RunKey(group, 881), RunKey(group, 123456789)]
    assert race.busy == {key}


def test_a_seed_added_late_trains_all_the_way():
    race = make_race((Rung(1, 1), Rung(2, 2)))
    race.exhaust()
    group = race.add_group({"lr": 1})
    start_all(race)
    race.report(RunKey(group, 47), 1, {"acc": 0.2})
    late = RunKey(group, 881)
    race.start(late)
    assert race.report(late, 1, {"acc": 0.2}) is Decision.CONTINUE
    assert race.report(late, 2, {"acc": 0.2}) is Decision.FINISH


def test_min_and_max_decide_alike():
    for mode, sign in (("max", 1), ("min", -1)):
        race = make_race((Rung(1, 1), Rung(2, 1), Rung(2, 3)), mode=mode)
        for value in (0.1, 0.3, 0.2):
            group = race.add_group({"lr": value})
            start_all(race)
            race.report(RunKey(group, 47), 1, {"acc": sign * value})
        promotion = race.promote_next()
        assert promotion is not None and race.ledger.configs[promotion.group] == {"lr": 0.3}


def test_a_failed_seed_stops_its_siblings_and_is_never_averaged_away():
    race = make_race((Rung(2, 3),))
    race.exhaust()
    group = race.add_group({"lr": 1})
    keys = race.queue
    start_all(race)
    race.report(keys[0], 1, {"acc": 0.9})
    race.fail(keys[1], "boom")
    assert race.report(keys[0], 2, {"acc": 0.9}) is Decision.STOP
    race.stop(keys[0])
    assert race.groups[group].scores == {}
    assert race.groups[group].failures == {881: "boom"}
    assert race.queue == []
    assert [(item.rung, item.score) for item in race.news] == [(None, None)]
    assert race.done


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_metric_that_is_not_finite_is_a_failed_seed(value: float):
    race = make_race((Rung(2, 3),))
    group = race.add_group({"lr": 1})
    start_all(race)
    assert race.report(RunKey(group, 881), 1, {"acc": value}) is Decision.STOP
    assert "diverged: acc is" in race.groups[group].failures[881]


def test_a_run_that_ends_before_its_rung_fails_its_group():
    race = make_race((Rung(3, 1), Rung(9, 3)))
    group = race.add_group({"lr": 1})
    start_all(race)
    race.report(RunKey(group, 47), 1, {"acc": 0.5})
    race.complete(RunKey(group, 47))
    assert "ended by itself at epoch 1" in race.groups[group].failures[47]


def test_a_run_that_skips_its_rung_is_an_error():
    race = make_race((Rung(3, 1), Rung(9, 3)))
    group = race.add_group({"lr": 1})
    start_all(race)
    race.report(RunKey(group, 47), 2, {"acc": 0.5})
    with pytest.raises(RungMissedError, match="at 4 but never at the rung 3"):
        race.report(RunKey(group, 47), 4, {"acc": 0.5})


def test_without_rungs_the_end_of_every_run_scores_the_group():
    race = make_race((Rung(TO_THE_END, 3),))
    group = race.add_group({"lr": 1})
    start_all(race)
    for seed, value in zip(SEEDS, (0.1, 0.2, 0.3), strict=True):
        assert race.report(RunKey(group, seed), 5, {"acc": value}) is Decision.CONTINUE
        race.complete(RunKey(group, seed))
    assert race.groups[group].scores == {Rung(TO_THE_END, 3): statistics.fmean([0.1, 0.2, 0.3])}


def test_ends_at_different_epochs_are_not_compared():
    race = make_race((Rung(TO_THE_END, 3),))
    group = race.add_group({"lr": 1})
    start_all(race)
    for seed, last in zip(SEEDS, (5, 4, 5), strict=True):
        race.report(RunKey(group, seed), last, {"acc": 0.5})
        race.complete(RunKey(group, seed))
    assert race.groups[group].scores == {}
    assert "different epochs (47 at 5, 881 at 4" in race.groups[group].failures[881]


def test_a_retried_run_brings_its_group_back():
    race = make_race((Rung(2, 2),))
    group = race.add_group({"lr": 1})
    keys = race.queue
    start_all(race)
    race.fail(keys[0], "boom")
    race.stop(keys[1])
    race.retry(keys[0])
    assert race.groups[group].failures == {}
    assert race.queue == keys
    assert race.ledger[keys[1]].outcome is None


def test_a_retried_group_that_has_all_it_needs_is_scored_at_once():
    race = make_race((Rung(1, 2), Rung(2, 3)))
    race.exhaust()
    group = race.add_group({"lr": 1})
    first, second = race.queue
    start_all(race)
    race.report(first, 1, {"acc": 0.2})
    race.fail(first, "its pause could not be saved")
    assert race.report(second, 1, {"acc": 0.4}) is Decision.STOP
    race.stop(second)
    race.retry(first)
    assert race.groups[group].scores == {Rung(1, 2): statistics.fmean([0.2, 0.4])}
    assert race.promote_next() is not None, "or nothing would ever go on"


def test_repeated_reports_after_a_restore_change_nothing():
    race = make_race((Rung(2, 1), Rung(4, 3)))
    group = race.add_group({"lr": 1})
    start_all(race)
    key = RunKey(group, 47)
    race.report(key, 1, {"acc": 0.1})
    race.report(key, 1, {"acc": 0.1})
    assert race.report(key, 2, {"acc": 0.2}) is Decision.PAUSE
    assert race.ledger[key].curve == {1: 0.1, 2: 0.2}


def test_a_failed_group_does_not_win_even_where_it_led():
    rungs = (Rung(1, 1), Rung(2, 3))
    race = make_race(rungs)
    race.exhaust()
    good, bad = race.add_group({"lr": 1}), race.add_group({"lr": 2})
    for key, value in ((RunKey(good, 47), 0.9), (RunKey(bad, 47), 0.1)):
        race.start(key)
        race.report(key, 1, {"acc": value})
    race.fail(RunKey(good, 881), "boom")
    promotion = race.promote_next()
    assert promotion is not None and promotion.group == bad


class Listener(SuccessiveHalving):
    """Keeps what it hears of recent epochs."""

    heard: dict[str, tuple[float, ...]]

    def scored(self, group, rung, values, score, recent=()):
        self.heard = {**getattr(self, "heard", {}), group: tuple(recent)}
        super().scored(group, rung, values, score, recent)


@pytest.mark.parametrize(
    ("mode", "rule", "expected"),
    [("max", "fail", (2.5, 22.5)), ("min", "fail", (-2.5, -22.5)), ("max", "worst", (2.5, 3.0))],
)
def test_the_policy_hears_the_mean_of_recent_epochs(mode: str, rule: str, expected: tuple):
    policy = Listener((Rung(3, 2),), 3, 1)
    race = Race(
        Ledger((47, 881), Metric("acc", mode)), policy, statistics.fmean, OnSeedFailure(rule)
    )
    group = race.add_group({})
    start_all(race)
    for epoch, value in enumerate((1.0, 2.0, 3.0), start=1):
        race.report(RunKey(group, 47), epoch, {"acc": value})
        if rule == "worst" and epoch == 2:
            race.fail(RunKey(group, 881), "boom")
        elif rule != "worst":
            race.report(RunKey(group, 881), epoch, {"acc": value + 20})
    assert policy.heard[group] == expected
