"""Drive a race without Ray: slots, a clock, and a function in the place of training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tune_seeds.core.events import Event
from tune_seeds.core.ledger import RunKey
from tune_seeds.race.race import Decision, Race
from tune_seeds.store.codec import decode, encode

#: What a run reports at an epoch, or an exception that it fails with: config, seed, epoch → metric.
Train = Callable[[Mapping[str, Any], int, int], float | Exception]


def one_unit(key: RunKey, epoch: int) -> float:
    """Every epoch takes one unit of time."""
    return 1.0


class Driver:
    """Slots that train the runs which a race asks for, in the order in which their epochs end.

    An event is the end of one epoch of one run. ``step`` lets the earliest happen; ``run`` goes on
    until nothing is left to do. A test that wants another order calls ``advance`` or ``fail`` for
    the run of its choice, and one that has values of its own calls ``report``.

    Args:
        race: a race that nobody else drives.
        configs: what is suggested, in this order.
        train: one epoch of a run, its value in the metric's own direction.
        n_slots: runs that train at once, at least 1; may be set while the race is on.
        epoch_time: how long an epoch of a run takes, above 0, in any unit.
        on_start: hears of each run that gets a slot, again after a pause.

    Attributes:
        now: the time.
        slots: the runs that hold a slot → the epoch that each of them has come to.
        saved: runs → the epoch of their last checkpoint, from which they go on after a pause or a
            restore. Checkpoints are taken at the epochs of rungs.
        epochs_trained: by all runs together.
        busy_time: time that slots were held, over all of them; divided by ``now · n_slots`` it is
            the utilisation.
        withheld: while it is true no config is suggested, as by a searcher that waits for results.

    Example:
        A ladder over nine made-up configs on four slots::

            rungs = build_rungs((1, 3, 9), 3, "ladder")
            race = Race(Ledger((0, 1, 2), Metric("acc", "max")), SuccessiveHalving(rungs, 3), mean)
            configs = [{"lr": 10.0**-k} for k in range(9)]
            Driver(race, configs, lambda config, seed, epoch: config["lr"] * epoch, n_slots=4).run()
    """

    def __init__(
        self,
        race: Race,
        configs: Sequence[Mapping[str, Any]],
        train: Train,
        *,
        n_slots: int = 1,
        epoch_time: Callable[[RunKey, int], float] = one_unit,
        on_start: Callable[[RunKey], None] = lambda key: None,
    ) -> None:
        self.race = race
        self.now = 0.0
        self.slots: dict[RunKey, int] = {}
        self.saved: dict[RunKey, int] = {}
        self.epochs_trained = 0
        self.busy_time = 0.0
        self.withheld = False
        self._configs = configs
        self._train = train
        self._epoch_time = epoch_time
        self._on_start = on_start
        self._due: dict[RunKey, float] = {}
        self._checkpointed = {rung.epochs for rung in race.policy.rungs}
        self.n_slots = n_slots

    @property
    def n_slots(self) -> int:
        """Runs that train at once."""
        return self._n_slots

    @n_slots.setter
    def n_slots(self, n_slots: int) -> None:
        if n_slots < 1:
            raise ValueError(f"a race needs at least one slot, got n_slots={n_slots}")
        self._n_slots = n_slots
        self.race.set_slots(n_slots)

    def restore(self, race: Race) -> None:
        """Go on with a race that was rebuilt, as after a kill of the process that decided.

        Runs that held a slot lose it, and go on from their last checkpoint, which may be older than
        their last report.
        """
        self.race = race
        race.set_slots(self._n_slots)
        race.resume()
        self.slots.clear()
        self._due.clear()
        if len(race.groups) >= len(self._configs):
            race.exhaust()

    def take(self) -> RunKey | None:
        """Give a slot to the run that the race wants most, or to a new config; None if to nobody.

        How many slots there are is not looked at here; ``fill`` does.
        """
        race = self.race
        race.promote_next()
        if not race.queue and not self.withheld:
            if len(race.groups) < len(self._configs) and race.settled() is None:
                race.add_group(dict(self._configs[len(race.groups)]))
            else:
                race.exhaust(race.settled())
                race.promote_next()
        race.news.clear()
        if not race.queue:
            return None
        key = race.queue[0]
        race.start(key)
        self.slots[key] = self.saved.get(key, 0)
        self._set_clock(key)
        self._on_start(key)
        return key

    def fill(self) -> None:
        """Give out the free slots."""
        while len(self.slots) < self._n_slots and self.take() is not None:
            pass

    def step(self) -> bool:
        """Fill the slots and let the next epoch end; False when nothing is left to do."""
        self.fill()
        if not self.slots:
            return False
        key = min(self._due, key=self._due.__getitem__)
        self.busy_time += (self._due[key] - self.now) * len(self.slots)
        self.now = self._due[key]
        self.advance(key)
        return True

    def run(self, limit: int = 1_000_000) -> Race:
        """Drive the race to its end.

        Raises:
            RuntimeError: it has not ended after ``limit`` epochs; the policy goes round in circles.
        """
        for _ in range(limit):
            if not self.step():
                return self.race
        raise RuntimeError(f"the race has not ended after {limit} epochs")

    def advance(self, key: RunKey) -> None:
        """Train one epoch of a run that holds a slot."""
        config = self.race.ledger.configs[key.group]
        self.report(key, self._train(config, key.seed, self.slots[key] + 1))

    def report(self, key: RunKey, value: float | Exception) -> None:
        """One epoch of a run that holds a slot ends with a value, or the run fails."""
        if isinstance(value, Exception):
            self.fail(key, f"{type(value).__name__}: {value}")
            return
        epoch = self.slots[key] + 1
        self.slots[key] = epoch
        self.epochs_trained += 1
        decision = self.race.report(key, epoch, {self.race.ledger.metric.name: value})
        if epoch in self._checkpointed:
            self.saved[key] = epoch
        if decision is Decision.CONTINUE:
            self._set_clock(key)
            return
        self._free(key)
        if decision is Decision.FINISH:
            self.race.complete(key)
        elif decision is Decision.STOP:
            self.race.stop(key)

    def fail(self, key: RunKey, error: str) -> None:
        """A run that holds a slot fails."""
        self._free(key)
        self.race.fail(key, error)

    def _set_clock(self, key: RunKey) -> None:
        self._due[key] = self.now + self._epoch_time(key, self.slots[key] + 1)

    def _free(self, key: RunKey) -> None:
        del self.slots[key]
        del self._due[key]


def replayed(race: Race, events: Iterable[Event]) -> Race:
    """Rebuild a race from its events, as a restore does: each goes through the journal's text.

    Args:
        race: a new race like the one that logged the events.
        events: what that one logged, in order.
    """
    for event in events:
        race.apply(decode(encode(event)))
    race.news.clear()
    return race
