"""The default policy: spend the next epoch or seed where it is expected to gain most."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice
from statistics import variance
from typing import NamedTuple

from tune_seeds.forecast import expected_rise, fit_forecast, normal_score
from tune_seeds.ledger import Rung
from tune_seeds.policy import Promotion

#: Groups that reach the last epoch before the forecast decides alone.
N_PIONEERS = 4
#: While pioneers are sought, an epoch at the last rung counts as this share of one below.
PIONEER_DISCOUNT = 0.5
#: Afterwards each rung gets at least this share of what any rung below it got.
LEAST_SHARE = 0.5
#: Refit when there are this many times the scores of the last fit: the work per score stays flat.
_REFIT = 1.1


class _Place(NamedTuple):
    # Sorts best first; equal scores in the order of the configs, so a rerun ranks them equally.
    cost: float
    order: int
    group: str


@dataclass(slots=True)
class _Member:
    """A group as the policy knows it: its scores on one seed by level, and its top rung's."""

    index: int
    goal: Rung
    climbed: list[float] = field(default_factory=list[float])
    top: tuple[float, ...] = ()
    score: float = 0.0
    heading: bool = True
    dropped: bool = False


class _Option(NamedTuple):
    expected: float
    level: int
    n_seeds: int
    group: str


class Adaptive:
    """Races configs over epochs on one seed and over seeds at the last epoch, by expected gain.

    A forecast (``forecast.py``) gives every group an expected mean over seeds at the last epoch,
    and says how much of what is unknown each further rung would settle. A free slot goes to the
    step with the highest expected gain per epoch: how far, on average, the best expected mean
    would rise if that step's outcome were known (the knowledge gradient: Frazier, Powell & Dayanik
    2009, doi:10.1287/ijoc.1080.0314; for normal posteriors its value is theirs, eq. 14). A step is
    one rung up for a waiting group, one more seed for a group at the last epoch, or a new config.
    So seeds are added where the difference to the best is within the noise that seeds have shown,
    and rungs that have proved to say little about the end stop nobody. Common seeds are what makes
    values at one rung comparable; the forecast itself treats groups as independent.

    Three rules stand above the gain. Until ``N_PIONEERS`` groups have every epoch, each rung gets
    the same share of the epochs, the best of a rung going on first: with fewer there is nothing to
    learn the forecast from. Later each rung still gets ``LEAST_SHARE`` of what any rung below it
    got: a forecast that is sure and wrong would never find out. And a group that is expected to be
    best is taken to the last epoch at once, so what leads has been seen there.

    When no new config is to come the race goes on in the same way until η · ``n_finalists`` groups
    have every epoch; then the ``n_finalists`` groups that lead get every seed, best first.

    Assumptions: residuals between neighbouring rungs are normal and alike in all groups; the
    spread over seeds at the last epoch is the same in all groups; a rung tells nothing beyond the
    next one. None has to hold for a decision to be valid, only for it to be the best one.

    Args:
        epochs: the milestones, rising; at least one.
        n_seeds: how many seeds the study has, at least 1.
        reduction_factor: η > 1; how many groups with every epoch there are for a finalist.
        n_finalists: groups that are to hold every epoch and every seed, at least 1, or all when
            there are fewer. As many as there are configs lets the race go on for as long as its
            budget lasts.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        epochs: Sequence[int],
        n_seeds: int,
        reduction_factor: float = 4.0,
        n_finalists: int = 3,
    ) -> None:
        if not epochs:
            raise ValueError("a policy needs at least one milestone")
        if list(epochs) != sorted(set(epochs)):
            raise ValueError(f"milestones must rise, got {list(epochs)}")
        if n_seeds < 1:
            raise ValueError(f"n_seeds must be at least 1, got {n_seeds}")
        if reduction_factor <= 1:
            raise ValueError(f"reduction_factor must be above 1, got {reduction_factor}")
        if n_finalists < 1:
            raise ValueError(f"n_finalists must be at least 1, got {n_finalists}")
        self._epochs = tuple(epochs)
        self._n_seeds = n_seeds
        self._n_contenders = math.ceil(reduction_factor * n_finalists)
        self._n_finalists = n_finalists
        self._last = len(self._epochs) - 1
        self._rungs = (
            *(Rung(e, 1) for e in self._epochs),
            *(Rung(self._epochs[-1], k) for k in range(2, n_seeds + 1)),
        )
        self._members: dict[str, _Member] = {}
        self._ranked: list[list[float]] = [[] for _ in self._epochs]
        self._waiting: list[list[_Place]] = [[] for _ in range(self._last)]
        self._expected: dict[str, float] = {}  # of those at the last epoch
        self._at_top: list[list[_Place]] = [[] for _ in range(n_seeds)]  # the same, by seeds
        self._n_dropped = 0
        self._spent = [0.0] * len(self._epochs)
        self._n_scores = 0
        self._refit_at = 0
        self._forecast = fit_forecast(self._ranked, [], [])

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """One seed up to the last epoch, then one more seed at a time."""
        return self._rungs

    def first(self) -> Rung:
        """The first milestone on one seed."""
        return self._rungs[0]

    def promoted(self, group: str, rung: Rung) -> None:
        """Note that a group heads for a rung."""
        member = self._members.get(group)
        if member is None:
            member = self._members[group] = _Member(len(self._members), rung)
        else:
            self._leave(group, member)
        member.goal, member.heading = rung, True
        if rung.n_seeds == 1:
            level = self._epochs.index(rung.epochs)
            self._spent[level] += self._step(level)

    def scored(self, group: str, rung: Rung, values: Sequence[float], score: float) -> None:
        """Learn from a score; the forecast is refitted when enough have come."""
        member = self._members[group]
        member.heading = False
        level = self._epochs.index(rung.epochs)
        if rung.n_seeds == 1:
            member.climbed.append(score)
            insort(self._ranked[level], score)
        if level == self._last:
            self._unrank(group, member)
            member.top, member.score = tuple(values), score
        self._n_scores += 1
        if self._n_scores >= self._refit_at:
            self._refit()
        self._enter(group, member)

    def dropped(self, group: str) -> None:
        """Take a failed group out; what it has shown stays in the ranks."""
        member = self._members[group]
        self._leave(group, member)
        self._unrank(group, member)
        member.dropped = True
        self._n_dropped += 1

    def revived(self, group: str) -> None:
        """Take a group back among those that can win."""
        member = self._members[group]
        member.dropped = False
        self._n_dropped -= 1
        if member.top or not member.heading:
            self._enter(group, member)

    def propose(self, *, exhausted: bool) -> Promotion | None:
        """The step with the highest expected gain per epoch, or None for a new config."""
        n_top = len(self._expected)
        if n_top < N_PIONEERS:
            step, new = self._even_spending(exhausted)
            if step is not None or new:
                return step
        if not n_top:
            return None
        if exhausted and n_top >= min(self._n_contenders, len(self._members) - self._n_dropped):
            return self._finish()
        return self._starved() or self._highest_gain(exhausted)

    def leader(self) -> str | None:
        """The group that would be the answer now: the best expected mean at the highest rung.

        It is judged at the highest epoch that any group has reached. At the last epoch the mean
        over seeds is drawn towards the forecast, the more the fewer seeds it has: a single lucky
        seed leads less easily.
        """
        if self._expected:
            return min(places[0] for places in self._at_top if places).group
        alive = [
            (len(member.climbed), member.climbed[-1], -member.index, group)
            for group, member in self._members.items()
            if member.climbed and not member.dropped
        ]
        return max(alive)[-1] if alive else None

    def _even_spending(self, exhausted: bool) -> tuple[Promotion | None, bool]:
        """The best group of the rung below the one that got least; else whether a new config."""
        choices = [
            (self._share(level), level)
            for level in range(1, self._last + 1)
            if self._waiting[level - 1]
        ]
        if not exhausted:
            choices.append((self._share(0), 0))
        if not choices:
            return None, False
        level = min(choices)[1]
        if level == 0:
            return None, True
        return Promotion(self._waiting[level - 1][0].group, self._rungs[level]), False

    def _starved(self) -> Promotion | None:
        """The best group below a rung that got too little, the highest rung first.

        A forecast from few groups can be sure and wrong; then nothing goes on that would show it.
        """
        for level in range(self._last, 0, -1):
            enough = LEAST_SHARE * max(self._spent[:level])
            if self._waiting[level - 1] and self._spent[level] + self._step(level) <= enough:
                return Promotion(self._waiting[level - 1][0].group, self._rungs[level])
        return None

    def _share(self, level: int) -> float:
        discount = PIONEER_DISCOUNT if level == self._last else 1.0
        return (self._spent[level] + self._step(level)) * discount

    def _highest_gain(self, exhausted: bool) -> Promotion | None:
        options = self._options()
        lead = options[0]
        if lead.level < self._last:
            return self._up(lead)
        best, step = 0.0, None
        for option in options:
            if not self._can_go_on(option):
                continue
            rival = options[1].expected if option is lead and len(options) > 1 else lead.expected
            gain = self._gain(option.expected - rival, option.level, option.n_seeds)
            if gain > best:
                best, step = gain, self._up(option)
        if exhausted:
            return step or next((self._up(o) for o in options if self._can_go_on(o)), None)
        return step if best > self._gain_of_new(lead.expected) else None

    def _finish(self) -> Promotion | None:
        leading = islice(merge(*self._at_top), self._n_finalists)
        for group in [place.group for place in leading]:
            member = self._members[group]
            if not member.heading and len(member.top) < self._n_seeds:
                return Promotion(group, self._rungs[-1])
        return None

    def _options(self) -> list[_Option]:
        """Who could gain most, and who leads: of each rung the two best, and the best that is idle.

        Of the others at a rung none can gain more: what a step settles is the same for all of them.
        """
        options: list[_Option] = []
        for n_seeds, places in enumerate(self._at_top, start=1):
            for k, place in enumerate(places):
                options.append(_Option(-place.cost, self._last, n_seeds, place.group))
                if k and not self._members[place.group].heading:
                    break
        for level, waiting in enumerate(self._waiting):
            for place in waiting[:2]:
                score = normal_score(self._ranked[level], -place.cost)
                expected = self._forecast.below(level, score)
                options.append(_Option(expected, level, 1, place.group))
        return sorted(options, key=lambda o: (-o.expected, -o.level, self._members[o.group].index))

    def _can_go_on(self, option: _Option) -> bool:
        below_top = option.level < self._last or option.n_seeds < self._n_seeds
        return below_top and not self._members[option.group].heading

    def _up(self, option: _Option) -> Promotion:
        if option.level < self._last:
            return Promotion(option.group, self._rungs[option.level + 1])
        return Promotion(option.group, self._rungs[self._last + option.n_seeds])

    def _gain(self, ahead: float, level: int, n_seeds: int) -> float:
        """Expected gain per epoch of the best way up from a rung; only its first step is taken."""
        left = self._forecast.left(level, n_seeds)
        if level == self._last:
            settled = left - self._forecast.left(level, n_seeds + 1)
            return expected_rise(ahead, settled) / self._epochs[-1]
        return max(
            expected_rise(ahead, left - self._forecast.left(higher, 1))
            / (self._epochs[higher] - self._epochs[level])
            for higher in range(level + 1, self._last + 1)
        )

    def _gain_of_new(self, best: float) -> float:
        mean, variance = self._forecast.new()
        return max(
            expected_rise(mean - best, variance - self._forecast.left(level, 1)) / epochs
            for level, epochs in enumerate(self._epochs)
        )

    def _refit(self) -> None:
        self._refit_at = max(self._n_scores + 1, int(self._n_scores * _REFIT))
        alive = [member for member in self._members.values() if not member.dropped]
        self._forecast = fit_forecast(
            self._ranked,
            [member.climbed for member in alive],
            [(variance(m.top), len(m.top) - 1) for m in alive if len(m.top) > 1],
        )
        ranked = list(self._expected)
        for places in self._at_top:
            places.clear()
        for group in ranked:
            self._rank(group, self._members[group])

    def _expect(self, member: _Member) -> float:
        below = None
        if self._last:
            below = normal_score(self._ranked[self._last - 1], member.climbed[self._last - 1])
        return self._forecast.top(below, member.score, len(member.top))

    def _enter(self, group: str, member: _Member) -> None:
        if member.top:
            self._rank(group, member)
        elif member.climbed:
            insort(self._waiting[len(member.climbed) - 1], self._place(group, member))

    def _rank(self, group: str, member: _Member) -> None:
        expected = self._expected[group] = self._expect(member)
        insort(self._at_top[len(member.top) - 1], _Place(-expected, member.index, group))

    def _unrank(self, group: str, member: _Member) -> None:
        expected = self._expected.pop(group, None)
        if expected is not None:
            places = self._at_top[len(member.top) - 1]
            del places[bisect_left(places, _Place(-expected, member.index, group))]

    def _leave(self, group: str, member: _Member) -> None:
        """Out of those that wait for a step up; at the last epoch nobody has to wait."""
        if not member.heading and member.climbed and not member.top:
            waiting = self._waiting[len(member.climbed) - 1]
            del waiting[bisect_left(waiting, self._place(group, member))]

    def _place(self, group: str, member: _Member) -> _Place:
        return _Place(-member.climbed[-1], member.index, group)

    def _step(self, level: int) -> int:
        return self._epochs[level] - (self._epochs[level - 1] if level else 0)
