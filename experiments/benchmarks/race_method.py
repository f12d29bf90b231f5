"""The package's own policies as methods of the replay: the race is the one that Ray drives."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Sequence

from benchmarks.simulate import Job

from tune_seeds.core.ledger import Ledger, RunKey
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung
from tune_seeds.policies.base import Policy
from tune_seeds.race.race import Race
from tune_seeds.testing.driver import Driver


class RaceMethod:
    """A race under a policy, over configs in the given order.

    Args:
        shape: configs, seeds, epochs.
        policy: who goes on.
        leader: the group that would be the answer now; without it the best score at the highest
            rung that any group has reached.
        n_slots: jobs that run at once.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        policy: Policy,
        leader: Callable[[], str | None] | None = None,
        n_slots: int = 1,
    ) -> None:
        n_configs, n_seeds, _ = shape
        race = Race(Ledger(range(n_seeds), Metric("value", "max")), policy, statistics.fmean)
        configs = [{"config": config} for config in range(n_configs)]
        self.race = race
        self._driver = Driver(race, configs, _never_called, n_slots=n_slots)
        self._going: deque[RunKey] = deque()
        self._leader = leader or self._highest

    def ask(self) -> Job | None:
        """What the race gives a free slot."""
        key = self._going.popleft() if self._going else self._driver.take()
        if key is None:
            return None
        config = int(self.race.ledger.configs[key.group]["config"])
        return Job(config, key.seed, self._driver.slots[key], self.race.target(key))

    def tell(self, job: Job, values: Sequence[float]) -> None:
        """Report every epoch, until the race stops the run of a group that can't win any more."""
        key = RunKey(_name(job.config), job.seed)
        for value in values:
            if key in self._driver.slots:
                self._driver.report(key, value)
        if key in self._driver.slots:
            self._going.append(key)

    def best(self) -> int | None:
        """The config of the leading group."""
        leader = self._leader()
        return None if leader is None else int(self.race.ledger.configs[leader]["config"])

    def _highest(self) -> str | None:
        def standing(group: str) -> tuple[Rung, float]:
            return max(self.race.groups[group].scores.items())

        ranked = [name for name, g in self.race.groups.items() if g.scores and not g.failures]
        return max(ranked, key=standing, default=None)


def _name(config: int) -> str:
    return f"g{config + 1:04d}"


def _never_called(config: object, seed: int, epoch: int) -> float:
    raise AssertionError("values come from the table")
