"""Which configs of a study may be the best of all, those that were stopped included."""

from __future__ import annotations

import math

import numpy as np

from tune_seeds.analysis.errors import NothingToCompareError
from tune_seeds.analysis.finalists.contention import Contention
from tune_seeds.analysis.group_summary import ranking
from tune_seeds.race.race import Race
from tune_seeds.statistics.possible_best import chances, draws_of_means, smallest_set


def contention_among_all(race: Race, level: float) -> Contention:
    """Every config that the study can't exclude as the best of all, by the forecast of its runs.

    Where nothing can be forecast, because no config has two seeds at one rung or too few have come
    to the last one, none is excluded, and ``caveat`` says why.

    Raises:
        NothingToCompareError: no config has a value at the first rung.
    """
    ledger = race.ledger
    epochs = sorted({rung.epochs for rung in race.policy.rungs})
    names, rows, owners = list[str](), list[list[float]](), list[int]()
    order = [name for name in ranking(race) if not race.groups[name].lost]
    for name in order:
        own: list[list[float]] = []
        for seed in ledger.seeds:
            row: list[float] = []
            for epoch in epochs:
                value = ledger.values_on(name, [seed], epoch)
                if value is None or not math.isfinite(value[0]):
                    break
                row.append(value[0])
            if row:
                own.append([*row, *[math.nan] * (len(epochs) - len(row))])
        if own:
            rows += own
            owners += [len(names)] * len(own)
            names.append(name)
    if not names:
        raise NothingToCompareError("no config has come to the first rung")
    chance, caveat = _chances(np.array(rows), np.array(owners), ledger.seeds)
    kept = range(len(names)) if caveat else smallest_set(chance, level=level)
    found = {names[k] for k in kept}
    return Contention(
        groups=tuple(name for name in names if name in found),
        p_values={},
        rivals={},
        level=level,
        n_seeds=len(ledger.seeds),
        left_out=tuple(name for name in race.groups if name not in names),
        caveat=caveat,
        among="all",
        n_compared=len(names),
        probabilities=dict(zip(names, chance.tolist(), strict=True)),
    )


def _chances(
    values: np.ndarray, owners: np.ndarray, seeds: tuple[int, ...]
) -> tuple[np.ndarray, str | None]:
    n_configs = int(owners.max()) + 1
    even = np.full(n_configs, 1 / n_configs)
    at_last = set(owners[np.isfinite(values[:, -1])].tolist())
    if n_configs == 1:
        return even, None
    if len(owners) == n_configs:
        return even, "no config has two seeds, so nothing shows what a seed does: none is excluded"
    if len(at_last) < 2:
        return even, "fewer than two configs have come to the last epoch: none is excluded"
    # The study's own seeds, so that its answer is the same each time.
    draws = draws_of_means(values, owners, rng=np.random.default_rng(seeds))
    return chances(draws), None
