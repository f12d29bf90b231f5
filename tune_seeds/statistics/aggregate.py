"""From a config's scores over seeds to one score: the aggregates that steer and rank a study.

Higher is better throughout: for ``mode="min"`` the caller negates the metric before aggregating
and negates the result back. "Worst" and "lower" then mean the bad side in both modes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import numpy as np
from jaxtyping import Float

#: Any function of the scores of one config, in the order of the study's seeds.
ScoreFunction = Callable[[Float[np.ndarray, " seed"]], float]


class IncompleteGroupError(ValueError):
    """A config has no finite score for one of the seeds; usually a crashed or diverged run."""


def require_complete(
    scores: Float[np.ndarray, "*config seed"],
) -> Float[np.ndarray, "*config seed"]:
    """The scores as floats, once it is sure that no seed is missing.

    Raises:
        IncompleteGroupError: a score is NaN or infinite (usually a crashed or diverged run), or
            there are no seeds at all.
    """
    complete = np.asarray(scores, dtype=np.float64)
    if complete.ndim == 0 or complete.shape[-1] == 0:
        raise IncompleteGroupError("a config needs the score of at least one seed, got none")
    bad = np.argwhere(~np.isfinite(complete))
    if len(bad):
        *config, seed = (int(index) for index in bad[0])
        where = f"config {config[0] if len(config) == 1 else tuple(config)}, " if config else ""
        raise IncompleteGroupError(
            f"{len(bad)} of {complete.size} scores are missing or not finite, the first at {where}"
            f"seed {seed} (counted from 0): {complete[tuple(bad[0])]}; a missing seed is never "
            "averaged away"
        )
    return complete


def mean(scores: Float[np.ndarray, "*config seed"]) -> Float[np.ndarray, "*config"]:
    """Mean of each config's scores over seeds.

    Raises:
        IncompleteGroupError: a seed has no score; usually a crashed run.
    """
    return np.mean(require_complete(scores), axis=-1)


def median(scores: Float[np.ndarray, "*config seed"]) -> Float[np.ndarray, "*config"]:
    """Median of each config's scores over seeds; for two seeds their mean.

    Raises:
        IncompleteGroupError: a seed has no score; usually a crashed run.
    """
    return np.median(require_complete(scores), axis=-1)


def interquartile_mean(scores: Float[np.ndarray, "*config seed"]) -> Float[np.ndarray, "*config"]:
    """Mean of the middle half of each config's scores over seeds (Agarwal et al. 2021, §4.3).

    arXiv:2108.13264. The ⌊n/4⌋ lowest and the ⌊n/4⌋ highest of the n scores are left out, as
    ``scipy.stats.trim_mean(scores, 0.25)`` and rliable do. So for n < 4 nothing is trimmed and
    this *is* the mean; for n = 5 one score goes at either end.

    Raises:
        IncompleteGroupError: a seed has no score; usually a crashed run.
    """
    ordered = np.sort(require_complete(scores), axis=-1)
    cut = ordered.shape[-1] // 4
    return np.mean(ordered[..., cut : ordered.shape[-1] - cut], axis=-1)


def worst_seed(scores: Float[np.ndarray, "*config seed"]) -> Float[np.ndarray, "*config"]:
    """The lowest of each config's scores.

    It falls as seeds are added, so only configs with the same number of seeds compare.

    Raises:
        IncompleteGroupError: a seed has no score; usually a crashed run.
    """
    return np.min(require_complete(scores), axis=-1)


def lower_quantile(
    scores: Float[np.ndarray, "*config seed"], q: float
) -> Float[np.ndarray, "*config"]:
    """The q-quantile of each config's scores, interpolated between neighbours as ``np.quantile``.

    Args:
        scores: higher is better.
        q: in [0, 0.5]; 0 is the worst seed, 0.5 the median. Higher is less cautious.

    Raises:
        IncompleteGroupError: a seed has no score; usually a crashed run.
        ValueError: q is outside [0, 0.5].
    """
    if not 0 <= q <= 0.5:
        raise ValueError(f"a lower quantile needs q in [0, 0.5], got {q}")
    return np.quantile(require_complete(scores), q, axis=-1)


def mean_minus_se(
    scores: Float[np.ndarray, "*config seed"], k: float
) -> Float[np.ndarray, "*config"]:
    """Mean − k standard errors of each config's scores: a score that distrusts spread.

    With one seed there is no spread to see and the score is that seed's; all groups of a rung
    have the same number of seeds, so they still compare.

    Args:
        scores: higher is better.
        k: at least 0; 0 is the mean. Higher is more cautious.

    Raises:
        IncompleteGroupError: a seed has no score; usually a crashed run.
        ValueError: k is negative or not finite.
    """
    if not (0 <= k < np.inf):
        raise ValueError(f"mean − k·standard error needs a finite k of at least 0, got {k}")
    complete = require_complete(scores)
    n_seeds = complete.shape[-1]
    if n_seeds == 1:
        return complete[..., 0].copy()
    error = np.std(complete, axis=-1, ddof=1) / np.sqrt(n_seeds)
    return np.mean(complete, axis=-1) - k * error


class Kind(StrEnum):
    """What an aggregate estimates; decides which interval belongs to it."""

    MEAN = "mean"
    MEDIAN = "median"
    IQM = "iqm"
    WORST = "worst"
    QUANTILE = "quantile"
    MEAN_MINUS_SE = "mean_minus_se"
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One score from a config's scores over seeds; call it with an array whose last axis is seeds.

    Attributes:
        name: as ``get_aggregate`` spells it; for a function its ``__name__``.
        kind: what is estimated.
        over_seeds: maps ``(*config, seed)`` to ``(*config,)``.
        parameter: q of a quantile, k of mean − k·se, otherwise None.
    """

    name: str
    kind: Kind
    over_seeds: Callable[[Float[np.ndarray, "*config seed"]], Float[np.ndarray, "*config"]]
    parameter: float | None = None

    def __call__(self, scores: Float[np.ndarray, "*config seed"]) -> Float[np.ndarray, "*config"]:
        """Aggregate over the last axis.

        Raises:
            IncompleteGroupError: a seed has no score; usually a crashed run.
        """
        return np.asarray(self.over_seeds(require_complete(scores)), dtype=np.float64)

    def score(self, scores: Sequence[float]) -> float:
        """The score of one config, from the scores of its seeds.

        Raises:
            IncompleteGroupError: a seed has no score; usually a crashed run.
        """
        return float(self(np.asarray(scores, dtype=np.float64)))


