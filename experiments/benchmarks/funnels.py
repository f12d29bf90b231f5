"""What any successive halving on one seed could have reached, had its shape been known before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from benchmarks.simulate import Draw
from jaxtyping import Float, Int

#: Numbers of configs that are tried at a rung.
GRID = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 27, 36, 50, 70, 100, 140, 200)
#: A shape that spends less of the budget, while configs are left, is dominated by a larger one.
LEAST_SPENT = 0.8


def shapes(n_configs: int, levels: Sequence[int], budget: float) -> list[tuple[int, ...]]:
    """How many configs reach each level, for every way to spend a budget that ``GRID`` allows.

    Args:
        n_configs: of the table.
        levels: epochs of the rungs, rising; the last is a full training.
        budget: in full trainings.
    """
    steps = np.diff((0, *levels)).tolist()
    left = budget * levels[-1]
    return [
        shape
        for shape in _shapes((), steps, n_configs, left)
        if shape[0] == n_configs or np.dot(shape, steps) >= LEAST_SPENT * left
    ]


def _shapes(
    above: tuple[int, ...], steps: list[int], most: int, left: float
) -> Iterator[tuple[int, ...]]:
    if not steps:
        yield above
        return
    for n in sorted({min(n, most) for n in GRID}):
        if n * steps[0] <= left:
            yield from _shapes((*above, n), steps[1:], n, left - n * steps[0])


def named_by_an_oracle(
    draw_: Draw, levels: Sequence[int], found: Sequence[tuple[int, ...]]
) -> Float[np.ndarray, " shape"]:
    """Regret of the best config that each shape trains fully.

    The first configs of the draw start on the search's first seed, and at each level the best go
    on, once all are there. Which of the last ones is the answer an oracle says; so no use of the
    other seeds among them could do better, and no order of the same steps.
    """
    curves = draw_.curves[:, 0]
    last: dict[tuple[int, ...], Int[np.ndarray, " config"]] = {(): np.arange(len(curves))}

    def reached(shape: tuple[int, ...]) -> Int[np.ndarray, " config"]:
        if shape not in last:
            before = reached(shape[:-1])
            if len(shape) > 1:
                value = np.nan_to_num(curves[before, levels[len(shape) - 2] - 1], nan=-np.inf)
                before = before[np.argsort(-value, kind="stable")]
            last[shape] = before[: shape[-1]]
        return last[shape]

    return np.array([draw_.regret[reached(shape)].min() for shape in found])
