"""Asynchronous successive halving by promotion, over rungs of (epochs, seeds)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import NamedTuple

from tune_seeds.core.rungs import Rung
from tune_seeds.policies.base import Promotion


class _Entry(NamedTuple):
    # Sorts best first; equal scores by the order of the configs, so that a rerun ranks them alike.
    cost: float
    place: int
    group: str


class SuccessiveHalving:
    """Asynchronous successive halving by promotion over given rungs.

    A group goes on from a rung as soon as it is in the top 1/η of the groups scored there, the
    highest rung first; it waits otherwise, and a free slot goes to a new config. A failed group
    counts as the worst of the rung it was heading for. When no new config is to come, that rule
    may leave nobody at the top (it promotes ⌊n/η⌋ of n), so the ``n_finalists`` groups that lead,
    by rung and then by score, are taken up to the last rung, best first.

    Args:
        rungs: the rungs in the order they are climbed, at least one; the last has every seed.
        reduction_factor: η > 1; a group needs to be among the best 1/η. Higher stops more.
        n_finalists: groups that are to reach the last rung, at least 1, or all when there are
            fewer.

    Raises:
        ValueError: no rungs, η ≤ 1 or no finalists.

    Source: Li et al. 2018, arXiv:1810.05934, Algorithm 2 (get_job).
    """

    def __init__(
        self, rungs: Sequence[Rung], reduction_factor: float = 4.0, n_finalists: int = 3
    ) -> None:
        if not rungs:
            raise ValueError("a policy needs at least one rung")
        if reduction_factor <= 1:
            raise ValueError(f"reduction_factor must be above 1, got {reduction_factor}")
        if n_finalists < 1:
            raise ValueError(f"n_finalists must be at least 1, got {n_finalists}")
        self._rungs = tuple(rungs)
        self._level = {rung: k for k, rung in enumerate(self._rungs)}
        self._eta = reduction_factor
        self._n_finalists = n_finalists
        self._index: dict[str, int] = {}
        self._goal: dict[str, int] = {}
        self._dropped: set[str] = set()
        self._entry: dict[str, dict[int, _Entry]] = {}
        n = len(self._rungs)
        self._scored: list[list[_Entry]] = [[] for _ in range(n)]  # every group scored there
        self._leading: list[list[_Entry]] = [[] for _ in range(n)]  # those with no higher score
        self._n_failed = [0] * n

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The rungs in the order they are climbed."""
        return self._rungs

    def first(self) -> Rung:
        """The lowest rung."""
        return self._rungs[0]

    def promoted(self, group: str, rung: Rung) -> None:
        """Note that a group heads for a rung."""
        self._index.setdefault(group, len(self._index))
        self._entry.setdefault(group, {})
        self._goal[group] = self._level[rung]

    def scored(
        self,
        group: str,
        rung: Rung,
        values: Sequence[float],
        score: float,
        recent: Sequence[float] = (),
    ) -> None:
        """Place a group among those scored at a rung, by its score alone."""
        level = self._level[rung]
        entry = _Entry(-score, self._index[group], group)
        lead = self._lead(group)
        before = self._entry[group].get(level)
        if before is not None:
            _remove(self._scored[level], before)
        if lead is not None and lead <= level:
            _remove(self._leading[lead], self._entry[group][lead])
        self._entry[group][level] = entry
        insort(self._scored[level], entry)
        if lead is None or lead <= level:
            insort(self._leading[level], entry)

    def dropped(self, group: str) -> None:
        """Count a failed group as the worst of the rung that it was heading for."""
        self._dropped.add(group)
        self._n_failed[self._goal[group]] += 1
        lead = self._lead(group)
        if lead is not None:
            _remove(self._leading[lead], self._entry[group][lead])

    def revived(self, group: str) -> None:
        """Take a group back among those that can win."""
        self._dropped.remove(group)
        self._n_failed[self._goal[group]] -= 1
        lead = self._lead(group)
        if lead is not None:
            insort(self._leading[lead], self._entry[group][lead])

    def propose(self, *, exhausted: bool, n_slots: int = 1, n_busy: int = 0) -> Promotion | None:
        """The best waiting group in the top 1/η of the highest rung that has one."""
        for level in reversed(range(len(self._rungs) - 1)):
            n = len(self._scored[level]) + self._n_failed[level]
            promotable = int(n / self._eta)
            best = next((e for e in self._leading[level] if self._goal[e.group] == level), None)
            if best is not None and bisect_left(self._scored[level], best) < promotable:
                return Promotion(best.group, self._rungs[level + 1])
        return self._finish() if exhausted else None

    def fresh(self, rungs: Sequence[Rung], n_finalists: int) -> SuccessiveHalving:
        """The same rule over other rungs, and for another number of finalists."""
        return SuccessiveHalving(rungs, self._eta, n_finalists)

    def leader(self) -> str | None:
        """The best group at the highest rung that any group has reached."""
        for entries in reversed(self._leading):
            if entries:
                return entries[0].group
        return None

    def _finish(self) -> Promotion | None:
        wanted = self._n_finalists
        top = len(self._rungs) - 1
        for level in reversed(range(len(self._rungs))):
            for entry in self._leading[level]:
                if level < top and self._goal[entry.group] == level:
                    return Promotion(entry.group, self._rungs[level + 1])
                wanted -= 1
                if wanted == 0:
                    return None
        return None

    def _lead(self, group: str) -> int | None:
        return max(self._entry[group], default=None)


def _remove(entries: list[_Entry], entry: _Entry) -> None:
    place = bisect_left(entries, entry)
    assert entries[place] == entry
    del entries[place]
