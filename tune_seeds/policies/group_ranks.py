"""What the adaptive policy knows: where every group stands, and what can be expected of it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice
from statistics import fmean, variance
from typing import NamedTuple

from tune_seeds.core.rungs import Rung
from tune_seeds.policies.forecast import PRIOR_TRUST, fit_forecast, normal_score, trust_in_recent

#: Refit when there are this many times the scores of the last fit: the work per score stays flat.
_REFIT = 1.1


class Place(NamedTuple):
    """A group in a ranking; sorts best first, equal scores in the order of the configs."""

    cost: float
    order: int
    group: str


class Prospect(NamedTuple):
    """A group at a rung, with its expected mean over seeds at the last epoch."""

    expected: float
    level: int
    n_seeds: int
    group: str


@dataclass(slots=True)
class Member:
    """A group as the policy knows it.

    Attributes:
        index: its place in the order in which configs were suggested.
        goal: the rung it heads for, or is at.
        heading: whether it is on its way there.
        climbed: its scores on one seed, level by level.
        top: at the last epoch, the value of each seed that has one.
        recent: the same, as means over recent epochs.
        score: their aggregate, and over how many seeds it was asked for.
        n_seeds: how many those were.
        spent: the epochs that went to it or are on their way.
        dropped: whether it can't win.
    """

    index: int
    goal: Rung
    heading: bool = True
    climbed: list[float] = field(default_factory=list[float])
    top: tuple[float, ...] = ()
    recent: tuple[float, ...] = ()
    score: float = 0.0
    n_seeds: int = 0
    spent: int = 0
    dropped: bool = False


class Outlook:
    """Keeps the groups in order of what is expected of them; decides nothing.

    Args:
        epochs: the milestones, rising.
        n_seeds: how many seeds the study has.
    """

    def __init__(self, epochs: Sequence[int], n_seeds: int) -> None:
        self.members: dict[str, Member] = {}
        self.spent = 0
        self.spent_at = [0] * len(epochs)  # on the way to each level, on one seed
        self.n_top = 0
        self._epochs = tuple(epochs)
        self._last = len(epochs) - 1
        self._ranked: list[list[float]] = [[] for _ in epochs]
        self._waiting: list[list[Place]] = [[] for _ in range(self._last)]
        self._expected: dict[str, float] = {}  # of those at the last epoch
        self._at_top: list[list[Place]] = [[] for _ in range(n_seeds)]  # the same, by seeds
        self._climbing: dict[str, None] = {}  # on their way to the last epoch, in their order
        self._on_way: list[dict[str, None]] = [{} for _ in epochs]  # on one seed, by level
        self._n_scores = 0
        self._refit_at = 0
        self._trust = PRIOR_TRUST
        self.forecast = fit_forecast(self._ranked, [], [])

    def promoted(self, group: str, rung: Rung) -> None:
        """A group heads for a rung."""
        member = self.members.get(group)
        if member is None:
            member = self.members[group] = Member(len(self.members), rung)
        else:
            self._leave(group, member)
        member.goal, member.heading = rung, True
        cost = max(rung.epochs * rung.n_seeds - member.spent, 0)
        member.spent += cost
        self.spent += cost
        if rung.n_seeds == 1:
            level = self._epochs.index(rung.epochs)
            self.spent_at[level] += cost
            self._on_way[level][group] = None
            if level == self._last:
                self._climbing[group] = None

    def scored(
        self, group: str, rung: Rung, values: Sequence[float], score: float, recent: Sequence[float]
    ) -> None:
        """A group has reached a rung; the forecast is refitted when enough have."""
        member = self.members[group]
        if self._is_known(member, rung):
            self._correct(group, member, rung, values, score, recent)
            return
        member.heading = False
        self._climbing.pop(group, None)
        level = self._epochs.index(rung.epochs)
        self._on_way[level].pop(group, None)
        if rung.n_seeds == 1:
            member.climbed.append(score)
            insort(self._ranked[level], score)
        if level == self._last:
            self._unrank(group, member)
            member.top, member.recent = tuple(values), tuple(recent) or tuple(values)
            member.score, member.n_seeds = score, rung.n_seeds
        self._n_scores += 1
        if self._n_scores >= self._refit_at:
            self._refit()
        self._enter(group, member)

    def _is_known(self, member: Member, rung: Rung) -> bool:
        """Whether a group was scored at a rung before."""
        if rung.n_seeds == 1:
            return len(member.climbed) > self._epochs.index(rung.epochs)
        return member.n_seeds >= rung.n_seeds

    def _correct(
        self,
        group: str,
        member: Member,
        rung: Rung,
        values: Sequence[float],
        score: float,
        recent: Sequence[float],
    ) -> None:
        """Take a score for one that was given before; the group stays on its way, or waiting."""
        self._leave(group, member)
        self._unrank(group, member)
        level = self._epochs.index(rung.epochs)
        if rung.n_seeds == 1:
            ranked = self._ranked[level]
            del ranked[bisect_left(ranked, member.climbed[level])]
            insort(ranked, score)
            member.climbed[level] = score
        if level == self._last and rung.n_seeds == member.n_seeds:
            member.top, member.recent = tuple(values), tuple(recent) or tuple(values)
            member.score = score
        if member.top or not member.heading:
            self._enter(group, member)

    def dropped(self, group: str) -> None:
        """A group can't win; what it has shown stays in the ranks."""
        member = self.members[group]
        self._leave(group, member)
        self._unrank(group, member)
        self._climbing.pop(group, None)
        for on_way in self._on_way:
            on_way.pop(group, None)
        member.dropped = True

    def revived(self, group: str) -> None:
        """A group can win again."""
        member = self.members[group]
        member.dropped = False
        if member.top or not member.heading:
            self._enter(group, member)
        elif member.goal.epochs == self._epochs[-1]:
            self._climbing[group] = None
        if member.heading and member.goal.n_seeds == 1:
            self._on_way[self._epochs.index(member.goal.epochs)][group] = None

    def leading(self, n: int) -> list[str]:
        """The n groups at the last epoch that are expected to be best."""
        return [place.group for place in islice(merge(*self._at_top), n)]

    def climbing(self, n: int) -> Iterable[str]:
        """Up to n of the groups that are on their way to the last epoch."""
        return islice(self._climbing, n)

    def n_on_way(self, level: int) -> int:
        """Groups that are on their way to a level, or to one below it."""
        return sum(len(on_way) for on_way in self._on_way[: level + 1])

    def n_scored(self, level: int) -> int:
        """Groups that have a score on one seed at a level."""
        return len(self._ranked[level])

    def rank(self, level: int, group: str) -> int:
        """How many have scored better on one seed at a level."""
        ranked = self._ranked[level]
        return len(ranked) - bisect_right(ranked, self.members[group].climbed[level])

    def waiting(self, level: int) -> str | None:
        """The best of the groups that wait at a level below the last epoch."""
        waiting = self._waiting[level]
        return waiting[0].group if waiting else None

    def highest(self) -> str | None:
        """The best of the groups that have come furthest, before any is at the last epoch."""
        alive = [
            (len(member.climbed), member.climbed[-1], -member.index, group)
            for group, member in self.members.items()
            if member.climbed and not member.dropped
        ]
        return max(alive)[-1] if alive else None

    def prospects(self) -> list[Prospect]:
        """Who could gain most, and who leads: of each rung the two best, and the best that is idle.

        Of the others at a rung none can gain more: what a step settles is the same for all of them.
        """
        found = [*self._prospects_at_top(), *self._prospects_below()]
        return sorted(found, key=lambda p: (-p.expected, -p.level, self.members[p.group].index))

    def _prospects_at_top(self) -> Iterator[Prospect]:
        for n_seeds, places in enumerate(self._at_top, start=1):
            for k, place in enumerate(places):
                yield Prospect(-place.cost, self._last, n_seeds, place.group)
                if k and not self.members[place.group].heading:
                    break

    def _prospects_below(self) -> Iterator[Prospect]:
        for level, waiting in enumerate(self._waiting):
            for place in waiting[:2]:
                score = normal_score(self._ranked[level], -place.cost)
                yield Prospect(self.forecast.below(level, score), level, 1, place.group)

    def _refit(self) -> None:
        self._refit_at = max(self._n_scores + 1, int(self._n_scores * _REFIT))
        alive = [member for member in self.members.values() if not member.dropped]
        several = [member for member in alive if len(member.top) > 1]
        self._trust = trust_in_recent([(member.top, member.recent) for member in several])
        self.forecast = fit_forecast(
            self._ranked,
            [self._settled_climb(member) for member in alive],
            [(variance(self._settled(member)), len(member.top) - 1) for member in several],
        )
        ranked = list(self._expected)
        for places in self._at_top:
            places.clear()
        for group in ranked:
            self._rank(group, self.members[group])

    def _settled(self, member: Member) -> list[float]:
        """The values at the last epoch, drawn towards their recent epochs."""
        pairs = zip(member.top, member.recent, strict=True)
        return [value + self._trust * (recent - value) for value, recent in pairs]

    def _settled_climb(self, member: Member) -> list[float]:
        return [*member.climbed[:-1], self._settled(member)[0]] if member.top else member.climbed

    def _expect(self, member: Member) -> float:
        below = None
        if self._last:
            below = normal_score(self._ranked[self._last - 1], member.climbed[self._last - 1])
        score = member.score + self._trust * (fmean(member.recent) - fmean(member.top))
        return self.forecast.top(below, score, len(member.top))

    def _enter(self, group: str, member: Member) -> None:
        if member.top:
            self._rank(group, member)
        elif member.climbed:
            insort(self._waiting[len(member.climbed) - 1], _place(group, member))

    def _rank(self, group: str, member: Member) -> None:
        expected = self._expected[group] = self._expect(member)
        insort(self._at_top[member.n_seeds - 1], Place(-expected, member.index, group))
        self.n_top = len(self._expected)

    def _unrank(self, group: str, member: Member) -> None:
        expected = self._expected.pop(group, None)
        self.n_top = len(self._expected)
        if expected is not None:
            places = self._at_top[member.n_seeds - 1]
            del places[bisect_left(places, Place(-expected, member.index, group))]

    def _leave(self, group: str, member: Member) -> None:
        """Out of those that wait for a step up; at the last epoch nobody has to wait."""
        if not member.heading and member.climbed and not member.top:
            waiting = self._waiting[len(member.climbed) - 1]
            del waiting[bisect_left(waiting, _place(group, member))]


def _place(group: str, member: Member) -> Place:
    return Place(-member.climbed[-1], member.index, group)
