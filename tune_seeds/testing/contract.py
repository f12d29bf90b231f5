"""The contract of a policy, whatever it decides and in whatever order things happen."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from tune_seeds.core.events import Event
from tune_seeds.core.ledger import Ledger, Outcome, RunKey
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung
from tune_seeds.policies.base import Policy, Promotion
from tune_seeds.race.race import OnSeedFailure, Race
from tune_seeds.testing.driver import Driver, replayed

#: Numbers of slots of the histories that are played.
WIDTHS = (1, 2, 3, 8, 64)
# After this share of events the policy is copied and asked, which takes most of the time.
_CHECKED = 0.3


class PolicyContractError(AssertionError):
    """A policy did what none may do; the message has the history's number and what it did."""


class Watched:
    """A policy whose every answer is checked against what it was told.

    A silent twin hears the same and is never asked; were asking to change anything, a copy of the
    twin would answer differently.

    Args:
        inner: the policy, new.
    """

    def __init__(self, inner: Policy) -> None:
        self._inner = inner
        self._twin = copy.deepcopy(inner)
        self._goal: dict[str, Rung] = {}
        self._reached: dict[str, set[Rung]] = {}
        self._gone: set[str] = set()

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """As the policy has them."""
        return self._inner.rungs

    def first(self) -> Rung:
        """As the policy has it."""
        rung = self._inner.first()
        _must(rung in self.rungs, f"first() is {rung}, which is none of the rungs")
        return rung

    def promoted(self, group: str, rung: Rung) -> None:
        """Tell both."""
        self._goal[group] = rung
        self._reached.setdefault(group, set())
        for policy in (self._inner, self._twin):
            policy.promoted(group, rung)

    def scored(
        self,
        group: str,
        rung: Rung,
        values: Sequence[float],
        score: float,
        recent: Sequence[float] = (),
    ) -> None:
        """Tell both."""
        self._reached[group].add(rung)
        for policy in (self._inner, self._twin):
            policy.scored(group, rung, values, score, recent)

    def dropped(self, group: str) -> None:
        """Tell both."""
        self._gone.add(group)
        for policy in (self._inner, self._twin):
            policy.dropped(group)

    def revived(self, group: str) -> None:
        """Tell both."""
        self._gone.remove(group)
        for policy in (self._inner, self._twin):
            policy.revived(group)

    def propose(self, *, exhausted: bool, n_slots: int = 1, n_busy: int = 0) -> Promotion | None:
        """Ask, and check the answer."""
        step = self._inner.propose(exhausted=exhausted, n_slots=n_slots, n_busy=n_busy)
        if step is not None:
            group, rung = step
            _must(group in self._goal, f"it promotes {group!r}, of which it never heard")
            _must(group not in self._gone, f"it promotes {group!r}, which was dropped")
            level = self.rungs.index
            goal = self._goal[group]
            _must(rung in self.rungs, f"it promotes {group!r} to {rung}, which is no rung of it")
            _must(level(rung) > level(goal), f"it promotes {group!r} from {goal} to {rung}")
            _must(goal in self._reached[group], f"it promotes {group!r} on its way to {goal}")
        return step

    def fresh(self, rungs: Sequence[Rung], n_finalists: int) -> Watched:
        """A new one of the same kind, watched too."""
        made = self._inner.fresh(rungs, n_finalists)
        _must(made.rungs == tuple(rungs), f"fresh({rungs}) has the rungs {made.rungs}")
        _must(made.leader() is None, "fresh() knows groups already")
        return Watched(made)

    def leader(self) -> str | None:
        """Ask, and check the answer."""
        group = self._inner.leader()
        alive = {g for g, reached in self._reached.items() if reached and g not in self._gone}
        if alive:
            _must(group in alive, f"its leader is {group!r}, which has no score or was dropped")
        else:
            _must(group is None, f"its leader is {group!r}, though no group has a score")
        return group

    def check(self, exhausted: bool, n_slots: int, n_busy: int) -> None:
        """Asking, also for what is not the case, and asking again changes nothing."""
        leader = self.leader()
        first = self.propose(exhausted=exhausted, n_slots=n_slots, n_busy=n_busy)
        self.propose(exhausted=not exhausted, n_slots=n_slots, n_busy=n_busy)
        again = self.propose(exhausted=exhausted, n_slots=n_slots, n_busy=n_busy)
        _must(again == first, f"asked twice it says {first} and then {again}")
        quiet = copy.deepcopy(self._twin)
        _must(quiet.leader() == leader, "asking has changed its leader")
        said = quiet.propose(exhausted=exhausted, n_slots=n_slots, n_busy=n_busy)
        _must(said == first, f"it says {first}, and {said} where it was not asked before")


def noisy(config: Mapping[str, Any], seed: int, epoch: int) -> float:
    """A made-up curve that rises to a height of its own, with noise from seed and epoch."""
    number = int(config["number"])
    noise = random.Random(f"{number}/{seed}/{epoch}").gauss(0, 0.05)
    return random.Random(number).random() * (1 - 2 ** (-epoch)) + noise


