"""Drives a race with made-up curves: slots, random order, failures, restores."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tune_seeds.events import Event
from tune_seeds.journal import decode, encode
from tune_seeds.ledger import Ledger, RunKey
from tune_seeds.policy import Policy
from tune_seeds.race import Decision, OnSeedFailure, Race

Curve = Callable[[int, int, int], float]  # config number, seed, epoch -> metric


@dataclass
class Driver:
    """Slots that train the runs a race asks for, epoch by epoch, in random order.

    A restore throws the race away and rebuilds it from its journal; runs that held a slot go on
    from their last checkpoint, which may be older than their last report.
    """

    make_policy: Callable[[], Policy]
    seeds: Sequence[int]
    n_configs: int
    n_slots: int
    curve: Curve
    rng: random.Random
    p_fail: float = 0.0
    p_restore: float = 0.0
    withheld: bool = False  # the searcher has nothing to suggest for now
    on_seed_failure: OnSeedFailure = OnSeedFailure.FAIL
    log: list[Event] = field(default_factory=list)
    slots: dict[RunKey, int] = field(default_factory=dict)
    saved: dict[RunKey, int] = field(default_factory=dict)
    idle: int = 0
    epochs_trained: int = 0
    race: Race = field(init=False)

    def __post_init__(self) -> None:
        self.race = self._new_race()
        self.race.log = self.log.append

    def _new_race(self) -> Race:
        ledger = Ledger(self.seeds, "acc", "max")
        return Race(ledger, self.make_policy(), statistics.fmean, self.on_seed_failure)

    def restore(self) -> None:
        race = self._new_race()
        for event in self.log:
            race.apply(decode(encode(event)))
        race.news.clear()
        self.race = race
        self.race.log = self.log.append
        self.race.settle_all()
        self.slots.clear()
        self.race.exhausted = len(race.groups) >= self.n_configs

    def fill(self) -> None:
        race = self.race
        while len(self.slots) < self.n_slots:
            race.promote_next()
            if not race.queue and not self.withheld:
                if len(race.groups) < self.n_configs:
                    race.add_group({"number": len(race.groups)})
                else:
                    race.exhausted = True
                    race.promote_next()
            if not race.queue:
                return
            key = race.queue[0]
            race.start(key)
            self.slots[key] = self.saved.get(key, 0)

    def step(self) -> bool:
        """One report of one run; False when nothing is left to do."""
        if self.rng.random() < self.p_restore:
            self.restore()
        self.fill()
        if not self.slots:
            return False
        key = self.rng.choice(sorted(self.slots))
        if self.rng.random() < self.p_fail:
            self.fail(key)
        else:
            self.advance(key)
        return True

    def fail(self, key: RunKey) -> None:
        del self.slots[key]
        self.race.fail(key, "planted")

    def advance(self, key: RunKey) -> None:
        """Train one epoch of a run that holds a slot."""
        epoch = self.slots[key] + 1
        self.slots[key] = epoch
        self.epochs_trained += 1
        number = self.race.ledger.configs[key.group]["number"]
        value = self.curve(number, key.seed, epoch)
        decision = self.race.report(key, epoch, {"acc": value})
        if epoch in {rung.epochs for rung in self.race.policy.rungs}:
            self.saved[key] = epoch
        if decision is Decision.CONTINUE:
            return
        del self.slots[key]
        if decision is Decision.FINISH:
            self.race.complete(key)
        elif decision is Decision.STOP:
            self.race.stop(key)

    def run(self, limit: int = 100_000) -> Race:
        for _ in range(limit):
            if not self.step():
                return self.race
        raise AssertionError("the race does not end")
