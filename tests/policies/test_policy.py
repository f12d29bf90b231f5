from __future__ import annotations

import pytest

from tune_seeds.core.rungs import Rung
from tune_seeds.policies.base import Promotion
from tune_seeds.policies.successive_halving import SuccessiveHalving

RUNGS = (Rung(1, 1), Rung(3, 1), Rung(3, 3))


@pytest.fixture
def policy() -> SuccessiveHalving:
    return SuccessiveHalving(RUNGS, reduction_factor=3, n_finalists=1)


def score(policy: SuccessiveHalving, rung: Rung, scores: dict[str, float]) -> None:
    for group, value in scores.items():
        policy.promoted(group, rung)
        policy.scored(group, rung, (value,), value)


def test_a_group_goes_on_when_it_is_in_the_top_third(policy: SuccessiveHalving):
    score(policy, RUNGS[0], {"a": 0.5, "b": 0.7})
    assert policy.propose(exhausted=False) is None, "the top third of two is nobody"
    score(policy, RUNGS[0], {"c": 0.1})
    assert policy.propose(exhausted=False) == Promotion("b", RUNGS[1])
    policy.promoted("b", RUNGS[1])
    assert policy.propose(exhausted=False) is None, "one of three has gone on already"


def test_a_late_better_group_goes_on_too(policy: SuccessiveHalving):
    score(policy, RUNGS[0], {"a": 0.5, "b": 0.7, "c": 0.1})
    policy.promoted("b", RUNGS[1])
    score(policy, RUNGS[0], {"d": 0.9})
    assert policy.propose(exhausted=False) == Promotion("d", RUNGS[1])


def test_the_highest_rung_comes_first(policy: SuccessiveHalving):
    names = "abcdefghi"
    score(policy, RUNGS[0], {name: k / 10 for k, name in enumerate(names)})
    for name in "ihg":
        policy.promoted(name, RUNGS[1])
        policy.scored(name, RUNGS[1], (1.0,), 1.0 if name == "g" else 0.5)
    assert policy.propose(exhausted=False) == Promotion("g", RUNGS[2])


def test_a_failed_group_counts_as_the_worst_of_the_rung_it_was_heading_for(
    policy: SuccessiveHalving,
):
    score(policy, RUNGS[0], {"a": 0.5, "b": 0.7})
    policy.promoted("c", RUNGS[0])
    policy.dropped("c")
    assert policy.propose(exhausted=False) == Promotion("b", RUNGS[1])
    policy.revived("c")
    assert policy.propose(exhausted=False) is None


def test_a_dropped_group_never_goes_on(policy: SuccessiveHalving):
    score(policy, RUNGS[0], {"a": 0.5, "b": 0.7, "c": 0.1})
    policy.promoted("b", RUNGS[1])
    policy.dropped("b")
    assert policy.propose(exhausted=True) == Promotion("a", RUNGS[1])


def test_the_end_takes_the_leaders_up(policy: SuccessiveHalving):
    score(policy, RUNGS[0], {"a": 0.5, "b": 0.7})
    assert policy.propose(exhausted=True) == Promotion("b", RUNGS[1])
    policy.promoted("b", RUNGS[1])
    assert policy.propose(exhausted=True) is None, "the one finalist is on its way"
    policy.scored("b", RUNGS[1], (0.1,), 0.1)
    assert policy.propose(exhausted=True) == Promotion("b", RUNGS[2])


def test_equal_scores_go_on_in_the_order_of_the_configs(policy: SuccessiveHalving):
    score(policy, RUNGS[0], {"a": 0.5, "b": 0.5, "c": 0.5})
    assert policy.propose(exhausted=False) == Promotion("a", RUNGS[1])


@pytest.mark.parametrize(
    "arguments", [((), 3, 1), (RUNGS, 1, 1), (RUNGS, 3, 0)], ids=["rungs", "eta", "finalists"]
)
def test_refusals(arguments: tuple):
    with pytest.raises(ValueError):
        SuccessiveHalving(*arguments)
