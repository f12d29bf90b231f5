"""What successive halving on one seed could reach, had its shape been known before."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from benchmarks.simulate import Draw
from jaxtyping import Float, Int

PARTS = 20
#: Every way to split a budget over four rungs, in parts of 5 %.
SPLITS = tuple(
    (*low, PARTS - sum(low)) for low in product(range(1, PARTS), repeat=3) if sum(low) < PARTS
)


class Reached(NamedTuple):
    """Regret at the end, for each shape.

    Attributes:
        answer: of the config that is best on the one seed.
        oracle: of the best of those trained fully. No use of more seeds among them, and no order
            of the same steps, could do better.
    """

    answer: Float[np.ndarray, "*repeat shape"]
    oracle: Float[np.ndarray, "*repeat shape"]


def shape(
    split: Sequence[int], n_configs: int, levels: Sequence[int], budget: float
) -> tuple[int, ...]:
    """How many configs reach each level if a budget is split over them; at least one does.

    What a level can't use, for want of configs, goes to those above it. A table with fewer levels
    than the split has parts adds up the middle ones.

    Args:
        split: parts of the budget, for the lowest level first.
        n_configs: of the table.
        levels: epochs of the rungs, rising; the last is a full training.
        budget: in full trainings.
    """
    n = len(levels)
    parts = [split[0], sum(split[1 : len(split) - n + 2]), *split[len(split) - n + 2 :]]
    left, most, found = budget * levels[-1], n_configs, list[int]()
    for k, step in enumerate(np.diff((0, *levels)).tolist()):
        most = int(np.clip(left * parts[k] / sum(parts[k:]) / step, 1, most))
        left -= most * step
        found.append(most)
    return tuple(found)


def halve(draw_: Draw, levels: Sequence[int], shapes: Sequence[tuple[int, ...]]) -> Reached:
    """Run synchronous successive halving of each shape.

    The first configs of the draw start on the search's first seed; of a level the best go on, once
    all are there.
    """
    curves = np.nan_to_num(draw_.curves[:, 0], nan=-np.inf)
    ranked: dict[tuple[int, ...], Int[np.ndarray, " config"]] = {(): np.arange(len(curves))}

    def best_first(above: tuple[int, ...]) -> Int[np.ndarray, " config"]:
        if above not in ranked:
            there = best_first(above[:-1])[: above[-1]]
            value = curves[there, levels[len(above) - 1] - 1]
            ranked[above] = there[np.argsort(-value, kind="stable")]
        return ranked[above]

    last = [best_first(one) for one in shapes]
    regret = draw_.regret
    return Reached(
        np.array([regret[configs[0]] for configs in last]),
        np.array([regret[configs].min() for configs in last]),
    )
