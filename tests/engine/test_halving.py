"""Which schedulers have a meaning over groups of seeds, and which."""

from __future__ import annotations

import pytest
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
)

from tune_seeds.engine.schedule.halving import Halving, read_scheduler


def test_asha_is_read_as_it_stands():
    scheduler = ASHAScheduler(time_attr="t", max_t=81, grace_period=2, reduction_factor=3)
    assert read_scheduler(scheduler) == Halving("t", 81, 2, 3.0)
    assert read_scheduler(ASHAScheduler()) == Halving("training_iteration", 100, 1, 4.0)
    assert read_scheduler("async_hyperband") == Halving("training_iteration", 100, 1, 4.0)


@pytest.mark.parametrize("scheduler", [None, FIFOScheduler()])
def test_no_scheduler(scheduler):
    assert read_scheduler(scheduler) is None


@pytest.mark.parametrize(
    ("scheduler", "reason"),
    [
        (HyperBandScheduler(), "whole brackets"),
        (MedianStoppingRule(), "compares single runs"),
        (
            PopulationBasedTraining(hyperparam_mutations={"lr": [1, 2]}),
            "changes the config of a running trial",
        ),
        (ASHAScheduler(brackets=2), "brackets=1"),
        (ASHAScheduler(stop_last_trials=False), "end at max_t"),
        (ASHAScheduler(max_t=10.5, grace_period=1), "whole number"),
        (object(), "without their group"),
    ],
)
def test_schedulers_without_a_meaning_over_groups(scheduler, reason: str):
    with pytest.raises(ValueError, match=reason):
        read_scheduler(scheduler)
