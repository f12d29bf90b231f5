from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from race_driver import Driver

from tune_seeds.journal import decode, encode
from tune_seeds.ledger import TO_THE_END, Ledger, Outcome, Rung, RunKey
from tune_seeds.policy import SuccessiveHalving
from tune_seeds.race import Decision, OnSeedFailure, Race, RungMissedError
from tune_seeds.rungs import build_rungs, milestones

SEEDS = (47, 881, 123456789)


def make_race(rungs: tuple[Rung, ...], n_finalists: int = 1, mode: str = "max") -> Race:
    ledger = Ledger(SEEDS, "acc", mode)
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
    race.exhausted = True
    group = race.add_group({"lr": 1})
    start_all(race)
    key = RunKey(group, 47)
    assert race.report(key, 1, {"acc": 0.2}) is Decision.CONTINUE
    assert race.queue == [RunKey(group, 881), RunKey(group, 123456789)]
    assert race.busy == {key}


def test_a_seed_added_late_trains_all_the_way():
    race = make_race((Rung(1, 1), Rung(2, 2)))
    race.exhausted = True
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
    race.exhausted = True
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


def test_repeated_reports_after_a_restore_change_nothing():
    race = make_race((Rung(2, 1), Rung(4, 3)))
    group = race.add_group({"lr": 1})
    start_all(race)
    key = RunKey(group, 47)
    race.report(key, 1, {"acc": 0.1})
    race.report(key, 1, {"acc": 0.1})
    assert race.report(key, 2, {"acc": 0.2}) is Decision.PAUSE
    assert race.ledger[key].curve == {1: 0.1, 2: 0.2}


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
    race = Race(Ledger((47, 881), "acc", mode), policy, statistics.fmean, OnSeedFailure(rule))
    group = race.add_group({})
    start_all(race)
    for epoch, value in enumerate((1.0, 2.0, 3.0), start=1):
        race.report(RunKey(group, 47), epoch, {"acc": value})
        if rule == "worst" and epoch == 2:
            race.fail(RunKey(group, 881), "boom")
        elif rule != "worst":
            race.report(RunKey(group, 881), epoch, {"acc": value + 20})
    assert policy.heard[group] == expected


def noisy(number: int, seed: int, epoch: int) -> float:
    noise = random.Random(f"{number}/{seed}/{epoch}").gauss(0, 0.05)
    return random.Random(number).random() * (1 - 2 ** (-epoch)) + noise


ladders = st.sampled_from(["ladder", "all", [1, 1, 3], [1, 2, 2], [2, 2, 3]])


@settings(max_examples=150, deadline=None)
@given(
    seeds_per_rung=ladders,
    n_configs=st.integers(1, 40),
    n_slots=st.integers(1, 6),
    n_finalists=st.integers(1, 4),
    p_fail=st.sampled_from([0.0, 0.01, 0.1]),
    p_restore=st.sampled_from([0.0, 0.02]),
    order=st.integers(0, 10**6),
)
def test_every_history_ends_with_complete_finalists(
    seeds_per_rung: str | list[int],
    n_configs: int,
    n_slots: int,
    n_finalists: int,
    p_fail: float,
    p_restore: float,
    order: int,
):
    rungs = build_rungs(milestones(9, 1, 3), len(SEEDS), seeds_per_rung)
    driver = Driver(
        make_policy=lambda: SuccessiveHalving(rungs, 3, n_finalists),
        seeds=SEEDS,
        n_configs=n_configs,
        n_slots=n_slots,
        curve=noisy,
        rng=random.Random(order),
        p_fail=p_fail,
        p_restore=p_restore,
    )
    race = driver.run()
    assert race.done
    assert not race.queue and not race.busy
    assert len(race.groups) == n_configs
    alive = [name for name, group in race.groups.items() if not group.failures]
    complete = [name for name in alive if rungs[-1] in race.groups[name].scores]
    assert len(complete) >= min(n_finalists, len(alive))
    for name in complete:
        for seed in SEEDS:
            assert max(race.ledger[RunKey(name, seed)].curve) == 9
            assert race.ledger[RunKey(name, seed)].outcome is Outcome.COMPLETED
    for group in race.groups.values():
        assert not group.heading


@pytest.mark.parametrize("seeds_per_rung", ["ladder", "all", [1, 2, 3]])
def test_what_the_journal_holds_rebuilds_the_race(seeds_per_rung: str | list[int]):
    rungs = build_rungs(milestones(9, 1, 3), len(SEEDS), seeds_per_rung)
    driver = Driver(
        lambda: SuccessiveHalving(rungs, 3, 2), SEEDS, 20, 3, noisy, random.Random(1), p_fail=0.02
    )
    race = driver.run()
    again = make_race(rungs, 2)
    for event in driver.log:
        again.apply(decode(encode(event)))
    again.exhausted = True
    assert again.groups == race.groups
    assert dict(again.ledger) == dict(race.ledger)
    assert again.done


def test_a_failed_group_does_not_win_even_where_it_led():
    rungs = (Rung(1, 1), Rung(2, 3))
    race = make_race(rungs)
    race.exhausted = True
    good, bad = race.add_group({"lr": 1}), race.add_group({"lr": 2})
    for key, value in ((RunKey(good, 47), 0.9), (RunKey(bad, 47), 0.1)):
        race.start(key)
        race.report(key, 1, {"acc": value})
    race.fail(RunKey(good, 881), "boom")
    promotion = race.promote_next()
    assert promotion is not None and promotion.group == bad