def _apply(
    function: ScoreFunction, scores: Float[np.ndarray, "*config seed"]
) -> Float[np.ndarray, "*config"]:
    rows = scores.reshape(-1, scores.shape[-1])
    # A copy for each call: a function that sorts in place must not reorder the seeds.
    values = np.array([float(function(row.copy())) for row in rows], dtype=np.float64)
    if not np.all(np.isfinite(values)):
        row = rows[np.flatnonzero(~np.isfinite(values))[0]]
        raise ValueError(
            f"the aggregate {_name(function)} gave no finite number for {row.tolist()}"
        )
    return values.reshape(scores.shape[:-1])


def _name(function: ScoreFunction) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


_PLAIN = {
    "mean": Aggregate("mean", Kind.MEAN, mean),
    "median": Aggregate("median", Kind.MEDIAN, median),
    "iqm": Aggregate("iqm", Kind.IQM, interquartile_mean),
    "worst": Aggregate("worst", Kind.WORST, worst_seed),
}
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_SPELLINGS = '"mean", "median", "iqm", "worst", "quantile:0.25", "mean-1se"'


def get_aggregate(spec: str | ScoreFunction | Aggregate) -> Aggregate:
    """The aggregate that a name or a function stands for.

    Args:
        spec: ``"mean"``, ``"median"``, ``"iqm"``, ``"worst"``, ``"quantile:q"`` with q in
            [0, 0.5], ``"mean-kse"`` with k ≥ 0 (``"mean-1se"``, ``"mean-0.5se"``), or a function
            from the 1-d array of a config's scores, higher is better, to a finite float.

    Raises:
        ValueError: no such name, or its number is out of range.
    """
    if isinstance(spec, Aggregate):
        return spec
    if callable(spec):
        return Aggregate(_name(spec), Kind.CUSTOM, partial(_apply, spec))
    if spec in _PLAIN:
        return _PLAIN[spec]
    if match := re.fullmatch(rf"quantile:{_NUMBER}", spec):
        q = float(match[1])
        lower_quantile(np.zeros(1), q)  # its own check of the range
        return Aggregate(spec, Kind.QUANTILE, partial(lower_quantile, q=q), q)
    if match := re.fullmatch(rf"mean-{_NUMBER}se", spec):
        k = float(match[1])
        return Aggregate(spec, Kind.MEAN_MINUS_SE, partial(mean_minus_se, k=k), k)
    raise ValueError(f"no aggregate {spec!r}; take one of {_SPELLINGS} or a function of the scores")
