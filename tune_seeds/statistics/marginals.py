"""The effect of each hyperparameter, averaged over the others and over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int

from tune_seeds.statistics.aggregate import require_complete
from tune_seeds.statistics.distributions import t_quantile
from tune_seeds.statistics.intervals import Interval, require_level, undefined_interval
from tune_seeds.statistics.shown import Shown

#: Stands for a hyperparameter that a config does not have (a conditional search space).
ABSENT = "(absent)"
_METHOD = "t over configs and seeds"


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """One value of a hyperparameter, or one range of values, and the configs that have it."""

    value: str
    members: Int[np.ndarray, " member"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Marginal(Shown):
    """All configs with one value of one hyperparameter, taken together.

    Attributes:
        value: the value, or the range of a continuous one.
        by_seed: mean over the configs with this value, for each seed.
        mean: mean of ``by_seed``.
        standard_error: of ``mean``, for other configs with this value on other seeds; NaN where
            neither shows a spread.
        interval: t interval of ``mean``.
        effect: interval of this value minus the mean of all values. Of all values of the
            hyperparameter together: if it has no effect, any of its intervals leaves 0 out with a
            probability of 1 − level.
        n_configs: number of configs with this value.
        n_seeds: number of seeds.
    """

    value: str
    by_seed: Float[np.ndarray, " seed"]
    mean: float
    standard_error: float
    interval: Interval
    effect: Interval
    n_configs: int
    n_seeds: int


class Marginals(dict[str, tuple[Marginal, ...]], Shown):
    """Hyperparameter → one marginal per value; prints itself."""

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        for name, rows in self.items():
            for row in rows:
                yield {
                    "hyperparameter": name,
                    "value": row.value,
                    "configs": row.n_configs,
                    "mean": row.mean,
                    "low": row.interval.low,
                    "high": row.interval.high,
                    "effect low": row.effect.low,
                    "effect high": row.effect.high,
                }

    def _notes(self) -> Sequence[str]:
        sizes = {row.n_seeds for rows in self.values() for row in rows}
        if not sizes:
            return ("no hyperparameter has more than one value",)
        seeds = "1 seed" if sizes == {1} else f"{max(sizes)} seeds"
        return (f"on {seeds}; an effect whose interval leaves 0 out is there, at its level",)


def marginals(
    configs: Sequence[Mapping[str, object]],
    scores: Float[np.ndarray, "config seed"],
    *,
    level: float = 0.95,
    max_values: int = 8,
) -> Marginals:
    """For each hyperparameter the grouped table: value → mean over configs and seeds.

    Configs and seeds were both sampled, but for a full grid, in which the other hyperparameters
    are balanced and cancel, so that the seeds alone count. Configs with one value differ in all
    other hyperparameters, and their spread, pooled over the values (one-way analysis of variance of
    the configs' means), says how far the mean of a few of them is off; what the value does on one
    seed and not on another is added where there are several. In a searched space a value is judged
    in the company it was tried in: a searcher that follows its scores tries good values together,
    so read ``importances`` beside it. Hyperparameters with a single value have no table.

    Of a hyperparameter without effect, under random search, some interval of ``effect`` leaves 0
    out in 5 % of studies at most (the tests measure it); with the spread over seeds alone it was
    14 to 72 %.

    Args:
        configs: hyperparameters of each config without the seed; nested ones get dotted names.
        scores: higher is better; rows in the order of ``configs``.
        level: of the intervals, in (0, 1); higher is wider.
        max_values: a number with more distinct values than this is cut into thirds, at least 3.

    Raises:
        IncompleteGroupError: a seed has no score; usually a crashed run.
        ValueError: configs and scores don't match, or an argument is out of range.
    """
    complete = require_complete(scores)
    if complete.ndim != 2 or len(complete) != len(configs):
        raise ValueError(
            f"needs scores (config, seed) for {len(configs)} configs, got shape {complete.shape}"
        )
    require_level(level)
    parts = {n: levels(values, max_values=max_values) for n, values in columns(configs).items()}
    balanced = _is_grid(configs, max_values)
    return Marginals(
        (name, _table(own, complete, level, balanced))
        for name, own in parts.items()
        if len(own) > 1
    )


def _is_grid(configs: Sequence[Mapping[str, object]], max_values: int) -> bool:
    """Whether every combination of the values is there, once: then nothing was sampled."""
    names = [[label(value) for value in values] for values in columns(configs).values()]
    counts = [len(set(column)) for column in names]
    rows = set(zip(*names, strict=True))
    return max(counts, default=0) <= max_values and math.prod(counts) == len(rows) == len(configs)


def _table(
    parts: Sequence[Level],
    scores: Float[np.ndarray, "config seed"],
    level: float,
    balanced: bool,
) -> tuple[Marginal, ...]:
    n_seeds, n_values = scores.shape[1], len(parts)
    n = np.array([len(part.members) for part in parts])
    by_seed = np.stack([scores[part.members].mean(axis=0) for part in parts])
    own = scores.mean(axis=1)
    inside = sum(float(np.sum((own[p.members] - own[p.members].mean()) ** 2)) for p in parts)
    # In a grid the other hyperparameters cancel: what is left to be sampled are the seeds.
    df = 0 if balanced else len(scores) - n_values
    of_configs = inside / df / n if df else np.zeros(n_values)
    effects = by_seed - by_seed.mean(axis=0)
    mean_errors = _errors(of_configs, by_seed, df)
    # The mean of all values has an error too, which it shares with this value.
    of_effects = of_configs * (1 - 2 / n_values) + of_configs.sum() / n_values**2
    effect_errors = _errors(of_effects, effects, df)
    # Two values have one effect, with two signs; of more, each is one chance to be misled.
    tail = (1 - level) / 2 / (1 if n_values == 2 else n_values)
    return tuple(
        Marginal(
            value=part.value,
            by_seed=by_seed[k],
            mean=float(by_seed[k].mean()),
            standard_error=mean_errors[k][0],
            interval=_interval(
                float(by_seed[k].mean()), mean_errors[k], (1 - level) / 2, level, n_seeds
            ),
            effect=_interval(float(effects[k].mean()), effect_errors[k], tail, level, n_seeds),
            n_configs=len(part.members),
            n_seeds=n_seeds,
        )
        for k, part in enumerate(parts)
    )


def _errors(
    of_configs: Float[np.ndarray, " value"], by_seed: Float[np.ndarray, "value seed"], df: int
) -> list[tuple[float, float]]:
    """Standard error and degrees of freedom of each mean, from configs and seeds together.

    The variance over seeds of a mean over configs holds what seeds do to single configs, which is
    in ``of_configs`` already; it counts as far as it is more than that. Degrees of freedom are
    Satterthwaite's (1946, doi:10.2307/3002019).
    """
    n_seeds = by_seed.shape[1]
    found: list[tuple[float, float]] = []
    for variance, row in zip(of_configs.tolist(), by_seed, strict=True):
        seeds = float(np.var(row, ddof=1)) / n_seeds if n_seeds > 1 else 0.0
        more = max(seeds - variance, 0.0) if df else seeds
        total = variance + more
        if total <= 0 or (df == 0 and n_seeds == 1):
            found.append((0.0 if n_seeds > 1 or df else float("nan"), float(df or n_seeds - 1)))
            continue
        shares = (variance**2 / df if df else 0.0) + (more**2 / (n_seeds - 1) if more else 0.0)
        found.append((total**0.5, total**2 / shares))
    return found


def _interval(
    center: float, error: tuple[float, float], tail: float, level: float, n_seeds: int
) -> Interval:
    sd, df = error
    if sd != sd or df < 1:
        return undefined_interval(level, _METHOD)
    half = t_quantile(1 - tail, max(int(df), 1)) * sd
    return Interval(center - half, center + half, level, _METHOD, n_seeds)


def columns(configs: Sequence[Mapping[str, object]]) -> dict[str, list[object]]:
    """Dotted name → value in each config, ``ABSENT`` where a config does not have it."""
    flat = [dict(_leaves(config)) for config in configs]
    names = dict.fromkeys(name for config in flat for name in config)
    return {name: [config.get(name, ABSENT) for config in flat] for name in names}


def levels(values: Sequence[object], *, max_values: int = 8) -> tuple[Level, ...]:
    """The distinct values of a hyperparameter: numbers in ascending order, then the rest.

    More than ``max_values`` distinct numbers are cut at their terciles into up to three ranges,
    by rank: the same on a linear and on a log scale.

    Raises:
        ValueError: max_values is less than 3.
    """
    if max_values < 3:
        raise ValueError(f"max_values must be at least 3, got {max_values}")
    at: dict[float, list[int]] = {}
    named: dict[str, list[int]] = {}
    for index, value in enumerate(values):
        number = as_number(value)
        if number is None:
            named.setdefault(label(value), []).append(index)
        else:
            at.setdefault(number, []).append(index)
    numbers = sorted(at)
    parts = [Level(label(values[at[x][0]]), np.array(at[x])) for x in numbers]
    if len(numbers) > max_values:
        ranked = sorted(x for x in numbers for _ in at[x])
        cuts = (ranked[len(ranked) // 3], ranked[2 * len(ranked) // 3])
        ranges = (
            [x for x in numbers if x < cuts[0]],
            [x for x in numbers if cuts[0] <= x < cuts[1]],
            [x for x in numbers if x >= cuts[1]],
        )
        parts = [
            Level(
                f"{within[0]:.3g} … {within[-1]:.3g}", np.array([i for x in within for i in at[x]])
            )
            for within in ranges
            if within
        ]
    return (*parts, *(Level(name, np.array(members)) for name, members in named.items()))


def as_number(value: object) -> float | None:
    """A value as a number if it is ordered as one: not True, not NaN, not a name."""
    if isinstance(value, bool | np.bool) or not isinstance(value, int | float | np.number):
        return None
    number = float(cast(float, value))
    return number if np.isfinite(number) else None


def label(value: object) -> str:
    """A value as it stands in a table; NumPy scalars as the plain ones they hold."""
    plain = cast(object, value.item()) if isinstance(value, np.generic) else value
    return plain if isinstance(plain, str) else repr(plain)


def _leaves(config: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(cast(Mapping[str, object], value), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
