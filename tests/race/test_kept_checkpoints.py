"""Checkpoints that nothing needs are dropped; whatever goes on still finds its own."""

from __future__ import annotations

import random
from statistics import fmean

import pytest
from made_race import EPOCHS, POLICIES, SEEDS, value

from tune_seeds.core.events import Event
from tune_seeds.core.ledger import Ledger, Outcome, RunKey
from tune_seeds.core.metric import Metric
from tune_seeds.race.kept_checkpoints import KeepCheckpoints, n_kept, not_kept, superseded
from tune_seeds.race.race import Decision, Race
from tune_seeds.testing import Driver, replayed


class Storage:
    """The checkpoints of a study on a disk; ``race`` writes there and drops what it can."""

    def __init__(self, policy: str, keep: KeepCheckpoints) -> None:
        self.policy, self.keep = policy, keep
        self.files: set[str] = set()
        self.written = 0
        self.events: list[Event] = []
        self.race = self.new_race()
        self.race.record_to(self.events.append)

    def new_race(self) -> Race:
        ledger = Ledger(SEEDS, Metric("acc", "max"))
        return Race(ledger, POLICIES[self.policy](), fmean)

    def rebuilt(self) -> Race:
        """The race as a restore rebuilds it."""
        self.race = replayed(self.new_race(), self.events)
        self.race.record_to(self.events.append)
        self.watch()
        return self.race

    def watch(self) -> None:
        report = self.race.report

        def with_checkpoint(key: RunKey, epoch: int, metrics: dict[str, float]) -> Decision:
            if epoch not in EPOCHS:
                return report(key, epoch, metrics)
            self.written += 1
            path = f"{key.group}-{key.seed}/checkpoint_{self.written:06d}"
            self.files.add(path)
            before = self.race.ledger[key].checkpoints.get(epoch)
            decision = report(key, epoch, metrics, path, 500)
            if self.keep is not KeepCheckpoints.ALL:
                for old in superseded(self.race, key):
                    self.files.remove(self.race.drop_checkpoint(key, old))
                if before is not None:
                    self.files.remove(before)
            return decision

        self.race.report = with_checkpoint

    def end(self) -> None:
        for key, epoch in not_kept(self.race, self.keep):
            self.files.remove(self.race.drop_checkpoint(key, epoch))


@pytest.mark.parametrize("keep", list(KeepCheckpoints))
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("order", range(4))
def test_whatever_goes_on_finds_its_checkpoint(keep: KeepCheckpoints, policy: str, order: int):
    rng = random.Random(order)
    storage = Storage(policy, keep)
    storage.watch()
    configs = [{"number": number} for number in range(10)]

    def started(key: RunKey) -> None:
        epoch = driver.saved.get(key, 0)
        assert epoch == 0 or storage.race.ledger[key].checkpoints[epoch] in storage.files

    driver = Driver(storage.race, configs, value, n_slots=4, on_start=started)
    for _ in range(200):
        race, moment = storage.race, rng.random()
        failed = [key for key, run in race.ledger.items() if run.outcome is Outcome.FAILED]
        if moment < 0.05 and driver.slots:
            driver.fail(rng.choice(sorted(driver.slots)), "planted")
        elif moment < 0.1 and failed:
            race.retry(rng.choice(failed))
        elif moment < 0.15:
            driver.restore(storage.rebuilt())
        elif not driver.step():
            break
        known = {p for run in storage.race.ledger.values() for p in run.checkpoints.values()}
        assert known == storage.files
    driver.run()
    storage.end()

    race = storage.race
    assert race.done and n_kept(race) == (len(storage.files), 500 * len(storage.files))
    rebuilt = replayed(storage.new_race(), storage.events)
    for key, run in race.ledger.items():
        assert rebuilt.ledger[key].checkpoints == run.checkpoints
        is_best = key.group in race.finalists[:1]
        is_kept = is_best or (key.group in race.finalists and keep is KeepCheckpoints.FINALISTS)
        lost = any(race.ledger[RunKey(key.group, s)].outcome is Outcome.FAILED for s in SEEDS)
        if keep is KeepCheckpoints.ALL:
            continue
        assert len(run.checkpoints) <= 1
        if is_kept:
            assert list(run.checkpoints) == [9]
        elif not lost:
            assert not run.checkpoints

    # A retry long after the end still finds what it needs.
    for key in [key for key, run in race.ledger.items() if run.outcome is Outcome.FAILED]:
        race.retry(key)
    driver.run()


def test_a_run_that_began_anew_keeps_the_checkpoint_that_it_reported_last():
    storage = Storage("all", KeepCheckpoints.FINALISTS)
    race = storage.race
    key = RunKey(race.add_group({"x": 1}), 47)
    race.start(key)
    for number, epoch in enumerate((1, 3, 1)):
        race.report(key, epoch, {"acc": 0.5}, f"c{number}", 10)
    assert race.ledger[key].checkpoints == {3: "c1", 1: "c2"}
    assert superseded(race, key) == [], "Ray goes on from c2, a restore from c1"
    race.report(key, 3, {"acc": 0.5}, "c3", 10)
    assert superseded(race, key) == [1] and race.drop_checkpoint(key, 1) == "c2"
    assert n_kept(race) == (1, 10)


def test_nothing_is_dropped_of_a_study_that_is_not_done():
    storage = Storage("all", KeepCheckpoints.BEST)
    key = RunKey(storage.race.add_group({"x": 1}), 47)
    storage.race.start(key)
    storage.race.report(key, 1, {"acc": 0.5}, "c", 10)
    assert not_kept(storage.race, KeepCheckpoints.BEST) == []


def test_a_directory_that_two_checkpoints_share_stays_while_one_of_them_is_needed():
    storage = Storage("all", KeepCheckpoints.FINALISTS)
    race = storage.race
    key = RunKey(race.add_group({"x": 1}), 47)
    race.start(key)
    for epoch, path in ((1, "c0"), (3, "c1"), (9, "c1")):  # as older versions could write them
        race.report(key, epoch, {"acc": 0.5}, path, 10)
    assert superseded(race, key) == [1]
