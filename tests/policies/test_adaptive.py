from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from tune_seeds.core.rungs import Rung, build_rungs
from tune_seeds.policies import adaptive
from tune_seeds.policies.adaptive import LEAST_SHARE, N_PIONEERS, Adaptive
from tune_seeds.policies.base import Policy
from tune_seeds.policies.group_ranks import Outlook
from tune_seeds.policies.successive_halving import SuccessiveHalving

EPOCHS = (1, 3, 9)


def curve(number: int, seed: int, epoch: int) -> float:
    noise = random.Random(f"{number}/{seed}").gauss(0, 0.05)
    return random.Random(number).random() * (1 - 0.5**epoch) + noise


def play(policy: Policy, n_configs: int, n_steps: int, values=curve) -> list[tuple[str, Rung]]:
    """One slot: take every step at once, note it."""
    steps = []
    n_groups = 0
    for _ in range(n_steps):
        step = policy.propose(exhausted=n_groups == n_configs)
        if step is None:
            if n_groups == n_configs:
                break
            step = (f"g{n_groups}", policy.first())
            n_groups += 1
        group, rung = step
        policy.promoted(group, rung)
        seen = [values(int(group[1:]), seed, rung.epochs) for seed in range(rung.n_seeds)]
        policy.scored(group, rung, seen, sum(seen) / len(seen))
        steps.append((group, rung))
    return steps


def test_rungs_climb_epochs_on_one_seed_and_then_seeds():
    assert Adaptive(EPOCHS, 3).rungs == (
        Rung(1, 1),
        Rung(3, 1),
        Rung(9, 1),
        Rung(9, 2),
        Rung(9, 3),
    )


@pytest.mark.parametrize(
    "arguments",
    [((), 3), ((3, 1), 3), ((1, 1), 3), (EPOCHS, 0), (EPOCHS, 3, 1.0), (EPOCHS, 3, 3, 0)],
)
def test_refusals(arguments: tuple):
    with pytest.raises(ValueError):
        Adaptive(*arguments)


def test_every_step_is_the_next_rung_of_a_group_until_finalists_are_complete():
    policy = Adaptive(EPOCHS, 3, 3, n_finalists=2)
    reached: dict[str, Rung] = {}
    for group, rung in play(policy, 30, 10_000):
        if group in reached:
            assert reached[group] < rung
        reached[group] = rung
    complete = [group for group, rung in reached.items() if rung == Rung(9, 3)]
    assert len(complete) >= 2
    assert policy.leader() in complete


def epochs_of(steps: list[tuple[str, Rung]]) -> int:
    reached: dict[str, dict[int, int]] = {}
    for group, rung in steps:
        for seed in range(rung.n_seeds):
            reached.setdefault(group, {})[seed] = rung.epochs
    return sum(epoch for seeds in reached.values() for epoch in seeds.values())


@pytest.mark.slow
@pytest.mark.parametrize("eta", [3, 4])
@pytest.mark.parametrize("n_configs", [4, 12, 40, 400])
@pytest.mark.parametrize("informative", [True, False])
def test_a_study_costs_about_what_successive_halving_does(
    eta: int, n_configs: int, informative: bool
):
    rng = np.random.default_rng(0)
    level, noise = rng.normal(size=n_configs), rng.normal(size=(n_configs, 10))

    def values(number: int, seed: int, epoch: int) -> float:
        return 0.1 * noise[number, epoch] + (level[number] if informative or epoch == 9 else 0)

    halving = SuccessiveHalving(build_rungs(EPOCHS, 3, "ladder"), eta, 3)
    theirs = epochs_of(play(halving, n_configs, 10_000, values))
    steps = play(Adaptive(EPOCHS, 3, eta, 3), n_configs, 10_000, values)
    assert len({group for group, _ in steps}) == n_configs
    # One full training more by intent, one more that was on its way, and those whose finalist
    # fell back while its seeds were trained.
    assert 0.8 * theirs <= epochs_of(steps) <= 1.05 * theirs + 4 * EPOCHS[-1]


def test_the_last_configs_of_a_study_have_a_chance(monkeypatch: pytest.MonkeyPatch):
    def promoted_at_the_end(kept: float) -> int:
        monkeypatch.setattr(adaptive, "KEPT", kept)
        steps = play(Adaptive(EPOCHS, 3, 4, 3), 40, 10_000)
        last = steps.index(("g39", Rung(1, 1)))
        return sum(rung == Rung(3, 1) for _, rung in steps[last:])

    assert promoted_at_the_end(adaptive.KEPT) >= 2
    assert promoted_at_the_end(0.0) == 0, "the share is spent before the last configs are seen"


def test_with_every_group_a_finalist_the_race_ends_with_all_complete():
    policy = Adaptive(EPOCHS, 3, 3, n_finalists=12)
    steps = play(policy, 12, 10_000)
    assert {group for group, rung in steps if rung == Rung(9, 3)} == {f"g{i}" for i in range(12)}


def test_pioneers_reach_the_last_epoch_before_a_tenth_of_the_configs_start():
    steps = play(Adaptive(EPOCHS, 3), 1000, 100)
    pioneers = [i for i, (_, rung) in enumerate(steps) if rung == Rung(9, 1)][:N_PIONEERS]
    assert len(pioneers) == N_PIONEERS


