"""The rungs of a study: which (epochs, seeds) a group climbs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

#: The epochs of a rung that a run reaches by coming to its own end, whichever epoch that is.
TO_THE_END = sys.maxsize


@dataclass(frozen=True, slots=True, order=True)
class Rung:
    """Where groups are scored and compared: epochs trained × number of seeds.

    Attributes:
        epochs: epochs (or units of the scheduler's ``time_attr``) a run has trained, at least 1;
            ``TO_THE_END`` where a run is scored when it ends by itself.
        n_seeds: how many seeds, counted from the head of the study's list, at least 1.
    """

    epochs: int
    n_seeds: int

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"a rung needs at least 1 epoch, got {self.epochs}")
        if self.n_seeds < 1:
            raise ValueError(f"a rung needs at least 1 seed, got {self.n_seeds}")

    def __str__(self) -> str:
        epochs = "end" if self.epochs == TO_THE_END else str(self.epochs)
        return f"{epochs}x{self.n_seeds}"


def milestones(max_t: int, grace_period: int, reduction_factor: float) -> tuple[int, ...]:
    """The epochs of successive halving: grace_period · reduction_factor^k, and max_t at the top.

    Args:
        max_t: epochs of a full training, at least ``grace_period``.
        grace_period: epochs of the lowest rung, at least 1; higher wastes more on bad configs.
        reduction_factor: η > 1; higher makes fewer rungs and keeps fewer groups at each.

    Raises:
        ValueError: an argument is out of its range.

    Source: Li et al. 2018, arXiv:1810.05934, Algorithm 1, with r = grace_period, R = max_t.
    """
    if grace_period < 1:
        raise ValueError(f"grace_period must be at least 1, got {grace_period}")
    if max_t < grace_period:
        raise ValueError(f"max_t={max_t} is below grace_period={grace_period}")
    if reduction_factor <= 1:
        raise ValueError(f"reduction_factor must be above 1, got {reduction_factor}")
    levels: list[int] = []
    level = float(grace_period)
    while round(level) < max_t:
        if not levels or round(level) > levels[-1]:
            levels.append(round(level))
        level *= reduction_factor
    return (*levels, max_t)


def build_rungs(
    epochs: Sequence[int], n_seeds: int, seeds_per_rung: str | Sequence[int]
) -> tuple[Rung, ...]:
    """Lay seeds over milestones.

    Args:
        epochs: the milestones, rising.
        n_seeds: how many seeds the study has.
        seeds_per_rung: ``"adaptive"``, one seed until the last epoch and then one more at a time;
            ``"all"``, every seed at every rung; ``"ladder"``, one seed until the last
            epoch and then all of them; or a number for each milestone, never falling. Where the
            last number is below ``n_seeds`` one more rung, (last epoch, all seeds), is added.

    Raises:
        ValueError: the list has the wrong length, falls, or asks for more seeds than exist.
    """
    if isinstance(seeds_per_rung, str):
        if seeds_per_rung == "adaptive":
            # One seed up to the last epoch, then one more at a time.
            more = [Rung(epochs[-1], k) for k in range(2, n_seeds + 1)]
            return (*(Rung(e, 1) for e in epochs), *more)
        if seeds_per_rung == "all":
            counts = [n_seeds] * len(epochs)
        elif seeds_per_rung == "ladder":
            counts = [1] * len(epochs)
        else:
            raise ValueError(
                "seeds_per_rung must be 'adaptive', 'all', 'ladder' or a list of numbers, got "
                f"{seeds_per_rung!r}"
            )
    else:
        counts = list(seeds_per_rung)
    levels = ", ".join("end" if e == TO_THE_END else str(e) for e in epochs)
    if len(counts) != len(epochs):
        raise ValueError(
            f"seeds_per_rung has {len(counts)} numbers for {len(epochs)} rungs (at {levels}); "
            "give one for each"
        )
    for count in counts:
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"seeds_per_rung holds {count!r}; give whole numbers of at least 1")
        if count > n_seeds:
            raise ValueError(
                f"seeds_per_rung asks for {count} seeds at a rung, but the study has {n_seeds}; "
                "give more seeds or ask for fewer"
            )
    if any(later < earlier for earlier, later in pairwise(counts)):
        raise ValueError(f"seeds_per_rung must not fall, got {counts}")
    rungs = [Rung(e, k) for e, k in zip(epochs, counts, strict=True)]
    top = Rung(epochs[-1], n_seeds)
    return (*rungs, top) if rungs[-1] != top else tuple(rungs)
