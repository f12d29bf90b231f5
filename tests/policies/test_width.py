"""On any number of slots the default chooses no worse than successive halving does."""

from __future__ import annotations

from math import sqrt
from statistics import fmean

import numpy as np
import pytest

from tune_seeds.core.ledger import Ledger, RunKey
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import build_rungs
from tune_seeds.policies.adaptive import Adaptive
from tune_seeds.policies.base import Policy
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.race import Race
from tune_seeds.testing import Driver

EPOCHS, N_CONFIGS, N_REPEATS = (1, 3, 9), 40, 24


def regret(policy: Policy, repeat: int, n_slots: int) -> float:
    """How far the chosen config is below the best, in standard deviations between configs."""
    rng = np.random.default_rng(repeat)
    height = rng.normal(size=N_CONFIGS)
    start = 0.7 * height + sqrt(1 - 0.7**2) * rng.normal(size=N_CONFIGS)
    noise = 0.2 * rng.normal(size=(N_CONFIGS, 3, 10))
    # Log-normal epochs, and the configs that end first are no better than the others.
    hours = np.exp(0.5 * rng.normal(size=(N_CONFIGS, 1)) + 0.3 * rng.normal(size=(N_CONFIGS, 10)))

    def train(config, seed: int, epoch: int) -> float:
        k, done = config["number"], (epoch - 1) / 8
        return float(done * height[k] + (1 - done) * start[k] + noise[k, seed, epoch])

    def epoch_time(key: RunKey, epoch: int) -> float:
        return float(hours[int(key.group[1:]) - 1, epoch])

    race = Race(Ledger((0, 1, 2), Metric("score", "max")), policy, fmean)
    configs = [{"number": number} for number in range(N_CONFIGS)]
    Driver(race, configs, train, n_slots=n_slots, epoch_time=epoch_time).run()
    return float(height.max() - height[race.ledger.configs[race.policy.leader()]["number"]])


def behind(n_slots: int, patience: float) -> tuple[float, float]:
    """Mean difference to the ladder on the same studies, and its Monte Carlo error."""
    ladder = build_rungs(EPOCHS, 3, "ladder")
    rows = [
        regret(Adaptive(EPOCHS, 3, 4, 3, patience), repeat, n_slots)
        - regret(SuccessiveHalving(ladder, 4, 3), repeat, n_slots)
        for repeat in range(N_REPEATS)
    ]
    return float(np.mean(rows)), float(np.std(rows, ddof=1)) / sqrt(N_REPEATS)


@pytest.mark.slow
@pytest.mark.parametrize("n_slots", [1, 8, 64])
def test_it_is_not_behind_the_ladder_on_any_number_of_slots(n_slots: int):
    difference, error = behind(n_slots, patience=0.5)
    assert difference <= 2 * error


@pytest.mark.slow
def test_without_patience_it_is_on_many_slots():
    difference, error = behind(64, patience=0.0)
    assert difference > 2 * error


@pytest.mark.parametrize("patience", [-0.1, 1.1, float("nan")])
def test_a_patience_out_of_range_is_refused(patience: float):
    with pytest.raises(ValueError, match="patience must be between 0 and 1"):
        Adaptive(EPOCHS, 3, patience=patience)
