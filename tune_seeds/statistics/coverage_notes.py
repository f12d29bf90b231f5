"""What the interval of a study's model has been seen to cover less often than it promises.

No model of a few seeds covers whatever the scores are like. Where the scores of a study look like
those for which simulated studies (``experiments/benchmarks/coverage.py``) fell short of 95 %, the
interval says so with the number, instead of promising what it can't keep.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tune_seeds.statistics.moderated_variance import VarianceHypotheses

# Skewed: the third moments of the configs agree in sign by this many of their standard errors.
# Of normal scores 20 % do so by chance; of exponential ones 33, 65 and 92 % at 3, 5 and 10 seeds.
_SKEWED = 1.3
# Unequal: hypotheses under which another config's variance is worth at most so many degrees of
# freedom have at least this weight. Of equal spreads 5 % look so; with log-sd 1 half or more.
_FEW_DEGREES, _UNEQUAL = 3.0, 0.6


class Seen(NamedTuple):
    """Lowest and highest coverage of a nominal 95 % in simulated studies of one kind, in %."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low} to {self.high}%"


#: By kind of scores; ``experiments/benchmarks/RESULTS.md`` has the cells.
SKEWED = Seen(82, 91)
UNEQUAL = Seen(91, 95)
NEAR_AN_END_TWO_SEEDS = Seen(92, 95)
COLLAPSING = Seen(49, 84)


def coverage_note(
    scores: Float[np.ndarray, "config seed"],
    prior: VarianceHypotheses,
    weight_of_tails: Float[np.ndarray, " config"],
) -> str | None:
    """Why an interval of the model may cover less than it promises, with the number; None if not.

    Args:
        scores: higher is better; NaN for a seed that a config does not have.
        prior: what the variances of the configs have in common.
        weight_of_tails: by how much near an end of the metric's range a config's own variance is
            less certain than that of normal scores, 1 where it is not.
    """
    found: list[str] = []
    near_end = bool(np.any(weight_of_tails > 1.5))
    several = int(np.isfinite(scores).sum(axis=1).max())
    if near_end and several == 2:
        found.append(
            "scores lie near an end of the metric's range, and two seeds can't show how skewed "
            f"they are: of such scores {_covered(NEAR_AN_END_TWO_SEEDS)}"
        )
    elif not near_end and abs(skewness_score(scores)) >= _SKEWED:
        found.append(f"scores look skewed over seeds: of such scores {_covered(SKEWED)}")
    if not near_end and _looks_unequal(prior):
        found.append(
            "configs seem to differ strongly in what a seed does to them: of such configs "
            f"{_covered(UNEQUAL)}"
        )
    return "; ".join(found) or None


def collapse_note(share: str) -> str:
    """What a rare collapse does to an interval.

    Args:
        share: of the runs that collapsed, in words.
    """
    return (
        f"{share}: few seeds can't show how often that happens to one config, and where it is one "
        f"run in ten {_covered(COLLAPSING)}"
    )


def skewness_score(scores: Float[np.ndarray, "config seed"]) -> float:
    """How far the third moments of configs on three seeds or more agree, in standard errors.

    Each config counts with its own spread as the unit; 0 where none has three seeds.
    """
    total = squares = 0.0
    for row in scores:
        own = row[np.isfinite(row)]
        if len(own) > 2:
            centered = own - own.mean()
            spread = float(np.mean(centered**2)) ** 0.5
            if spread > 1e-9 * float(np.max(np.abs(own))):
                third = float(np.sum((centered / spread) ** 3))
                total, squares = total + third, squares + third**2
    return total / squares**0.5 if squares > 0 else 0.0


def _looks_unequal(prior: VarianceHypotheses) -> bool:
    weight = np.exp(prior.log_likelihood - prior.log_likelihood.max())
    return float(weight[prior.degrees <= _FEW_DEGREES].sum() / weight.sum()) >= _UNEQUAL


def _covered(seen: Seen) -> str:
    return f"a nominal 95% interval covered {seen} in simulated studies"