def spent(steps: list[tuple[str, Rung]]) -> dict[str, int]:
    """Epochs that went to new configs, to more epochs and to more seeds."""
    costs = {"new": 0, "epochs": 0, "seeds": 0}
    for _, rung in steps:
        if rung.n_seeds > 1:
            costs["seeds"] += EPOCHS[-1]
        elif rung.epochs == EPOCHS[0]:
            costs["new"] += EPOCHS[0]
        else:
            costs["epochs"] += rung.epochs - EPOCHS[EPOCHS.index(rung.epochs) - 1]
    return costs


def test_noisy_seeds_get_more_of_the_budget_than_clear_ones():
    rng = np.random.default_rng(0)
    level, noise = rng.normal(size=500), rng.normal(size=(500, 3))

    def at(scale: float):
        return lambda number, seed, epoch: level[number] + scale * noise[number, seed]

    share = [
        spent(play(Adaptive(EPOCHS, 3, n_finalists=500), 500, 400, at(scale)))["seeds"]
        for scale in (0.001, 0.5)
    ]
    assert share[0] < share[1]


def test_a_rung_that_says_nothing_stops_fewer_than_one_that_decides():
    rng = np.random.default_rng(0)
    end, start = rng.normal(size=500), rng.normal(size=500)

    def decides(number: int, seed: int, epoch: int) -> float:
        return end[number]

    def misleads(number: int, seed: int, epoch: int) -> float:
        return end[number] if epoch == EPOCHS[-1] else start[number]

    def share_at_top(values: Callable[[int, int, int], float]) -> float:
        costs = spent(play(Adaptive(EPOCHS, 1, n_finalists=500), 500, 300, values))
        return costs["epochs"] / (costs["epochs"] + costs["new"])

    assert share_at_top(decides) < share_at_top(misleads)


def test_no_rung_is_starved_whatever_the_forecast_says():
    rng = np.random.default_rng(0)
    policy = Adaptive(EPOCHS, 1, n_finalists=2000)
    steps = play(policy, 2000, 1500, lambda number, seed, epoch: float(rng.normal()))
    got = [
        sum(rung.epochs == epoch for _, rung in steps) * cost
        for epoch, cost in zip(EPOCHS, (1, 2, 6), strict=True)
    ]
    assert min(got[1:]) >= LEAST_SHARE * got[0] - 6


def test_one_lucky_seed_does_not_lead_over_a_mean_of_many():
    policy = Adaptive((1,), 5, n_finalists=5)
    rng = np.random.default_rng(0)
    for i in range(8):
        values = (0.5 + 0.1 * rng.normal(size=5)).tolist()
        for k in range(1, 6):
            policy.promoted(f"g{i}", Rung(1, k))
            policy.scored(f"g{i}", Rung(1, k), values[:k], sum(values[:k]) / k)
    leader = policy.leader()
    policy.promoted("lucky", Rung(1, 1))
    policy.scored("lucky", Rung(1, 1), (0.62,), 0.62)
    assert policy.leader() == leader


def test_a_jump_at_the_last_epoch_leads_less_where_such_jumps_were_noise():
    rng = np.random.default_rng(0)
    policy = Adaptive((10,), 2, n_finalists=30)
    for i in range(20):
        level = rng.normal(scale=0.1)
        recent = (level, level)
        values = tuple(level + rng.normal(size=2))
        for k in (1, 2):
            policy.promoted(f"g{i}", Rung(10, k))
            policy.scored(f"g{i}", Rung(10, k), values[:k], sum(values[:k]) / k, recent[:k])
    for name, values, recent in (
        ("jumps", (3.0, 3.0), (0.0, 0.0)),
        ("holds", (2.0,) * 2, (2.0,) * 2),
    ):
        for k in (1, 2):
            policy.promoted(name, Rung(10, k))
            policy.scored(name, Rung(10, k), values[:k], values[0], recent[:k])
    assert policy.leader() == "holds"


def test_proposing_changes_nothing():
    quiet, asked = Adaptive(EPOCHS, 3), Adaptive(EPOCHS, 3)
    for group, rung in play(Adaptive(EPOCHS, 3), 60, 150):
        for policy in (quiet, asked):
            policy.promoted(group, rung)
        for _ in range(3):
            asked.propose(exhausted=False)
        seen = [curve(int(group[1:]), seed, rung.epochs) for seed in range(rung.n_seeds)]
        for policy in (quiet, asked):
            policy.scored(group, rung, seen, sum(seen) / len(seen))
    assert quiet.propose(exhausted=False) == asked.propose(exhausted=False)
    assert quiet.leader() == asked.leader()


def test_a_dropped_group_neither_goes_on_nor_leads_until_it_is_revived():
    policy = Adaptive((1,), 2, n_finalists=1)
    for name, value in {"a": 0.9, "b": 0.5, "c": 0.4, "d": 0.3, "e": 0.2}.items():
        policy.promoted(name, Rung(1, 1))
        policy.scored(name, Rung(1, 1), (value,), value)
    assert policy.leader() == "a"
    policy.promoted("a", Rung(1, 2))
    policy.dropped("a")
    assert policy.leader() == "b"
    step = policy.propose(exhausted=True)
    assert step is not None
    assert step.group != "a"
    policy.revived("a")
    assert policy.leader() == "a"


def test_a_group_that_is_revived_on_its_way_up_is_on_its_way_again():
    outlook = Outlook(EPOCHS, 3)
    outlook.promoted("g0", Rung(9, 1))
    assert list(outlook.climbing(1)) == ["g0"]
    outlook.dropped("g0")
    assert not list(outlook.climbing(1))
    outlook.revived("g0")
    assert list(outlook.climbing(1)) == ["g0"]
