"""What every policy of the package must be: sound, and where it says so, fair to any order."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Any

import pytest

from tune_seeds.core.ledger import Ledger
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import build_rungs
from tune_seeds.policies.adaptive import Adaptive
from tune_seeds.policies.base import Policy, Promotion
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.race import Race
from tune_seeds.testing import Driver, check_policy

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


def noisy(config: Mapping[str, Any], seed: int, epoch: int) -> float:
    number = config["number"]
    noise = random.Random(f"{number}/{seed}/{epoch}").gauss(0, 0.05)
    return random.Random(number).random() * (1 - 2 ** (-epoch)) + noise


@pytest.mark.slow
@pytest.mark.parametrize("n_finalists", [1, 3])
@pytest.mark.parametrize("name", POLICIES)
def test_it_keeps_the_contract(name: str, n_finalists: int):
    check_policy(
        lambda: POLICIES[name](n_finalists), n_finalists=n_finalists, n_histories=30, seed=1
    )


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: Adaptive((4,), 1, 3, 2), lambda: Adaptive((2, 4), 4)])
def test_the_default_keeps_it_with_few_rungs_too(make: Callable[[], Policy]):
    check_policy(make, n_finalists=2, n_histories=20)


@pytest.mark.parametrize("name", POLICIES)
def test_where_all_are_finalists_the_order_of_work_does_not_choose_the_winner(name: str):
    def winner(order: int) -> tuple[float, str]:
        rng = random.Random(order)
        race = Race(Ledger(SEEDS, Metric("acc", "max")), POLICIES[name](8), fmean)
        configs = [{"number": number} for number in range(8)]

        def random_order(key: object, epoch: int) -> float:
            return rng.expovariate(1)

        Driver(race, configs, noisy, n_slots=3, epoch_time=random_order).run()
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
            seeds = SEEDS[: policy.first().n_seeds]
            values = [noisy({"number": group}, seed, 1) for seed in seeds]
            policy.scored(f"g{group}", policy.first(), values, sum(values))
        steps: list[Promotion] = []
        while (step := policy.propose(exhausted=False)) is not None:
            policy.promoted(*step)
            steps.append(step)
        return steps

    assert len(promoted(0)) == 3
    assert all(promoted(order) == promoted(0) for order in range(1, 6))
