"""The runs that wait for a slot, in the order in which they should get one."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from tune_seeds.core.ledger import RunKey


class Kind(IntEnum):
    """Why a run waits; the lower comes first."""

    INTERRUPTED = 0  # it was training when the study was left
    PROMOTED = 1  # its group goes on to a higher rung
    NEW = 2  # its group has no score yet
    FRESH_SEED = 3  # it confirms a finished group


class Urgency(NamedTuple):
    """Where a run stands among those that wait: by kind, and then by these numbers, low first."""

    kind: Kind
    order: tuple[int, ...] = ()


class Waiting:
    """A sorted collection of runs.

    A run is added, taken out or looked up in logarithmic time (and one move of memory), so that a
    study of tens of thousands of runs is read back in a time that grows with its journal only.
    """

    def __init__(self) -> None:
        self._sorted: list[tuple[Urgency, RunKey]] = []
        self._urgency: dict[RunKey, Urgency] = {}

    def __contains__(self, key: RunKey) -> bool:
        return key in self._urgency

    def __len__(self) -> int:
        return len(self._sorted)

    def __iter__(self) -> Iterator[RunKey]:
        return (key for _, key in self._sorted)

    @property
    def first_kind(self) -> Kind | None:
        """Why the most urgent run waits; None where no run does."""
        return self._sorted[0][0].kind if self._sorted else None

    def kind(self, key: RunKey) -> Kind:
        """Why a run waits."""
        return self._urgency[key].kind

    def add(self, key: RunKey, urgency: Urgency) -> None:
        """Let a run wait; one that waits already keeps its place."""
        if key not in self._urgency:
            self._urgency[key] = urgency
            insort(self._sorted, (urgency, key))

    def remove(self, key: RunKey) -> None:
        """Let a run wait no longer, if it did."""
        urgency = self._urgency.pop(key, None)
        if urgency is not None:
            del self._sorted[bisect_left(self._sorted, (urgency, key))]
