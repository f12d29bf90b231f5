"""The package's own policies in the replay: the same race as the live scheduler drives."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Sequence

from benchmarks.simulate import Job

from tune_seeds.ledger import Ledger, Rung, RunKey
from tune_seeds.policy import Policy
from tune_seeds.race import Decision, Race

METRIC = "value"


class RaceMethod:
    """A race under a policy, over configs in the given order.

    Args:
        shape: configs, seeds, epochs.
        policy: who goes on.
        leader: the group that would be the answer now; without it the best score at the highest
            rung that any group has reached.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        policy: Policy,
        leader: Callable[[], str | None] | None = None,
    ) -> None:
        self._n_configs, n_seeds, _ = shape
        self.race = Race(Ledger(range(n_seeds), METRIC, "max"), policy, statistics.fmean)
        self._trained: dict[RunKey, int] = {}
        self._going: deque[RunKey] = deque()
        self._leader = leader or self._highest

    def ask(self) -> Job | None:
        """What the race gives a free slot."""
        if self._going:
            return self._job(self._going.popleft())
        race = self.race
        race.promote_next()
        if not race.queue and not race.exhausted:
            if len(race.groups) < self._n_configs:
                race.add_group({"config": len(race.groups)})
            else:
                race.exhausted = True
                race.promote_next()
        race.news.clear()
        if not race.queue:
            return None
        key = race.queue[0]
        race.start(key)
        return self._job(key)

    def tell(self, job: Job, values: Sequence[float]) -> None:
        """Report every epoch."""
        race = self.race
        key = RunKey(_name(job.config), job.seed)
        decision = Decision.CONTINUE
        last = job.start + len(values)
        for epoch, value in enumerate(values, start=job.start + 1):
            decision = race.report(key, epoch, {METRIC: value})
        self._trained[key] = last
        if decision is Decision.CONTINUE:
            self._going.append(key)
        elif decision is Decision.FINISH:
            race.complete(key)
        elif decision is Decision.STOP:
            race.stop(key)

    def best(self) -> int | None:
        """The config of the leading group."""
        leader = self._leader()
        return None if leader is None else int(self.race.ledger.configs[leader]["config"])

    def _job(self, key: RunKey) -> Job:
        config = int(self.race.ledger.configs[key.group]["config"])
        return Job(config, key.seed, self._trained.get(key, 0), self.race.target(key))

    def _highest(self) -> str | None:
        def standing(group: str) -> tuple[Rung, float]:
            return max(self.race.groups[group].scores.items())

        ranked = [name for name, g in self.race.groups.items() if g.scores and not g.failures]
        return max(ranked, key=standing, default=None)


def _name(config: int) -> str:
    return f"g{config + 1:04d}"
