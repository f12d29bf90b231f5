"""The default policy: spend the next epoch or seed where it is expected to gain most."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tune_seeds.core.rungs import Rung
from tune_seeds.policies.base import Promotion
from tune_seeds.policies.forecast import expected_rise
from tune_seeds.policies.group_ranks import Outlook, Prospect

#: Groups that reach the last epoch before the forecast decides alone.
N_PIONEERS = 5
#: While pioneers are sought, an epoch at the last rung counts as this share of one below.
PIONEER_DISCOUNT = 0.5
#: Afterwards each rung gets at least this share of what any rung below it got.
LEAST_SHARE = 0.5
#: What a study may cost beyond successive halving on as many configs, in full trainings.
EXTRA = 1.0
#: What it may cost beyond that for each further slot, up to one for each config, in full trainings.
#: Successive halving costs about as much more on many slots, since it promotes on early results.
EXTRA_PER_SLOT = 0.125
#: Share of what may go to promotions that is kept until every config is there. Raising it lets
#: late configs compete with early ones, and leaves less for the answer of an interrupted study.
KEPT = 0.4

#: How far slots wait for results, 0 … 1. Raising it takes longer and makes the answer safer.
PATIENCE = 0.5


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

    The gain says where to spend, not how much. A study costs about what successive halving over
    the same milestones would cost with one seed up to the last epoch and all of them for those
    that get there (n/η^k groups at rung k): what goes to others than the finalists is held to what
    goes to them there, and ``EXTRA`` full trainings more. While new configs come, ``KEPT`` of that
    is kept for when all of them compare; once the rest is spent, only new configs start. When none
    is to come and all is spent, the ``n_finalists`` groups that lead get every epoch and seed.

    On many slots groups come to a rung in the order of their speed. While some are on their way to
    it, only the top 1/η there go on, and only those get more seeds that are likely to remain among
    the finalists: a slot then waits. With one slot nothing is ever on its way when it is free.

    Assumptions: residuals between neighbouring rungs are normal and alike in all groups; the
    spread over seeds at the last epoch is the same in all groups; a rung tells nothing beyond the
    next one. None has to hold for a decision to be valid, only for it to be the best one.

    Args:
        epochs: the milestones, rising; at least one.
        n_seeds: how many seeds the study has, at least 1.
        reduction_factor: η > 1; sets what a study may cost, as above. Higher costs less.
        n_finalists: groups that are to hold every epoch and every seed, at least 1, or all when
            there are fewer. More cost more; as many as there are configs lets the race go on for
            as long as its budget lasts.
        patience: 0 … 1, what matters on many slots only: 0 gives each slot to the best group that
            happens to be there; at 1 no more groups are sent up in the end than are to be
            finalists, each after the result of the one before, which takes longest and costs
            least.
        stop_when: in the metric's unit, above 0: when a further full training is expected to add
            less than this to the best mean, no more configs are asked for, and only the finalists
            are completed. None goes on until the configs or the budget are used up.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        epochs: Sequence[int],
        n_seeds: int,
        reduction_factor: float = 4.0,
        n_finalists: int = 3,
        patience: float = PATIENCE,
        stop_when: float | None = None,
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
        if not 0 <= patience <= 1:
            raise ValueError(f"patience must be between 0 and 1, got {patience}")
        if stop_when is not None and not 0 < stop_when < math.inf:
            raise ValueError(f"stop_when must be above 0 and finite, got {stop_when}")
        self._epochs = tuple(epochs)
        self._n_seeds = n_seeds
        self._stop_when = stop_when
        self._eta = reduction_factor
        self._n_finalists = n_finalists
        self._patience = patience
        self._last = len(self._epochs) - 1
        self._rungs = (
            *(Rung(e, 1) for e in self._epochs),
            *(Rung(self._epochs[-1], k) for k in range(2, n_seeds + 1)),
        )
        self._steps = tuple(
            e - below for e, below in zip(epochs, (0, *self._epochs[:-1]), strict=True)
        )
        self._outlook = Outlook(epochs, n_seeds)

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """One seed up to the last epoch, then one more seed at a time."""
        return self._rungs

    def first(self) -> Rung:
        """The first milestone on one seed."""
        return self._rungs[0]

    def promoted(self, group: str, rung: Rung) -> None:
        """Note that a group heads for a rung."""
        self._outlook.promoted(group, rung)

    def scored(
        self,
        group: str,
        rung: Rung,
        values: Sequence[float],
        score: float,
        recent: Sequence[float] = (),
    ) -> None:
        """Learn from a score; what is expected of every group follows."""
        self._outlook.scored(group, rung, values, score, recent)

    def dropped(self, group: str) -> None:
        """Take a failed group out of those that can win."""
        self._outlook.dropped(group)

    def revived(self, group: str) -> None:
        """Take a group back among those that can win."""
        self._outlook.revived(group)

    def propose(self, *, exhausted: bool, n_slots: int = 1, n_busy: int = 0) -> Promotion | None:
        """The step with the highest expected gain per epoch, or None for a new config."""
        if self.settled() is not None or self._has_spent_its_share(exhausted, n_slots):
            return self._finish() if exhausted else None
        if self._outlook.n_top < N_PIONEERS:
            step, new = self._even_spending(exhausted)
            if step is not None or new:
                return step
        if not self._outlook.n_top:
            return None
        step = self._starved() or self._highest_gain(exhausted)
        return self._finish() if step is None and exhausted else step

    def fresh(self, rungs: Sequence[Rung], n_finalists: int) -> Adaptive:
        """The same rule over other milestones and seeds; who asks for more has no ``stop_when``."""
        epochs = sorted({rung.epochs for rung in rungs})
        return Adaptive(epochs, rungs[-1].n_seeds, self._eta, n_finalists, self._patience)

    def settled(self) -> str | None:
        """Why no new config is worth its cost: by ``stop_when``; None where it says nothing."""
        if self._stop_when is None:
            return None
        gain = self.gain()
        if gain is None or gain >= self._stop_when:
            return None
        return (
            f"a further full training was expected to add {gain:.2g} to the best score, less than "
            f"stop_when={self._stop_when:g}"
        )

    def gain(self) -> float | None:
        """What one more full training is expected to add to the best mean, in the metric's unit.

        That is the higher of two numbers. A full training spent on groups that are there gains what
        the best step up is expected to gain per epoch, times the epochs of a full training. Spent
        on new configs it buys as many as it has bought so far (configs per full training), each of
        which exceeds the best mean by E[max(0, N(mean, variance) − best)] on average, with the mean
        and variance of a config of which nothing is known. That counts a better config as found,
        though a race overlooks some, so a study ends rather later than sooner than it was asked to.

        None as long as nothing can be said: before ``N_PIONEERS`` groups have come to the last
        epoch, and while the group that is expected to be best has not.
        """
        prospects = self._outlook.prospects()
        if self._outlook.n_top < N_PIONEERS or prospects[0].level < self._last:
            return None
        _, per_epoch = self._best_step(prospects)
        mean, variance = self._outlook.forecast.new()
        full = self._epochs[-1]
        n_new = len(self._outlook.members) * full / self._outlook.spent
        return max(per_epoch * full, n_new * expected_rise(mean - prospects[0].expected, variance))

    def leader(self) -> str | None:
        """The group that would be the answer now: the best expected mean at the highest rung.

        It is judged at the highest epoch that any group has reached. At the last epoch the mean
        over seeds is drawn towards recent epochs and towards the forecast, the more the fewer seeds
        it has: a single lucky seed leads less easily.
        """
        leading = self._outlook.leading(1)
        return leading[0] if leading else self._outlook.highest()

    def _even_spending(self, exhausted: bool) -> tuple[Promotion | None, bool]:
        """The best group of the rung below the one that got least; else whether a new config."""
        waiting = {
            level: group
            for level in range(1, self._last + 1)
            if (group := self._outlook.waiting(level - 1)) is not None
            and self._is_open(level - 1, group)
        }
        levels = list(waiting) if exhausted else [0, *waiting]
        if not levels:
            return None, False
        level = min(levels, key=lambda level: (self._share(level), level))
        if level == 0:
            return None, True
        return Promotion(waiting[level], self._rungs[level]), False

    def _starved(self) -> Promotion | None:
        """The best group below a rung that got too little, the highest rung first.

        A forecast from few groups can be sure and wrong; then nothing goes on that would show it.
        """
        spent = self._outlook.spent_at
        for level in range(self._last, 0, -1):
            group = self._outlook.waiting(level - 1)
            enough = LEAST_SHARE * max(spent[:level])
            if (
                group is not None
                and spent[level] + self._steps[level] <= enough
                and self._is_open(level - 1, group)
            ):
                return Promotion(group, self._rungs[level])
        return None

    def _share(self, level: int) -> float:
        discount = PIONEER_DISCOUNT if level == self._last else 1.0
        return (self._outlook.spent_at[level] + self._steps[level]) * discount

    def _highest_gain(self, exhausted: bool) -> Promotion | None:
        prospects = self._outlook.prospects()
        lead = prospects[0]
        if lead.level < self._last and self._can_go_on(lead):
            return self._up(lead)
        step, best = self._best_step(prospects)
        if exhausted:
            return step or next((self._up(p) for p in prospects if self._can_go_on(p)), None)
        return step if best > self._gain_of_new(lead.expected) else None

    def _best_step(self, prospects: Sequence[Prospect]) -> tuple[Promotion | None, float]:
        """The step up with the highest expected gain per epoch, and that gain; None gains 0."""
        best, step, lead = 0.0, None, prospects[0]
        for prospect in prospects:
            if not self._can_go_on(prospect):
                continue
            rival = prospects[1] if prospect is lead and len(prospects) > 1 else lead
            gain = self._gain(prospect, rival.expected)
            if gain > best:
                best, step = gain, self._up(prospect)
        return step, best

    def _has_spent_its_share(self, exhausted: bool, n_slots: int) -> bool:
        """Whether what went to others than the finalists is what successive halving spends."""
        n = len(self._outlook.members)
        if n <= self._n_finalists:
            return False
        lowest, *higher = (*self._steps, (self._n_seeds - 1) * self._epochs[-1])
        extra = EXTRA + EXTRA_PER_SLOT * min(n_slots - 1, n)
        promotions = extra * self._epochs[-1] + sum(
            max(n / self._eta**k - self._n_finalists, 0.0) * cost
            for k, cost in enumerate(higher, start=1)
        )
        share = 1.0 if exhausted else 1 - KEPT
        allowed = (n - self._n_finalists) * lowest + share * promotions
        if self._outlook.spent < allowed:
            return False
        kept = sum(self._outlook.members[group].spent for group in self._finalists())
        return self._outlook.spent - kept >= allowed

    def _finalists(self) -> list[str]:
        """Who would be completed now: the groups that lead, then those on their way up."""
        leading = self._outlook.leading(self._n_finalists)
        return [*leading, *self._outlook.climbing(self._n_finalists - len(leading))]

    def _finish(self) -> Promotion | None:
        finalists = self._finalists()
        for group in finalists:
            member = self._outlook.members[group]
            if member.heading or member.n_seeds == self._n_seeds:
                continue
            if self._is_likely_finalist(group):
                return Promotion(group, self._rungs[-1])
        if len(finalists) < self._n_finalists and not self._enough_on_way():
            open_ = [p for p in self._outlook.prospects() if p.level < self._last]
            return next((self._up(p) for p in open_ if self._can_go_on(p)), None)
        return None

    def _can_go_on(self, prospect: Prospect) -> bool:
        below_top = prospect.level < self._last or prospect.n_seeds < self._n_seeds
        return (
            below_top
            and not self._outlook.members[prospect.group].heading
            and self._is_open(prospect.level, prospect.group)
        )

    def _is_open(self, level: int, group: str) -> bool:
        """Whether a group is to go on though others are still on their way to its rung.

        Those that come first are those that train fastest, not the best. Until all have come only
        the top 1/η of a rung go on, as in successive halving.
        """
        if level == self._last:
            return self._is_likely_finalist(group)
        if not self._outlook.n_on_way(level):
            return True
        share = self._eta ** -min(1.0, 2 * self._patience)
        return self._outlook.rank(level, group) < int(self._outlook.n_scored(level) * share)

    def _is_likely_finalist(self, group: str) -> bool:
        """Whether it leads so far that as many as are on their way leave it among the finalists.

        Of n groups at the last epoch with m on their way, the best n/(n + m) of the finalists.
        """
        n_coming = self._outlook.n_on_way(self._last)
        if not n_coming:
            return True
        n_top = self._outlook.n_top
        arrived = (n_top / (n_top + n_coming)) ** min(1.0, 2 * self._patience)
        return group in self._outlook.leading(int(self._n_finalists * arrived + 1e-9))

    def _enough_on_way(self) -> bool:
        """Whether finalists may come from those that are at the last epoch or on their way up."""
        n_coming = self._outlook.n_on_way(self._last)
        candidates = self._patience * (n_coming + self._outlook.n_top)
        return n_coming > 0 and candidates >= self._n_finalists

    def _up(self, prospect: Prospect) -> Promotion:
        if prospect.level < self._last:
            return Promotion(prospect.group, self._rungs[prospect.level + 1])
        return Promotion(prospect.group, self._rungs[self._last + prospect.n_seeds])

    def _gain(self, prospect: Prospect, rival: float) -> float:
        """Expected gain per epoch of the best way up from a rung; only its first step is taken."""
        ahead, level = prospect.expected - rival, prospect.level
        forecast = self._outlook.forecast
        left = forecast.left(level, prospect.n_seeds)
        if level == self._last:
            settled = left - forecast.left(level, prospect.n_seeds + 1)
            return expected_rise(ahead, settled) / self._epochs[-1]
        return max(
            expected_rise(ahead, left - forecast.left(higher, 1))
            / (self._epochs[higher] - self._epochs[level])
            for higher in range(level + 1, self._last + 1)
        )

    def _gain_of_new(self, best: float) -> float:
        forecast = self._outlook.forecast
        mean, variance = forecast.new()
        return max(
            expected_rise(mean - best, variance - forecast.left(level, 1)) / epochs
            for level, epochs in enumerate(self._epochs)
        )