def check_policy(
    make_policy: Callable[[], Policy],
    *,
    n_finalists: int = 1,
    n_histories: int = 120,
    seed: int = 0,
) -> None:
    """Play histories with a policy and check that it keeps its contract in all of them.

    In each history a race with up to 30 configs and up to 64 slots is driven by random events:
    reports in any order, failed and retried runs, restores from the journal, searchers that have
    nothing to suggest, slots that come and go. Checked are: a promotion takes a living group from a
    rung that it has reached to a higher one; asking changes nothing; a policy that is told the same
    things again decides the same; the leader is a living group with a score; and every history
    comes to an end with no run left behind and the finalists complete.

    Args:
        make_policy: a new policy, alike each time.
        n_finalists: how many groups are to hold every epoch and every seed in the end, where so
            many are alive.
        n_histories: more find rarer faults and take longer, about 50 ms each.
        seed: of the histories.

    Raises:
        PolicyContractError: the policy broke it.
    """
    for number in range(n_histories):
        rng = random.Random(f"{seed}/{number}")
        try:
            _History(make_policy, n_finalists, rng).play()
        except PolicyContractError as error:
            raise PolicyContractError(f"history {number} of seed {seed}: {error}") from error


class _History:
    """One study, as it might go."""

    def __init__(
        self, make_policy: Callable[[], Policy], n_finalists: int, rng: random.Random
    ) -> None:
        self._make_policy = make_policy
        self._n_finalists = n_finalists
        self._rng = rng
        self._on_seed_failure = rng.choice([OnSeedFailure.FAIL, *OnSeedFailure])
        self._n_seeds = make_policy().rungs[-1].n_seeds
        self._events: list[Event] = []
        self._p_fail = rng.choice([0.0, 0.02, 0.1])
        configs = [{"number": number} for number in range(rng.randint(1, 30))]
        self._n_configs = len(configs)
        self._driver = Driver(
            self._new_race(),
            configs,
            noisy,
            n_slots=rng.choice(WIDTHS),
            epoch_time=lambda key, epoch: rng.expovariate(1),
        )
        self._driver.race.record_to(self._events.append)

    def play(self) -> None:
        """Disturb it for a while, then let it end by itself."""
        driver, rng = self._driver, self._rng
        for _ in range(rng.choice([0, 20, 100])):
            what = rng.random()
            if what < 0.04:
                self._restore()
            elif what < 0.08:
                driver.n_slots = rng.choice(WIDTHS)
            elif what < 0.1:
                driver.withheld = not driver.withheld
            elif what < 0.12:
                self._retry()
            elif driver.slots and rng.random() < self._p_fail:
                driver.fail(rng.choice(sorted(driver.slots)), "planted")
            else:
                driver.step()
            if rng.random() < _CHECKED:
                n_busy = len(driver.race.busy)
                n_slots = max(rng.choice(WIDTHS), n_busy + 1)
                self._policy.check(driver.race.exhausted, n_slots, n_busy)
        driver.withheld = False
        try:
            driver.run(100_000)
        except RuntimeError as error:
            raise PolicyContractError(str(error)) from error
        self._check_end()
        again = replayed(self._new_race(), self._events)
        _must(again.groups == driver.race.groups, "the journal rebuilds other groups")
        _must(again.policy.leader() == self._policy.leader(), "the journal rebuilds another leader")
        _must(again.done, "the journal rebuilds a race that is not done")

    @property
    def _policy(self) -> Watched:
        policy = self._driver.race.policy
        assert isinstance(policy, Watched)
        return policy

    def _new_race(self) -> Race:
        ledger = Ledger(tuple(range(self._n_seeds)), Metric("score", "max"))
        return Race(ledger, Watched(self._make_policy()), fmean, self._on_seed_failure)

    def _restore(self) -> None:
        before = self._policy
        race = replayed(self._new_race(), self._events)
        for exhausted in (False, True):
            for n_slots in WIDTHS:
                was = before.propose(exhausted=exhausted, n_slots=n_slots)
                now = race.policy.propose(exhausted=exhausted, n_slots=n_slots)
                _must(was == now, f"it said {was}, and {now} when it is told the same again")
        _must(race.policy.leader() == before.leader(), "told the same again its leader differs")
        race.record_to(self._events.append)
        self._driver.restore(race)

    def _retry(self) -> None:
        race = self._driver.race
        for key in [key for key, run in race.ledger.items() if run.outcome is Outcome.FAILED]:
            race.retry(key)

    def _check_end(self) -> None:
        race = self._driver.race
        _must(race.done, "the race stands still and is not done")
        _must(not race.queue and not race.busy, f"runs are left behind: {race.queue}")
        _must(len(race.groups) == self._n_configs, f"{len(race.groups)} configs were tried")
        _must(not any(g.heading for g in race.groups.values()), "a group is left on its way")
        top = race.policy.rungs[-1]
        alive = [name for name, group in race.groups.items() if not group.lost]
        complete = [name for name in alive if top in race.groups[name].scores]
        wanted = min(self._n_finalists, len(alive))
        _must(len(complete) >= wanted, f"{len(complete)} groups are complete of {wanted}")
        if self._on_seed_failure is OnSeedFailure.FAIL:  # a seed may be missing otherwise
            for run in (race.ledger[RunKey(g, s)] for g in complete for s in race.ledger.seeds):
                _must(
                    run.outcome is Outcome.COMPLETED, "a run of a finalist has not come to its end"
                )
                _must(max(run.curve) == top.epochs, "a run of a finalist lacks epochs")
        if complete:
            _must(race.policy.leader() in complete, "its leader at the end is not complete")


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise PolicyContractError(otherwise)
