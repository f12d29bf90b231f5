"""The effect of each hyperparameter, averaged over the others and over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float, Int

from tune_seeds.statistics.aggregate import require_complete
from tune_seeds.statistics.intervals import Interval, require_level, t_interval

#: Stands for a hyperparameter that a config does not have (a conditional search space).
ABSENT = "(absent)"


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """One value of a hyperparameter, or one range of values, and the configs that have it."""

    value: str
    members: Int[np.ndarray, " member"]


@dataclass(frozen=True, slots=True, eq=False)
class Marginal:
    """All configs with one value of one hyperparameter, taken together.

    Attributes:
        value: the value, or the range of a continuous one.
        by_seed: mean over the configs with this value, for each seed.
        mean: mean of ``by_seed``.
        standard_error: of ``mean``, over seeds: the spread of ``by_seed``/√n; NaN for one seed.
        interval: t interval of ``mean`` over seeds.
        effect: t interval of this value minus the mean of all values, paired over seeds, so that
            what a seed does to all configs cancels.
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


def marginals(
    configs: Sequence[Mapping[str, object]],
    scores: Float[np.ndarray, "config seed"],
    *,
    level: float = 0.95,
    max_values: int = 8,
) -> dict[str, tuple[Marginal, ...]]:
    """For each hyperparameter the grouped table: value → mean over configs and seeds.

    Estimated per seed first and then over seeds, so the uncertainty is that of the seeds for
    *these* configs. In a full grid the other hyperparameters are balanced and cancel; in a
    searched space they are not, and a value is judged in the company it was tried in: read
    ``importances`` beside it. Hyperparameters with a single value have no effect and no table.

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
    tables: dict[str, tuple[Marginal, ...]] = {}
    for name, values in columns(configs).items():
        parts = levels(values, max_values=max_values)
        if len(parts) < 2:
            continue
        by_seed = np.stack([complete[part.members].mean(axis=0) for part in parts])
        effects = by_seed - by_seed.mean(axis=0)
        tables[name] = tuple(
            _marginal(part, own, effect, level)
            for part, own, effect in zip(parts, by_seed, effects, strict=True)
        )
    return tables


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


def _marginal(
    part: Level, own: Float[np.ndarray, " seed"], effect: Float[np.ndarray, " seed"], level: float
) -> Marginal:
    n = len(own)
    return Marginal(
        value=part.value,
        by_seed=own,
        mean=float(own.mean()),
        standard_error=float(np.std(own, ddof=1)) / n**0.5 if n > 1 else float("nan"),
        interval=t_interval(own, level=level),
        effect=t_interval(effect, level=level),
        n_configs=len(part.members),
        n_seeds=n,
    )
