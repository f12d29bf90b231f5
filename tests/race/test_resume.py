"""A race is left between any two events of its journal, and goes on as if it had not been."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from statistics import fmean
from typing import Any

import pytest

from tune_seeds.core.events import Event, Reported
from tune_seeds.core.ledger import Ledger, Outcome, RunKey
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import build_rungs
from tune_seeds.policies.adaptive import Adaptive
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.groups import OnSeedFailure
from tune_seeds.race.race import Race
from tune_seeds.race.waiting import Kind, Urgency, Waiting
from tune_seeds.testing import Driver

SEEDS = (47, 881, 123456789)
EPOCHS = (1, 3, 9)
N_CONFIGS = 9
POLICIES = {
    "ladder": lambda n: SuccessiveHalving(build_rungs(EPOCHS, 3, "ladder"), 3, n),
    "all": lambda n: SuccessiveHalving(build_rungs(EPOCHS, 3, "all"), 3, n),
    "adaptive": lambda n: Adaptive(EPOCHS, 3, 3, n),
}
RULES = list(OnSeedFailure)

histories = pytest.mark.parametrize("name", POLICIES)
rules = pytest.mark.parametrize("rule", RULES)


def driver(name: str, rule: OnSeedFailure, p_fail: float = 0.02) -> tuple[Driver, list[Event]]:
    """A study on three slots whose epochs end in a random order, and its journal."""
    events: list[Event] = []
    ledger = Ledger(SEEDS, Metric("acc", "max"))
    race = Race(ledger, POLICIES[name](2), fmean, rule, log=events.append)
    times = random.Random(0)

    def train(config: Mapping[str, Any], seed: int, epoch: int) -> float | Exception:
        rng = random.Random(f"{config}/{seed}/{epoch}")
        height = random.Random(str(config)).random()
        return OSError("planted") if rng.random() < p_fail else height + rng.gauss(0, 0.05)

    configs = [{"number": number} for number in range(N_CONFIGS)]
    pace = lambda key, epoch: times.expovariate(1)  # noqa: E731
    return Driver(race, configs, train, n_slots=3, epoch_time=pace), events


def new_race(name: str, rule: OnSeedFailure) -> Race:
    return driver(name, rule)[0].race


@histories
@rules
def test_a_replay_has_the_same_runs_waiting_and_training_after_every_event(name, rule):
    live, events = driver(name, rule)
    states: list[tuple[list[RunKey], frozenset[RunKey]]] = []

    def watched(event: Event) -> None:
        states.append((live.race.queue, live.race.busy))
        log(event)

    log = live.race.record_to(watched)
    live.run()
    again = new_race(name, rule)
    for event, (queue, busy) in zip(events, states, strict=True):
        assert (again.queue, again.busy) == (queue, busy), f"before {event}"
        again.apply(event)


def left_after(name: str, rule: OnSeedFailure, whole: list[Event]) -> tuple[Driver, list[Event]]:
    """A driver that finds a journal of these events, and checkpoints at rungs alone."""
    found, events = driver(name, rule, p_fail=0.0)
    for event in whole:
        found.race.apply(event)
        if isinstance(event, Reported) and event.epoch in EPOCHS:
            found.saved[RunKey(event.group, event.seed)] = event.epoch
    events.extend(whole)
    found.restore(found.race)
    return found, events


@histories
@rules
@pytest.mark.slow
def test_wherever_a_study_is_left_exactly_the_runs_that_trained_go_on_training(name, rule):
    live, whole = driver(name, rule)
    live.run()
    for cut in range(0, len(whole), 3):
        at_cut = new_race(name, rule)
        for event in whole[:cut]:
            at_cut.apply(event)
        found, events = left_after(name, rule, whole[:cut])
        trained = {
            key
            for key in at_cut.busy
            if EPOCHS[-1] not in at_cut.ledger[key].curve and not at_cut.groups[key.group].lost
        }
        waiting = found.race.queue
        assert set(waiting[: len(trained)]) == trained
        lost = {key for key in at_cut.queue if at_cut.groups[key.group].lost}
        assert waiting[len(trained) :] == [key for key in at_cut.queue if key not in lost]

        checkpoints = dict(found.saved)
        race = found.run()
        check_end(race)
        reports = Counter((e.group, e.seed, e.epoch) for e in events if isinstance(e, Reported))
        for (group, seed, epoch), n in reports.items():
            key = RunKey(group, seed)
            if n > 1:
                assert key in trained and epoch > checkpoints.get(key, 0), "trained for nothing"


def check_end(race: Race) -> None:
    assert race.done and not race.queue and not race.busy
    top = race.policy.rungs[-1]
    assert sum(top in group.scores for group in race.groups.values() if not group.lost) >= 2


def test_a_run_killed_between_its_last_report_and_its_end_has_ended():
    live, whole = driver("all", OnSeedFailure.FAIL, p_fail=0.0)
    live.run()
    last = next(k for k, e in enumerate(whole) if getattr(e, "epoch", 0) == EPOCHS[-1])
    event = whole[last]
    assert isinstance(event, Reported)
    found, _ = left_after("all", OnSeedFailure.FAIL, whole[: last + 1])
    key = RunKey(event.group, event.seed)
    assert found.race.ledger[key].outcome is Outcome.COMPLETED
    assert key not in found.race.queue


def test_a_run_past_its_rung_without_a_report_there_fails_its_group_at_its_end():
    race = Race(Ledger(SEEDS, Metric("acc", "max")), POLICIES["all"](1), max)
    group = race.add_group({})
    key = race.queue[0]
    race.start(key)
    race.apply(Reported(group, key.seed, 2, {"acc": 0.5}, None))
    race.resume()
    assert race.queue[0] == key, "it has not reached its rung, so it goes on"
    race.complete(key)
    assert race.groups[group].lost
    assert isinstance(race.ledger[key].error, str) and "at the rung" in race.ledger[key].error


@pytest.mark.parametrize("order", range(5))
def test_what_waits_is_sorted_and_found_and_taken_out(order: int):
    rng, waiting, expected = random.Random(order), Waiting(), {}
    for step in range(300):
        key = RunKey(f"g{rng.randrange(20)}", rng.randrange(3))
        if rng.random() < 0.6:
            urgency = Urgency(Kind(rng.randrange(4)), (rng.randrange(5), step))
            waiting.add(key, urgency)
            expected.setdefault(key, urgency)
        else:
            waiting.remove(key)
            expected.pop(key, None)
        assert list(waiting) == [k for _, k in sorted((u, k) for k, u in expected.items())]
        assert len(waiting) == len(expected) and all(key in waiting for key in expected)
        kinds = [urgency.kind for urgency in expected.values()]
        assert waiting.first_kind == min(kinds, default=None)
