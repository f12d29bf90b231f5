"""The driver of a race without Ray: its clock, its slots, what it counts."""

from __future__ import annotations

from statistics import fmean

import pytest

from tune_seeds.core.events import Event
from tune_seeds.core.ledger import Ledger, Outcome, RunKey
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.race import Race
from tune_seeds.testing import Driver, replayed

RUNGS = (Rung(1, 1), Rung(3, 1), Rung(3, 2))


def race(n_finalists: int = 1, log: list[Event] | None = None) -> Race:
    policy = SuccessiveHalving(RUNGS, 3, n_finalists)
    made = Race(Ledger((7, 8), Metric("loss", "min")), policy, fmean)
    if log is not None:
        made.record_to(log.append)
    return made


CONFIGS = [{"x": x} for x in (3.0, 1.0, 2.0)]


def loss(config, seed: int, epoch: int) -> float:
    return config["x"] - epoch / 10


def test_a_study_is_driven_to_its_end_and_its_time_is_counted():
    driver = Driver(race(), CONFIGS, loss)
    ended = driver.run()
    assert ended.done
    assert ended.policy.leader() == "g0002", "the lowest loss wins"
    # Three configs for an epoch, the best of them for two more, and three on the second seed.
    assert driver.epochs_trained == driver.now == driver.busy_time == 3 + 2 + 3


def test_slots_work_at_once_and_the_earliest_end_comes_first():
    order: list[tuple[str, int]] = []

    def train(config, seed: int, epoch: int) -> float:
        order.append((f"{config['x']:g}", epoch))
        return config["x"]

    speed = {"g0001": 4.0, "g0002": 1.0, "g0003": 2.0}
    driver = Driver(
        race(3), CONFIGS, train, n_slots=3, epoch_time=lambda key, epoch: speed[key.group]
    )
    driver.step()
    assert order == [("1", 1)]
    assert driver.now == 1
    assert driver.busy_time == 3
    assert set(driver.slots) == {RunKey("g0001", 7), RunKey("g0003", 7)}
    driver.run()
    assert driver.busy_time <= 3 * driver.now
    assert driver.epochs_trained == len(order) == 3 * 2 * 3


def test_a_run_that_fails_gives_its_slot_away():
    def train(config, seed: int, epoch: int) -> float | Exception:
        return RuntimeError("boom") if config["x"] == 1 else config["x"]

    driver = Driver(race(), CONFIGS, train, n_slots=2)
    ended = driver.run()
    assert ended.failed == ["g0002"]
    assert ended.ledger[RunKey("g0002", 7)].error == "RuntimeError: boom"
    assert ended.policy.leader() == "g0003"


def test_after_a_restore_runs_go_on_from_their_checkpoints():
    log: list[Event] = []
    driver = Driver(race(3, log), CONFIGS, loss, n_slots=2)
    for _ in range(6):
        driver.step()
    held = set(driver.slots)
    driver.restore(replayed(race(3, log), list(log)))
    driver.race.record_to(log.append)
    assert not driver.slots
    ended = driver.run()
    assert ended.done
    assert held <= {key for key, run in ended.ledger.items() if run.outcome is Outcome.COMPLETED}


def test_the_race_is_told_how_wide_it_is():
    asked: list[tuple[int, int]] = []

    class Asked(SuccessiveHalving):
        def propose(self, *, exhausted: bool, n_slots: int = 1, n_busy: int = 0):
            asked.append((n_slots, n_busy))
            return super().propose(exhausted=exhausted)

    made = Race(Ledger((7, 8), Metric("loss", "min")), Asked(RUNGS, 3, 1), fmean)
    driver = Driver(made, CONFIGS, loss, n_slots=2)
    driver.step()
    driver.n_slots = 5
    driver.run()
    assert {n for n, _ in asked} == {2, 5}
    assert {busy for _, busy in asked} >= {0, 1, 2}
    with pytest.raises(ValueError, match="n_slots=0"):
        driver.n_slots = 0


def test_a_policy_that_goes_round_in_circles_is_an_error():
    with pytest.raises(RuntimeError, match="has not ended after 5 epochs"):
        Driver(race(), CONFIGS, loss).run(5)
