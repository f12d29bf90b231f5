"""The seeds of a study: checked where a user gives them, drawn where only a number is given."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence, Set

import numpy as np

from tune_seeds.core.checks import whole_number
from tune_seeds.statistics.confirmation import require_fresh

#: The largest seed that NumPy and ``lightning.seed_everything`` take.
MAX_SEED = 2**32 - 1


def check_seeds(seeds: Sequence[int] | int) -> tuple[int, ...]:
    """The seeds of a study.

    Args:
        seeds: distinct integers in 0 … 2³²−1; or how many to draw from the system's entropy.

    Raises:
        ValueError: none, a repeated one, or one that is not an integer in that range.
    """
    if isinstance(seeds, (bool, str, bytes)):
        raise ValueError(f"seeds must be a list of integers or a count, got {seeds!r}")
    if isinstance(seeds, int):
        if seeds < 1:
            raise ValueError(f"seeds={seeds}: a study needs at least one seed")
        drawn: list[int] = []
        while len(drawn) < seeds:
            seed = secrets.randbelow(MAX_SEED + 1)
            if seed not in drawn:
                drawn.append(seed)
        return tuple(drawn)
    if not isinstance(seeds, Iterable) or isinstance(seeds, (Set, Mapping)):
        raise ValueError(
            f"seeds must be a list of integers (rungs take them in its order) or a count, got "
            f"{seeds!r}"
        )
    checked: list[int] = []
    for seed in seeds:
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            raise ValueError(f"seed {seed!r} is not an integer; give integers in 0 … 2³²−1")
        value = whole_number("a seed", seed, at_least=-(10**30))
        if not 0 <= value <= MAX_SEED:
            raise ValueError(f"seed {value} is outside 0 … 2³²−1 ({MAX_SEED})")
        if value in checked:
            raise ValueError(f"seed {value} is given twice; a repeated seed repeats the same run")
        checked.append(value)
    if not checked:
        raise ValueError("seeds is empty: a study needs at least one seed")
    return tuple(checked)


def check_fresh_seeds(seeds: Sequence[int] | int, tuned: Sequence[int]) -> tuple[int, ...]:
    """The seeds of a confirmation; none is fine.

    Args:
        seeds: as for ``check_seeds``; an empty list or 0 for none.
        tuned: the seeds that the search uses.

    Raises:
        ValueError: as ``check_seeds``.
        OverlappingSeedsError: a seed is one of those tuned on.
    """
    if isinstance(seeds, (bool, str, bytes)) or not isinstance(seeds, (int, Sequence, np.ndarray)):
        raise ValueError(f"confirm_seeds must be a list of integers or a count, got {seeds!r}")
    if isinstance(seeds, int):
        if seeds < 0:
            raise ValueError(f"confirm_seeds must not be negative, got {seeds}")
        if seeds == 0:
            return ()
        drawn: tuple[int, ...] = ()
        while len(drawn) < seeds:
            drawn = tuple(seed for seed in check_seeds(seeds) if seed not in tuned)
        return drawn
    if len(seeds) == 0:
        return ()
    checked = check_seeds(seeds)
    require_fresh(tuned, checked)
    return checked
