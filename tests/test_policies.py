"""The contract of a policy: whatever it decides, and in whatever order things happen."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine
from race_driver import Driver

from tune_seeds.adaptive import Adaptive
from tune_seeds.journal import decode, encode
from tune_seeds.ledger import Outcome, Rung, RunKey
from tune_seeds.policy import Policy, Promotion, SuccessiveHalving
from tune_seeds.race import Race
from tune_seeds.rungs import build_rungs

SEEDS = (47, 881, 123456789)
EPOCHS = (1, 3, 9)

Make = Callable[[int], Policy]  # number of finalists → a new policy


def halving(seeds_per_rung: str | list[int]) -> Make:
    rungs = build_rungs(EPOCHS, len(SEEDS), seeds_per_rung)
    return lambda n_finalists: SuccessiveHalving(rungs, 3, n_finalists)


#: Add a policy here, and it has to keep the contract.
POLICIES: dict[str, Make] = {
    "ladder": halving("ladder"),
    "all": halving("all"),
    "list": halving([1, 2, 2]),
    "adaptive": lambda n_finalists: Adaptive(EPOCHS, len(SEEDS), 3, n_finalists),
}
#: Those whose promotions do not depend on the order in which a rung's scores came.
ORDER_FREE = ("ladder", "all", "list")

policies = pytest.mark.parametrize("name", POLICIES)


def noisy(number: int, seed: int, epoch: int) -> float:
    noise = random.Random(f"{number}/{seed}/{epoch}").gauss(0, 0.05)
    return random.Random(number).random() * (1 - 2 ** (-epoch)) + noise


class Watched:
    """A policy whose every answer is checked against what it was told.

    A silent twin hears the same and is never asked; were asking to change anything, a copy of the
    twin would answer differently.
    """

    def __init__(self, inner: Policy) -> None:
        self.inner = inner
        self.twin = copy.deepcopy(inner)
        self.goal: dict[str, Rung] = {}
        self.reached: dict[str, set[Rung]] = {}
        self.gone: set[str] = set()

    @property
    def rungs(self) -> tuple[Rung, ...]:
        return self.inner.rungs

    def first(self) -> Rung:
        return self.inner.first()

    def promoted(self, group: str, rung: Rung) -> None:
        self.goal[group] = rung
        self.reached.setdefault(group, set())
        for policy in (self.inner, self.twin):
            policy.promoted(group, rung)

    def scored(
        self,
        group: str,
        rung: Rung,
        values: Sequence[float],
        score: float,
        recent: Sequence[float] = (),
    ) -> None:
        self.reached[group].add(rung)
        for policy in (self.inner, self.twin):
            policy.scored(group, rung, values, score, recent)

    def dropped(self, group: str) -> None:
        self.gone.add(group)
        for policy in (self.inner, self.twin):
            policy.dropped(group)

    def revived(self, group: str) -> None:
        self.gone.remove(group)
        for policy in (self.inner, self.twin):
            policy.revived(group)

    def propose(self, *, exhausted: bool) -> Promotion | None:
        step = self.inner.propose(exhausted=exhausted)
        if step is not None:
            assert step.group not in self.gone, "a dropped group goes on"
            level = self.rungs.index
            assert level(step.rung) > level(self.goal[step.group]), "it has been there"
            assert self.goal[step.group] in self.reached[step.group], "it is on its way"
        return step

    def leader(self) -> str | None:
        group = self.inner.leader()
        alive = {g for g, reached in self.reached.items() if reached and g not in self.gone}
        assert group in alive if alive else group is None
        return group

    def check(self, exhausted: bool) -> None:
        """Asking, also for what is not the case, and asking again changes nothing."""
        first = self.propose(exhausted=exhausted)
        leader = self.leader()
        self.propose(exhausted=not exhausted)
        assert self.propose(exhausted=exhausted) == first
        quiet = copy.deepcopy(self.twin)
        assert quiet.leader() == leader
        assert quiet.propose(exhausted=exhausted) == first


def check_end(race: Race, n_configs: int, n_finalists: int) -> None:
    """No run is left behind, and the finalists hold every epoch on every seed."""
    assert race.done
    assert not race.queue and not race.busy
    assert len(race.groups) == n_configs
    top = race.policy.rungs[-1]
    alive = [name for name, group in race.groups.items() if not group.failures]
    complete = [name for name in alive if top in race.groups[name].scores]
    assert len(complete) >= min(n_finalists, len(alive))
    for name in complete:
        for seed in SEEDS:
            assert max(race.ledger[RunKey(name, seed)].curve) == EPOCHS[-1]
            assert race.ledger[RunKey(name, seed)].outcome is Outcome.COMPLETED
    assert not any(group.heading for group in race.groups.values())
    if complete:
        assert race.policy.leader() in complete


class Orders(RuleBasedStateMachine):
    """Reports, failures, retries, restores and empty searchers in any order."""

    make: Make
    n_configs, n_finalists, n_slots = 7, 2, 3

    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver(
            make_policy=lambda: Watched(type(self).make(self.n_finalists)),
            seeds=SEEDS,
            n_configs=self.n_configs,
            n_slots=self.n_slots,
            curve=noisy,
            rng=random.Random(0),
        )

    @rule(empty=st.booleans())
    def fill(self, empty: bool) -> None:
        self.driver.withheld = empty
        self.driver.fill()

    @precondition(lambda self: self.driver.slots)
    @rule(place=st.integers(0, 2), n_epochs=st.integers(1, 9))
    def train(self, place: int, n_epochs: int) -> None:
        keys = sorted(self.driver.slots)
        key = keys[place % len(keys)]
        for _ in range(n_epochs):
            if key in self.driver.slots:
                self.driver.advance(key)

    @precondition(lambda self: self.driver.slots)
    @rule(place=st.integers(0, 2))
    def fail(self, place: int) -> None:
        keys = sorted(self.driver.slots)
        self.driver.fail(keys[place % len(keys)])

    @rule()
    def retry(self) -> None:
        runs = self.driver.race.ledger
        for key in [key for key, run in runs.items() if run.outcome is Outcome.FAILED]:
            self.driver.race.retry(key)

    @rule()
    def restore(self) -> None:
        before = self.driver.race
        self.driver.restore()
        after = self.driver.race
        for exhausted in (False, True):
            step = before.policy.propose(exhausted=exhausted)
            assert after.policy.propose(exhausted=exhausted) == step, "a replay decides otherwise"
        assert after.policy.leader() == before.policy.leader()

    @invariant()
    def asking_changes_nothing(self) -> None:
        self.driver.race.policy.check(self.driver.race.exhausted)

    def teardown(self) -> None:
        self.driver.withheld = False
        check_end(self.driver.run(), self.n_configs, self.n_finalists)


@policies
class TestContract:
    def test_any_order_of_events_is_answered_legally_and_comes_to_an_end(self, name: str):
        # Not shrunk: that takes minutes, and the steps are printed as they are.
        machine = type("Machine", (Orders,), {"make": staticmethod(POLICIES[name])})
        run_machine(
            machine,
            settings=settings(
                max_examples=80, stateful_step_count=50, phases=[Phase.reuse, Phase.generate]
            ),
        )

    @settings(max_examples=40, deadline=None)
    @given(
        n_configs=st.integers(1, 30),
        n_slots=st.integers(1, 6),
        n_finalists=st.integers(1, 4),
        p_fail=st.sampled_from([0.0, 0.01, 0.1]),
        p_restore=st.sampled_from([0.0, 0.02]),
        order=st.integers(0, 10**6),
    )
    def test_every_history_ends_with_complete_finalists(
        self,
        name: str,
        n_configs: int,
        n_slots: int,
        n_finalists: int,
        p_fail: float,
        p_restore: float,
        order: int,
    ):
        driver = Driver(
            make_policy=lambda: POLICIES[name](n_finalists),
            seeds=SEEDS,
            n_configs=n_configs,
            n_slots=n_slots,
            curve=noisy,
            rng=random.Random(order),
            p_fail=p_fail,
            p_restore=p_restore,
        )
        check_end(driver.run(), n_configs, n_finalists)

    def test_what_the_journal_holds_rebuilds_the_race(self, name: str):
        driver = Driver(
            lambda: POLICIES[name](2), SEEDS, 20, 3, noisy, random.Random(1), p_fail=0.02
        )
        race = driver.run()
        again = Driver(lambda: POLICIES[name](2), SEEDS, 20, 3, noisy, random.Random(1)).race
        for event in driver.log:
            again.apply(decode(encode(event)))
        assert again.groups == race.groups
        assert dict(again.ledger) == dict(race.ledger)
        assert again.policy.leader() == race.policy.leader()
        assert again.done

    def test_where_all_are_finalists_the_order_of_work_does_not_choose_the_winner(self, name: str):
        def winner(order: int) -> tuple[float, str]:
            rng = random.Random(order)
            driver = Driver(lambda: POLICIES[name](8), SEEDS, 8, 3, noisy, rng)
            race = driver.run()
            return max((g.scores[race.policy.rungs[-1]], n) for n, g in race.groups.items())

        assert len({winner(order) for order in range(5)}) == 1


@pytest.mark.parametrize("name", ORDER_FREE)
def test_a_rungs_scores_promote_the_same_groups_in_whatever_order_they_came(name: str):
    def promoted(order: int) -> list[Promotion]:
        policy = POLICIES[name](2)
        groups = list(range(9))
        for group in groups:
            policy.promoted(f"g{group}", policy.first())
        random.Random(order).shuffle(groups)
        for group in groups:
            values = [noisy(group, seed, 1) for seed in SEEDS[: policy.first().n_seeds]]
            policy.scored(f"g{group}", policy.first(), values, sum(values))
        steps: list[Promotion] = []
        while (step := policy.propose(exhausted=False)) is not None:
            policy.promoted(*step)
            steps.append(step)
        return steps

    assert len(promoted(0)) == 3
    assert all(promoted(order) == promoted(0) for order in range(1, 6))
