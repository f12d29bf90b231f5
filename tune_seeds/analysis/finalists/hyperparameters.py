"""What each hyperparameter does to the scores of comparable groups."""

from __future__ import annotations

import dataclasses

import numpy as np

from tune_seeds.analysis.finalists.score_table import ScoreTable
from tune_seeds.core.metric import Metric
from tune_seeds.statistics.importance import Importances, importances
from tune_seeds.statistics.marginals import Marginal, Marginals, marginals


def marginal_tables(table: ScoreTable, metric: Metric, level: float) -> Marginals:
    """The grouped table of each hyperparameter, in the metric's own direction."""
    tables = marginals(table.configs, table.scores, level=level)
    if metric.higher_is_better:
        return tables
    return Marginals((name, tuple(_turned(row) for row in rows)) for name, rows in tables.items())


def importance_table(table: ScoreTable, level: float) -> Importances:
    """How much each hyperparameter matters; the forests are seeded by the study's seeds."""
    rng = np.random.default_rng(table.seeds)
    return importances(table.configs, table.scores, rng=rng, level=level)


def _turned(row: Marginal) -> Marginal:
    return dataclasses.replace(
        row,
        by_seed=-row.by_seed,
        mean=-row.mean,
        interval=row.interval.reflected(),
        effect=row.effect.reflected(),
    )
