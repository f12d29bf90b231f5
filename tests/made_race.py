"""Policies over three seeds, and values of configs that only chance tells apart, for pure races."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from tune_seeds.core.rungs import build_rungs
from tune_seeds.policies.adaptive import Adaptive
from tune_seeds.policies.successive_halving import SuccessiveHalving

SEEDS = (47, 881, 5)
EPOCHS = (1, 3, 9)
POLICIES = {
    "ladder": lambda: SuccessiveHalving(build_rungs(EPOCHS, 3, "ladder"), 3, 2),
    "all": lambda: SuccessiveHalving(build_rungs(EPOCHS, 3, "all"), 3, 2),
    "adaptive": lambda: Adaptive(EPOCHS, 3, 3, 2),
}


def value(config: Mapping[str, Any], seed: int, epoch: int) -> float:
    noise = random.Random(f"{config}/{seed}/{epoch}").gauss(0, 0.05)
    return random.Random(str(config)).random() * (1 - 2**-epoch) + noise
