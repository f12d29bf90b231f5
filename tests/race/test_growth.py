"""A study that is asked for more on the way ends as one that was asked for all of it at once."""

from __future__ import annotations

import random
from collections.abc import Mapping
from statistics import fmean
from typing import Any

import pytest

from tune_seeds.core.events import Event, Grown, Reported, Scored
from tune_seeds.core.ledger import Ledger, Outcome
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import build_rungs
from tune_seeds.policies.adaptive import Adaptive
from tune_seeds.policies.base import Policy
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.groups import OnSeedFailure
from tune_seeds.race.race import Confirm, Race
from tune_seeds.store.codec import decode, encode
from tune_seeds.store.rebuild.replay import misfit
from tune_seeds.testing import Driver

SEEDS = (47, 881, 123456789, 5)
KINDS = ("grid", "ladder", "all", "adaptive", "counts")


def rungs_of(kind: str, epochs: tuple[int, ...], n_seeds: int):
    if kind == "grid":
        return build_rungs(epochs[-1:], n_seeds, "all")
    given = [1, *[2] * (len(epochs) - 1)] if kind == "counts" else kind
    return build_rungs(epochs, n_seeds, given)


def policy(kind: str, epochs: tuple[int, ...], n_seeds: int, n_finalists: int) -> Policy:
    if kind == "adaptive":
        return Adaptive(epochs, n_seeds, 3, n_finalists)
    return SuccessiveHalving(rungs_of(kind, epochs, n_seeds), 3, n_finalists)


def grown(kind: str, epochs: tuple[int, ...], n_seeds: int, n_finalists: int = 2) -> Grown:
    rungs = policy(kind, epochs, n_seeds, n_finalists).rungs
    return Grown(SEEDS[:n_seeds], rungs, n_finalists, 9, {}, {}, (), "2026-01-01 00:00:00")


def new_race(kind: str, epochs: tuple[int, ...], n_seeds: int, rule: OnSeedFailure, **more) -> Race:
    ledger = Ledger(SEEDS[:n_seeds], Metric("acc", "max"))
    return Race(ledger, policy(kind, epochs, n_seeds, 2), fmean, rule, **more)


def make_train(p_fail: float):
    def train(config: Mapping[str, Any], seed: int, epoch: int) -> float | Exception:
        rng = random.Random(f"{config}/{seed}/{epoch}")
        height = random.Random(str(config)).random()
        return OSError("planted") if rng.random() < p_fail else height + rng.gauss(0, 0.05)

    return train


def drive(race: Race, n_configs: int, p_fail: float, stop_after: int | None = None) -> Driver:
    times = random.Random(1)
    configs = [{"number": number} for number in range(n_configs)]
    pace = lambda key, epoch: times.expovariate(1)  # noqa: E731
    found = Driver(race, configs, make_train(p_fail), n_slots=3, epoch_time=pace)
    for key, run in race.ledger.items():
        found.saved[key] = max((e for e in run.curve if e in found._checkpointed), default=0)
        found.saved[key] = max(found.saved[key], run.last_epoch if run.outcome is None else 0)
    for _ in range(stop_after or 100_000):
        if not found.step():
            break
    return found


def top_scores(race: Race) -> dict[str, tuple[float, dict[int, float]]]:
    top = race.policy.rungs[-1]
    return {
        str(race.ledger.configs[name]): (group.scores[top], group.values[top])
        for name, group in race.groups.items()
        if top in group.scores
    }


def rebuilt(kind: str, rule: OnSeedFailure, events: list[Event], epochs, n_seeds, **more) -> Race:
    race = new_race(kind, epochs, n_seeds, rule, **more)
    for event in events:
        assert misfit(race, event) is None
        race.apply(decode(encode(event)))
    race.record_to(events.append)
    return race


