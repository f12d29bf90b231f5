"""Two configs on common seeds: their difference, who wins, and how many seeds would decide.

Every config of a study has the same seeds, so what a seed does to both (initialisation, order of
the data) cancels within a pair, and all of this works on the n differences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tune_seeds.statistics.aggregate import require_complete
from tune_seeds.statistics.distributions import (
    beta_quantile,
    chi_square_quantile,
    noncentral_t_tail,
    noncentrality_interval,
    t_quantile,
)
from tune_seeds.statistics.intervals import Interval, one_config, rounding_error, t_interval
from tune_seeds.statistics.shown import Shown

_RANGE_LEVEL = 0.8


@dataclass(frozen=True, slots=True, repr=False)
class WinProbability(Shown):
    """How probably one config beats another.

    Attributes:
        estimate: share of seeds won, ties counted half.
        interval: Clopper–Pearson; never covers less than its level.
        wins: seeds on which the first scored higher.
        ties: seeds on which both scored the same.
        n: number of common seeds.
    """

    estimate: float
    interval: Interval
    wins: int
    ties: int
    n: int


@dataclass(frozen=True, slots=True, repr=False)
class SeedsToSeparate(Shown):
    """How many seeds it would take to exclude the second config from the contenders.

    Attributes:
        total: seeds needed altogether; None if there is no telling or it is hopeless.
        additional: those still missing; 0 if the two are separated already.
        cautious_total: ``total`` if the spread of the differences is at the upper end (80%
            confidence) of what n seeds allow, as Browne (1995) plans; None beyond ``max_seeds``.
        effect: mean difference ÷ standard deviation of the differences; NaN for one seed.
        power_now: probability that n fresh seeds would separate them, were ``effect`` true.
        n: number of common seeds behind it.
        caveat: why there is no number, or how far to trust it.
        fewest: lower end of the range that holds the seeds really needed altogether with
            probability ``range_level``; None where even the most favourable case needs more than
            ``max_seeds``.
        most: upper end; None where no end can be named: the two may be equal, or the other one
            the better.
        range_level: of the range.
    """

    total: int | None
    additional: int | None
    cautious_total: int | None
    effect: float
    power_now: float
    n: int
    caveat: str
    fewest: int | None = None
    most: int | None = None
    range_level: float = 0.8

    @property
    def range_text(self) -> str:
        """The range in words."""
        if self.n < 2:
            return "there is no telling"
        if self.fewest is None:
            return "more than can be paid for"
        if self.most is None:
            return f"at least {self.fewest}, and {self.n} seeds can't say how many at most"
        if self.fewest == self.most:
            return str(self.fewest)
        return f"{self.fewest} to {self.most}"


def difference_interval(
    first: Float[np.ndarray, " seed"],
    second: Float[np.ndarray, " seed"],
    *,
    level: float = 0.95,
    resolution: float = 0.0,
) -> Interval:
    """Paired t interval for the expected difference first − second on a common fresh seed.

    Exact for normal differences, whatever the correlation of the two. Equally skewed scores have
    symmetric differences: of lognormal ones a nominal 95% covers 97% or more at 2 to 10 seeds. A
    quiet config against a skewed one (exponential) is as bad as ``mean_interval``: 92, 88, 88 and
    90% with 2, 3, 5 and 10 seeds.

    Args:
        first: scores, higher is better.
        second: scores of the other config on the same seeds in the same order.
        level: in (0, 1); higher is wider.
        resolution: the metric's step, as in ``mean_interval``; a difference has two roundings.

    Raises:
        IncompleteGroupError: a seed has no score; usually a crashed run.
        ValueError: the configs have different numbers of seeds, or an argument is out of range.
    """
    differences = _differences(first, second, level)
    floor = rounding_error(resolution) * 2**0.5
    return t_interval(differences, level=level, smallest_sd=floor)


def probability_of_beating(
    first: Float[np.ndarray, " seed"], second: Float[np.ndarray, " seed"], *, level: float = 0.95
) -> WinProbability:
    """P(first scores higher than second) on one fresh seed common to both, ties counted half.

    It is paired because that is the comparison a study makes; ``probability_of_improvement`` is
    the other question. The interval is the exact binomial one (Clopper and Pearson 1934), its low
    end with ties as losses and its high end with ties as wins. It is wide and can't be otherwise:
    winning on all of three seeds is compatible with 29%.

    Args:
        first: scores, higher is better.
        second: scores of the other config on the same seeds in the same order.
        level: in (0, 1); higher is wider.

    Raises:
        IncompleteGroupError: a seed has no score; usually a crashed run.
        ValueError: the configs have different numbers of seeds, or level is out of range.
    """
    differences = _differences(first, second, level)
    n = len(differences)
    wins = int(np.sum(differences > 0))
    ties = int(np.sum(differences == 0))
    tail = (1 - level) / 2
    most = wins + ties
    low = beta_quantile(tail, wins, n - wins + 1) if wins else 0.0
    high = beta_quantile(1 - tail, most + 1, n - most) if most < n else 1.0
    caveat = (
        f"even winning on all {n} seeds does not show that it wins more often than not"
        if tail ** (1 / n) < 0.5
        else None
    )
    interval = Interval(low, high, level, "Clopper-Pearson", n, caveat)
    return WinProbability((wins + ties / 2) / n, interval, wins, ties, n)


def probability_of_improvement(
    first: Float[np.ndarray, " seed"], second: Float[np.ndarray, " other_seed"]
) -> float:
    """P(a run of first scores higher than an independent run of second), ties counted half.

    The Mann–Whitney U statistic over the number of pairs (Agarwal et al. 2021, §4.3, for one
    task): every seed of one against every seed of the other, so it needs no common seeds, and
    does not use them. A point estimate to put beside papers; the interval is that of
    ``probability_of_beating``.

    Raises:
        IncompleteGroupError: a seed has no score; usually a crashed run.
    """
    ahead = require_complete(first)[:, None] - require_complete(second)
    return float(np.mean((np.sign(ahead) + 1) / 2))


def seeds_to_separate(
    first: Float[np.ndarray, " seed"],
    second: Float[np.ndarray, " seed"],
    *,
    n_configs: int = 2,
    level: float = 0.95,
    power: float = 0.8,
    max_seeds: int = 1000,
    resolution: float = 0.0,
) -> SeedsToSeparate:
    """Power analysis of the test that ``contenders`` makes: one-sided paired t, noncentral t.

    ``total`` takes the observed difference and spread for the true ones. Both come from n seeds,
    and the difference is flattered if the same seeds chose the two: the true power at ``total`` is
    0.3 to 0.6 instead of 0.8. So the answer is the range, ``fewest`` to ``most``: the exact
    interval of the effect (noncentral t; Steiger and Fouladi 1997) turned into seeds. It holds the
    number really needed in 80 % of comparisons of two configs picked beforehand, and in no fewer of
    the first two of several finalists (the tests measure both).

    Args:
        first: scores of the better config, higher is better.
        second: scores of the other config on the same seeds in the same order.
        n_configs: configs in the study, at least 2; more need more seeds (Bonferroni).
        level: of the contenders, in (0, 1); higher needs more seeds.
        power: wanted probability that the second is excluded, in (0, 1); higher needs more.
        max_seeds: beyond it the case is called hopeless.
        resolution: the metric's step, as in ``difference_interval``.

    Raises:
        IncompleteGroupError: a seed has no score; usually a crashed run.
        ValueError: the configs have different numbers of seeds, or an argument is out of range.
    """
    differences = _differences(first, second, level)
    if n_configs < 2 or max_seeds < 2 or not 0 < power < 1:
        raise ValueError(
            "needs at least 2 configs, max_seeds of at least 2 and power in (0, 1), got "
            f"n_configs={n_configs}, max_seeds={max_seeds}, power={power}"
        )
    n = len(differences)
    floor = rounding_error(resolution) * 2**0.5
    mean = float(np.mean(differences))
    if n == 1:
        caveat = "one seed shows no spread: there is no telling"
        return SeedsToSeparate(None, None, None, float("nan"), float("nan"), n, caveat)
    tail = (1 - level) / (n_configs - 1)
    sd = max(float(np.std(differences, ddof=1)), floor)
    fewest, most = _range(mean, sd, n, tail, power, max_seeds)
    if mean <= 0:
        caveat = "hopeless: the first is not ahead on average"
        effect = mean / sd if sd else 0.0
        power_now = _power(effect, n, tail)
        return SeedsToSeparate(None, None, None, effect, power_now, n, caveat, fewest, most)
    if sd == 0:
        caveat = f"the difference is the same on all {n} seeds: nothing varies that more could show"
        return SeedsToSeparate(n, 0, n, float("inf"), 1.0, n, caveat, n, n)
    effect = mean / sd
    widest = sd * ((n - 1) / chi_square_quantile(0.2, n - 1)) ** 0.5
    total = _smallest_n(effect, tail, power, max_seeds)
    cautious = _smallest_n(mean / widest, tail, power, max_seeds)
    if effect * n**0.5 > t_quantile(1 - tail, n - 1):
        return SeedsToSeparate(
            n, 0, n, effect, _power(effect, n, tail), n, f"separated already at {level:.0%}", n, n
        )
    caveat = (
        f"hopeless: more than {max_seeds} seeds"
        if total is None
        else f"difference and spread are estimated from {n} seeds"
    )
    additional = None if total is None else max(0, total - n)
    power_now = _power(effect, n, tail)
    return SeedsToSeparate(total, additional, cautious, effect, power_now, n, caveat, fewest, most)


def _range(
    mean: float, sd: float, n: int, tail: float, power: float, max_seeds: int
) -> tuple[int | None, int | None]:
    """Fewest and most seeds that the observed effect allows, at 80 %."""
    if sd == 0:
        return None, None
    low, high = (
        end / n**0.5 for end in noncentrality_interval(mean / sd * n**0.5, n - 1, _RANGE_LEVEL)
    )
    fewest = _smallest_n(high, tail, power, max_seeds) if high > 0 else None
    return fewest, _smallest_n(low, tail, power, max_seeds) if low > 0 else None


def _power(effect: float, n: int, tail: float) -> float:
    return noncentral_t_tail(t_quantile(1 - tail, n - 1), n - 1, effect * n**0.5)


def _smallest_n(effect: float, tail: float, power: float, max_seeds: int) -> int | None:
    if _power(effect, max_seeds, tail) < power:
        return None
    low, high = 1, max_seeds
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(effect, middle, tail) >= power else (middle, high)
    return high


def _differences(
    first: Float[np.ndarray, " seed"], second: Float[np.ndarray, " seed"], level: float
) -> Float[np.ndarray, " seed"]:
    one, other = one_config(first, level), one_config(second, level)
    if len(one) != len(other):
        raise ValueError(
            f"a paired comparison needs the same seeds for both, got {len(one)} and {len(other)}"
        )
    return one - other
