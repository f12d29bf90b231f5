"""Which hyperparameters mattered, in a space that was searched and not gridded."""

# scikit-learn 1.9 ships neither type stubs nor complete annotations.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from tune_seeds.statistics.aggregate import require_complete
from tune_seeds.statistics.intervals import Interval, around, require_level, undefined_interval
from tune_seeds.statistics.marginals import ABSENT, as_number, columns, label
from tune_seeds.statistics.shown import Shown

#: Fewer configs than this leave each of the five folds with too few to predict from or for.
MIN_CONFIGS = 10
_N_FOLDS = 5
_METHOD = "t over configs and seeds"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Importance(Shown):
    """How much one hyperparameter matters.

    Attributes:
        name: the hyperparameter, dotted.
        by_seed: importance on each seed, in shares of the variance of the scores on that seed.
        mean: mean of ``by_seed``; NaN where ``Importances.caveat`` says there is no telling.
        standard_error: of ``mean``, for other configs on other seeds.
        interval: t interval of ``mean``; its lower end is above 0 where the hyperparameter matters.
    """

    name: str
    by_seed: Float[np.ndarray, " seed"]
    mean: float
    standard_error: float
    interval: Interval


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Importances(Shown):
    """The importance of every hyperparameter that was varied.

    Attributes:
        rows: one per hyperparameter, in the order of the configs' keys.
        fit: R² of the forest on configs it has not seen, for each seed; NaN if all scores of a
            seed are equal. Importances describe the forest, so they are worth what this is.
        caveat: why they should not be trusted, if so.
    """

    rows: tuple[Importance, ...]
    fit: Float[np.ndarray, " seed"]
    caveat: str | None

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        for row in self.rows:
            low, high = row.interval
            yield {"hyperparameter": row.name, "importance": row.mean, "low": low, "high": high}

    def _notes(self) -> Sequence[str]:
        known = self.fit[np.isfinite(self.fit)]
        fit = f"R² of the forest on unseen configs: {known.mean():.2g}" if len(known) else ""
        return tuple(note for note in (fit, self.caveat or "") if note)


def importances(
    configs: Sequence[Mapping[str, object]],
    scores: Float[np.ndarray, "config seed"],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    n_trees: int = 100,
    n_repeats: int = 5,
) -> Importances:
    """Permutation importance of each hyperparameter on unseen configs (Breiman 2001, §10).

    For each seed a random forest learns score from hyperparameters on four fifths of the configs;
    on the last fifth, the importance of one is how much the squared error grows when its values
    are shuffled, over the variance of that seed's scores: 0 for one that does not matter, up to
    about 2 for one that decides alone. It is a mean over configs, of how much worse each is
    predicted, and the spread of that over configs says how far other configs would have given
    another answer; what differs between seeds, which have forests and folds of their own, is added
    where there are several. Trees split by rank, so a linear and a log
    scale give nearly the same. Two hyperparameters that move together share or hide their
    importance.

    Args:
        configs: hyperparameters of each config without the seed; nested ones get dotted names.
        scores: higher is better; rows in the order of ``configs``.
        rng: draws folds, forests and shuffles.
        level: of the intervals, in (0, 1); higher is wider.
        n_trees: per forest, at least 1; more lowers the noise.
        n_repeats: shuffles per fold, at least 1; more lowers the noise.

    Raises:
        IncompleteGroupError: a seed has no score; usually a crashed run.
        ValueError: configs and scores don't match, or an argument is out of range.
    """
    complete = require_complete(scores)
    if complete.ndim != 2 or len(complete) != len(configs) or len(complete) == 0:
        raise ValueError(
            f"needs scores (config, seed) for {len(configs)} configs, got shape {complete.shape}"
        )
    if n_trees < 1 or n_repeats < 1:
        raise ValueError(f"n_trees and n_repeats must be at least 1, got {n_trees}, {n_repeats}")
    require_level(level)
    varied = {
        name: values
        for name, values in columns(configs).items()
        if len({label(value) for value in values}) > 1
    }
    n_configs, n_seeds = complete.shape
    by_seed = np.full((len(varied), n_seeds), np.nan)
    worse = np.full((len(varied), n_configs, n_seeds), np.nan)
    fit = np.full(n_seeds, np.nan)
    if not varied:
        return Importances((), fit, "all configs have the same hyperparameters")
    if n_configs >= MIN_CONFIGS:
        features = np.column_stack([_encoded(values) for values in varied.values()])
        for seed in range(n_seeds):
            worse[:, :, seed], fit[seed] = _of_one_seed(
                features, complete[:, seed], rng, n_trees, n_repeats
            )
        by_seed = worse.sum(axis=1)
    rows = tuple(
        _row(name, own, of_config, level)
        for name, own, of_config in zip(varied, by_seed, worse, strict=True)
    )
    return Importances(rows, fit, _caveat(n_configs, fit))