@pytest.mark.parametrize("rule", list(OnSeedFailure))
@pytest.mark.parametrize("left", [0, 7, 23, None])
def test_a_grid_grown_three_times_has_the_scores_of_one_asked_for_at_once(rule, left):
    p_fail = 0.0 if rule is OnSeedFailure.WORST else 0.01  # what stands in depends on the order
    events: list[Event] = []
    race = new_race("grid", (2,), 2, rule, log=events.append)
    drive(race, 3, p_fail, left)
    steps = [(grown("grid", (2,), 2), 5), (grown("grid", (2,), 4), 5), (grown("grid", (6,), 4), 5)]
    for event, n_configs in steps:
        race = rebuilt("grid", rule, events, (2,), 2)
        race.resume()
        assert misfit(race, event) is None
        race.grow(event)
        drive(race, n_configs, p_fail, left if event is not steps[-1][0] else None)
    at_once = new_race("grid", (6,), 4, rule)
    drive(at_once, 5, p_fail)
    assert race.done and at_once.done
    assert top_scores(race) == top_scores(at_once)
    assert {n for n, g in race.groups.items() if g.lost} == {
        n for n, g in at_once.groups.items() if g.lost
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", list(OnSeedFailure))
@pytest.mark.parametrize("left", [1, 9, 31, None])
@pytest.mark.slow
def test_what_is_known_stays_known_and_a_replay_stands_where_the_study_did(kind, rule, left):
    events: list[Event] = []
    race = new_race(kind, (1, 3), 2, rule, log=events.append)
    drive(race, 6, 0.02, left)
    steps = [
        (grown(kind, (1, 3), 2, 3), 8),
        (grown(kind, (1, 3), 3, 3), 8),
        (grown(kind, (1, 3, 9), 3, 3), 9),
        (grown(kind, (1, 3, 9), 4, 4), 9),
    ]
    for number, (event, n_configs) in enumerate(steps):
        before = {key: dict(run.curve) for key, run in race.ledger.items()}
        scores = {name: dict(group.scores) for name, group in race.groups.items()}
        race = rebuilt(kind, rule, events, (1, 3), 2)
        race.resume()
        race.grow(event)
        for key, curve in before.items():
            assert race.ledger[key].curve.items() >= curve.items()
        for name, known in scores.items():
            kept = {rung: score for rung, score in known.items() if rung in event.rungs}
            assert race.groups[name].scores.items() >= kept.items()
        assert not race.busy and race.ledger.seeds == event.seeds

        again = rebuilt(kind, rule, list(events), (1, 3), 2)
        assert (again.queue, again.busy) == (race.queue, race.busy)
        assert again.groups == race.groups
        last = number == len(steps) - 1
        drive(race, n_configs, 0.02, None if last else left)
        again = rebuilt(kind, rule, list(events), (1, 3), 2)
        assert (again.queue, again.busy) == (race.queue, race.busy)
        assert again.policy.leader() == race.policy.leader()
    assert race.done
    alive = [g for g in race.groups.values() if not g.lost]
    top = race.policy.rungs[-1]
    assert top.n_seeds == 4 and top.epochs == 9
    assert sum(top in group.scores for group in alive) >= min(4, len(alive))
    by_event = [e for e in events if isinstance(e, Scored) and e.rung == top]
    assert {e.group: e.score for e in by_event} == {
        name: group.scores[top] for name, group in race.groups.items() if top in group.scores
    }


def test_runs_that_ended_go_on_from_where_they_ended():
    events: list[Event] = []
    race = new_race("all", (1, 3), 2, OnSeedFailure.FAIL, log=events.append)
    drive(race, 4, 0.0)
    assert {run.outcome for run in race.ledger.values()} <= {Outcome.COMPLETED, None}
    race.grow(grown("all", (1, 3, 9), 2))
    n = len(events)
    drive(race, 4, 0.0)
    repeated = [e for e in events[n:] if isinstance(e, Reported) and e.epoch <= 1]
    assert not repeated and race.done


def test_configs_are_confirmed_again_where_they_trained_for_less():
    events: list[Event] = []
    confirm = Confirm((900, 901), 2)
    race = new_race("ladder", (1, 3), 2, OnSeedFailure.FAIL, confirm=confirm, log=events.append)
    drive(race, 4, 0.0)
    fresh = [key for key in race.ledger if key.seed >= 900]
    assert len(fresh) == 4 and all(race.ledger[key].last_epoch == 3 for key in fresh)
    race.grow(grown("ladder", (1, 3, 9), 2))
    drive(race, 4, 0.0)
    assert race.done
    for name in race.finalists[:2]:
        for seed in (900, 901):
            assert race.ledger[(name, seed)].last_epoch == 9


REFUSED = {
    "seeds in another order": Grown((881, 47), (), 1, 1, {}, {}, (), ""),
    "fewer seeds": Grown((47,), (), 1, 1, {}, {}, (), ""),
    "a confirmed seed": Grown((47, 881, 900), (), 1, 1, {}, {}, (), ""),
    "shorter training": grown("ladder", (1, 2), 2),
    "rungs of other seeds": Grown(
        SEEDS[:3], grown("ladder", (1, 3), 2).rungs, 1, 1, {}, {}, (), ""
    ),
}


@pytest.mark.parametrize("event", REFUSED.values(), ids=REFUSED)
def test_what_is_no_growth_does_not_fit(event: Grown):
    race = new_race("ladder", (1, 3), 2, OnSeedFailure.FAIL, confirm=Confirm((900,), 1))
    drive(race, 4, 0.0)
    assert isinstance(misfit(race, event), str)
