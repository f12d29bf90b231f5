"""A study ends when a further full training is expected to add too little."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest

from tune_seeds.core.events import Event, SearchExhausted
from tune_seeds.core.ledger import Ledger
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung
from tune_seeds.policies.adaptive import N_PIONEERS, Adaptive
from tune_seeds.policies.base import Settling
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.race import Race
from tune_seeds.testing import Driver, check_policy, replayed

EPOCHS, SEEDS = (1, 3, 9), (47, 881, 7)


def race_of(stop_when: float | None, log: list[Event] | None = None, mode: str = "max") -> Race:
    policy = Adaptive(EPOCHS, len(SEEDS), 3, stop_when=stop_when)
    race = Race(Ledger(SEEDS, Metric("score", mode)), policy, lambda scores: float(scores.mean()))
    if log is not None:
        race.record_to(log.append)
    return race


def made_up(n: int, seed: int, sign: float = 1.0):
    """Configs whose truth is normal, with noise of the seed, and of the epoch below the last."""
    rng = np.random.default_rng(seed)
    level, noise = rng.normal(size=n), 0.2 * rng.normal(size=(n, len(SEEDS)))
    early = rng.normal(size=(n, 10))

    def train(config: Any, one: int, epoch: int) -> float:
        k = config["k"]
        value = level[k] + noise[k, SEEDS.index(one)] + 0.5 * early[k, epoch] * (epoch < 9)
        return sign * float(value)

    return [{"k": k} for k in range(n)], train, level


class Ended(NamedTuple):
    """A study at its end: how many configs it asked for, what it cost, what it chose is worth."""

    n_configs: int
    trainings: float
    truth: float


def play(stop_when: float | None, seed: int, *, n: int = 200, n_slots: int = 1) -> Ended:
    configs, train, level = made_up(n, seed)
    driver = Driver(race_of(stop_when), configs, train, n_slots=n_slots)
    race = driver.run()
    leader = race.ledger.configs[race.policy.leader() or ""]["k"]
    return Ended(len(race.groups), driver.epochs_trained / EPOCHS[-1], float(level[leader]))


@pytest.fixture(scope="module")
def played() -> dict[float | None, list[Ended]]:
    return {stop: [play(stop, seed) for seed in range(8)] for stop in (0.5, 0.02, 0.005, None)}


def mean(found: list[Ended], name: str) -> float:
    return float(np.mean([getattr(one, name) for one in found]))


@pytest.mark.slow
def test_the_more_is_asked_of_a_training_the_fewer_there_are(played: dict[Any, list[Ended]]):
    trainings = [mean(found, "trainings") for found in played.values()]
    assert trainings == sorted(trainings) and trainings[0] < trainings[2] / 2
    assert [one.n_configs for one in played[None]] == [200] * 8
    wide = [play(stop, 0, n_slots=8).n_configs for stop in (0.5, 0.005, None)]
    assert wide == sorted(wide) and wide[0] < wide[1] and wide[2] == 200


@pytest.mark.parametrize("stop_when", [0.02, 0.005])
@pytest.mark.slow
def test_what_is_given_up_is_about_what_was_said(
    played: dict[float | None, list[Ended]], stop_when: float
):
    """Each training that was saved would have added about ``stop_when`` on average, or less.

    Within a factor of two, and the error of the mean of eight studies, about 0.1 in all.
    """
    given_up = mean(played[None], "truth") - mean(played[stop_when], "truth")
    saved = mean(played[None], "trainings") - mean(played[stop_when], "trainings")
    assert saved > 10
    assert given_up < 2 * stop_when * saved + 0.1


def test_the_end_is_in_order_and_says_why():
    log: list[Event] = []
    configs, train, _ = made_up(200, 0)
    race = Driver(race_of(0.1, log), configs, train).run()
    assert race.done and len(race.groups) < 200
    assert len(race.finalists) >= 3, "the finalists were completed"
    why = race.why_exhausted or ""
    assert why.startswith("a further full training was expected to add") and "stop_when=0.1" in why
    (end,) = [event for event in log if isinstance(event, SearchExhausted)]
    assert end.why == why
    rebuilt = replayed(race_of(0.1), log)
    assert rebuilt.done and rebuilt.why_exhausted == why


def test_both_directions_of_a_metric_end_alike():
    configs, train, _ = made_up(100, 3)
    one = Driver(race_of(0.1), configs, train).run()
    configs, train, _ = made_up(100, 3, sign=-1.0)
    other = Driver(race_of(0.1, mode="min"), configs, train).run()
    assert list(one.groups) == list(other.groups)
    assert one.why_exhausted == other.why_exhausted


def test_nothing_is_said_before_there_are_pioneers():
    policy = Adaptive(EPOCHS, 3, 3, stop_when=1e6)
    configs, train, _ = made_up(50, 0)
    race = Race(Ledger(SEEDS, Metric("score", "max")), policy, lambda s: float(s.mean()))
    driver = Driver(race, configs, train)
    while policy.gain() is None:
        assert policy.settled() is None
        assert driver.step()
    assert sum(Rung(9, 1) in group.scores for group in race.groups.values()) >= N_PIONEERS
    driver.run()
    n_at_last = sum(Rung(9, 1) in group.scores for group in race.groups.values())
    assert n_at_last <= N_PIONEERS + 2, "a gain of a million is never to be had"


def test_policies_that_never_settle_need_not_say_so():
    assert isinstance(Adaptive((1,), 1), Settling)
    assert not isinstance(SuccessiveHalving((Rung(1, 1),), 3, 1), Settling)
    assert Adaptive(EPOCHS, 3, 3).settled() is None


def test_the_contract_holds_with_it():
    check_policy(lambda: Adaptive(EPOCHS, 3, 3, stop_when=0.05))


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.inf, math.nan])
def test_a_gain_that_is_none_is_refused(wrong: float):
    with pytest.raises(ValueError, match="stop_when must be above 0"):
        Adaptive(EPOCHS, 3, 3, stop_when=wrong)


def test_a_study_that_grows_goes_on_without_it():
    policy = Adaptive(EPOCHS, 3, 3, stop_when=1e6)
    assert policy.fresh(policy.rungs, 3).settled() is None
    assert policy.fresh(policy.rungs, 3)._stop_when is None