def _of_one_seed(
    features: Float[np.ndarray, "config hyperparameter"],
    scores: Float[np.ndarray, " config"],
    rng: np.random.Generator,
    n_trees: int,
    n_repeats: int,
) -> tuple[Float[np.ndarray, "hyperparameter config"], float]:
    """What each config adds to each importance, and the forest's R²."""
    # scikit-learn takes a second to import, and whoever reads a study seldom asks for this.
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import KFold

    worse = np.zeros(features.T.shape)
    squares = 0.0
    total = float(np.sum((scores - scores.mean()) ** 2))
    if np.ptp(scores) <= 1e-12 * np.max(np.abs(scores)):
        return worse, float("nan")
    folds = KFold(_N_FOLDS, shuffle=True, random_state=_draw(rng))
    for seen, unseen in folds.split(features):
        forest = RandomForestRegressor(n_trees, random_state=_draw(rng), n_jobs=1)
        forest.fit(features[seen], scores[seen])
        wrong = (forest.predict(features[unseen]) - scores[unseen]) ** 2
        squares += float(np.sum(wrong))
        for column in range(features.shape[1]):
            shuffled = np.repeat(features[unseen][None], n_repeats, axis=0)
            for own in shuffled:
                own[:, column] = rng.permutation(own[:, column])
            guessed = forest.predict(shuffled.reshape(-1, features.shape[1]))
            wronger = (guessed.reshape(n_repeats, -1) - scores[unseen]) ** 2
            worse[column, unseen] = wronger.mean(axis=0) - wrong
    return worse / total, 1 - squares / total


def _encoded(values: Sequence[object]) -> Float[np.ndarray, " config"]:
    numbers = [as_number(value) for value in values]
    if all(x is not None or label(v) == ABSENT for x, v in zip(numbers, values, strict=True)):
        # Forests take NaN as a branch of its own: what an absent hyperparameter is.
        return np.array([np.nan if x is None else x for x in numbers])
    names = [label(value) for value in values]
    code = {name: i for i, name in enumerate(sorted(set(names)))}
    return np.array([float(code[name]) for name in names])


def _row(
    name: str,
    by_seed: Float[np.ndarray, " seed"],
    worse: Float[np.ndarray, "config seed"],
    level: float,
) -> Importance:
    n_configs, n_seeds = worse.shape
    mean = float(by_seed.mean())
    if not np.isfinite(mean):
        return Importance(name, by_seed, mean, float("nan"), undefined_interval(level, _METHOD))
    # A sum over configs; configs of one fold share a forest, and forests most of their configs.
    of_configs = n_configs * float(np.var(worse.mean(axis=1), ddof=1)) * (1 + 1 / (_N_FOLDS - 1))
    seeds = float(np.var(by_seed, ddof=1)) / n_seeds if n_seeds > 1 else 0.0
    more = max(seeds - of_configs, 0.0)
    df = n_configs - 1 if more == 0 else n_seeds - 1
    error = (of_configs + more) ** 0.5
    interval = around(mean, error, df=df, level=level, method=_METHOD, n=n_seeds, caveat=None)
    return Importance(name, by_seed, mean, error, interval)


def _caveat(n_configs: int, fit: Float[np.ndarray, " seed"]) -> str | None:
    if n_configs < MIN_CONFIGS:
        return f"{n_configs} configs are too few to learn from: at least {MIN_CONFIGS} are needed"
    known = fit[np.isfinite(fit)]
    if len(known) == 0:
        return "all scores are equal: nothing can matter"
    if float(known.mean()) <= 0:
        return "the forest predicts unseen configs no better than their mean would: no telling"
    return None


def _draw(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
