"""Failed runs that are tried again, where the study had gone on without them."""

from __future__ import annotations

import random
from statistics import fmean

import pytest
from made_race import POLICIES, SEEDS, value

from tune_seeds.core.events import Event, RunRetried
from tune_seeds.core.ledger import Ledger, Outcome, RunKey
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.groups import OnSeedFailure
from tune_seeds.race.race import Decision, Race
from tune_seeds.store.rebuild.integrity import check_integrity
from tune_seeds.store.rebuild.replay import replay
from tune_seeds.testing import Driver


def new_race(name: str, rule: str, events: list[Event] | None = None) -> Race:
    ledger = Ledger(SEEDS, Metric("acc", "min"))
    log = (lambda event: None) if events is None else events.append
    return Race(ledger, POLICIES[name](), fmean, OnSeedFailure(rule), log=log)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("rule", list(OnSeedFailure))
@pytest.mark.parametrize("order", range(6))
def test_a_study_with_retries_is_read_at_every_moment(name: str, rule: str, order: int):
    events: list[Event] = []
    rng = random.Random(order)
    race = new_race(name, rule, events)
    configs = [{"number": number} for number in range(8)]
    driver = Driver(
        race, configs, value, n_slots=3, epoch_time=lambda key, epoch: rng.expovariate(1)
    )
    for _ in range(60):
        failed = [key for key, run in race.ledger.items() if run.outcome is Outcome.FAILED]
        if failed and rng.random() < 0.1:
            race.retry(rng.choice(failed))
        elif driver.slots and rng.random() < 0.15:
            driver.fail(rng.choice(sorted(driver.slots)), "planted")
        else:
            driver.step()
    for key in [key for key, run in race.ledger.items() if run.outcome is Outcome.FAILED]:
        race.retry(key)
    driver.run()
    assert race.done

    reader = new_race(name, rule)
    for event in events:
        replay(reader, [event])
        check_integrity(reader)
    assert any(isinstance(event, RunRetried) for event in events)
    for group_name, group in race.groups.items():
        assert not group.stale and not group.lost
        for rung, scored in group.values.items():
            own = race.ledger.values_at(group_name, rung)
            assert own == tuple(scored[seed] for seed in SEEDS[: rung.n_seeds])
            assert group.scores[rung] == fmean(own)


@pytest.mark.parametrize("rule", ["worst", "drop"])
def test_every_rung_that_was_scored_without_a_seed_is_scored_again_and_told(rule: str):
    rungs = (Rung(1, 2), Rung(3, 2))
    ledger = Ledger((1, 2), Metric("acc", "max"))
    race = Race(ledger, SuccessiveHalving(rungs, 3, 1), fmean, OnSeedFailure(rule))
    group = race.add_group({})
    first, second = race.queue
    race.exhaust()
    for key in (first, second):
        race.start(key)
    race.fail(second, "boom")
    assert race.report(first, 1, {"acc": 0.4}) is Decision.CONTINUE
    race.report(first, 3, {"acc": 0.6})
    race.complete(first)
    assert race.done
    race.news.clear()

    race.retry(second)
    assert race.queue == [second] and not race.done
    check_integrity(race)
    race.start(second)
    race.report(second, 1, {"acc": 0.8})
    assert race.groups[group].scores == {rungs[0]: fmean([0.4, 0.8]), rungs[1]: 0.6}
    race.report(second, 3, {"acc": 1.0})
    race.complete(second)
    assert race.groups[group].scores[rungs[1]] == fmean([0.6, 1.0])
    assert [(item.rung, item.score) for item in race.news] == [
        (rungs[0], fmean([0.4, 0.8])),
        (rungs[1], fmean([0.6, 1.0])),
    ]
    assert race.done


@pytest.mark.parametrize("rule", ["worst", "drop"])
def test_a_retry_that_fails_again_leaves_the_scores_as_they_were(rule: str):
    race = Race(
        Ledger((1, 2), Metric("acc", "max")),
        SuccessiveHalving((Rung(1, 2),), 3, 1),
        fmean,
        OnSeedFailure(rule),
    )
    group = race.add_group({})
    race.exhaust()
    race.fail(RunKey(group, 2), "boom")
    race.start(RunKey(group, 1))
    race.report(RunKey(group, 1), 1, {"acc": 0.4})
    race.complete(RunKey(group, 1))
    race.retry(RunKey(group, 2))
    race.start(RunKey(group, 2))
    race.fail(RunKey(group, 2), "boom again")
    assert race.groups[group].scores == {Rung(1, 2): 0.4}
    check_integrity(race)
    assert race.done
