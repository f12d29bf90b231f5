"""Which hyperparameters mattered, in a space that was searched and not gridded."""

# scikit-learn 1.9 ships neither type stubs nor complete annotations.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance
from sklearn.model_selection import KFold

from tune_seeds.statistics.aggregate import require_complete
from tune_seeds.statistics.intervals import Interval, require_level, t_interval
from tune_seeds.statistics.marginals import ABSENT, as_number, columns, label

#: Fewer configs than this leave each of the five folds with too few to predict from or for.
MIN_CONFIGS = 10
_N_FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Importance:
    """How much one hyperparameter matters.

    Attributes:
        name: the hyperparameter, dotted.
        by_seed: importance on each seed, in shares of the variance of the scores on that seed.
        mean: mean of ``by_seed``; NaN where ``Importances.caveat`` says there is no telling.
        standard_error: of ``mean``, over seeds; NaN for one seed.
        interval: t interval of ``mean`` over seeds.
    """

    name: str
    by_seed: Float[np.ndarray, " seed"]
    mean: float
    standard_error: float
    interval: Interval


@dataclass(frozen=True, slots=True, eq=False)
class Importances:
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
    about 2 for one that decides alone. Every seed has forests and folds of its own, so the
    uncertainty over seeds holds that of the fit too. Trees split by rank, so a linear and a log
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
    fit = np.full(n_seeds, np.nan)
    if not varied:
        return Importances((), fit, "all configs have the same hyperparameters")
    if n_configs >= MIN_CONFIGS:
        features = np.column_stack([_encoded(values) for values in varied.values()])
        for seed in range(n_seeds):
            by_seed[:, seed], fit[seed] = _of_one_seed(
                features, complete[:, seed], rng, n_trees, n_repeats
            )
    rows = tuple(_row(name, own, level) for name, own in zip(varied, by_seed, strict=True))
    return Importances(rows, fit, _caveat(n_configs, fit))


def _of_one_seed(
    features: Float[np.ndarray, "config hyperparameter"],
    scores: Float[np.ndarray, " config"],
    rng: np.random.Generator,
    n_trees: int,
    n_repeats: int,
) -> tuple[Float[np.ndarray, " hyperparameter"], float]:
    grown = np.zeros(features.shape[1])
    squares = 0.0
    total = float(np.sum((scores - scores.mean()) ** 2))
    if np.ptp(scores) <= 1e-12 * np.max(np.abs(scores)):
        return grown, float("nan")
    folds = KFold(_N_FOLDS, shuffle=True, random_state=_draw(rng))
    for seen, unseen in folds.split(features):
        forest = RandomForestRegressor(n_trees, random_state=_draw(rng), n_jobs=1)
        forest.fit(features[seen], scores[seen])
        squares += float(np.sum((forest.predict(features[unseen]) - scores[unseen]) ** 2))
        shuffled = permutation_importance(
            forest,
            features[unseen],
            scores[unseen],
            scoring="neg_mean_squared_error",
            n_repeats=n_repeats,
            random_state=_draw(rng),
            n_jobs=1,
        )
        grown += np.asarray(shuffled["importances_mean"]) * len(unseen)
    return grown / total, 1 - squares / total


def _encoded(values: Sequence[object]) -> Float[np.ndarray, " config"]:
    numbers = [as_number(value) for value in values]
    if all(x is not None or label(v) == ABSENT for x, v in zip(numbers, values, strict=True)):
        # Forests take NaN as a branch of its own: what an absent hyperparameter is.
        return np.array([np.nan if x is None else x for x in numbers])
    names = [label(value) for value in values]
    code = {name: i for i, name in enumerate(sorted(set(names)))}
    return np.array([float(code[name]) for name in names])


def _row(name: str, by_seed: Float[np.ndarray, " seed"], level: float) -> Importance:
    n = len(by_seed)
    error = float(np.std(by_seed, ddof=1)) / n**0.5 if n > 1 else float("nan")
    return Importance(name, by_seed, float(by_seed.mean()), error, t_interval(by_seed, level=level))


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
