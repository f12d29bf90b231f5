"""The scores of the groups that are comparable: at one rung, on all of its seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from tune_seeds.analysis.errors import NothingToCompareError
from tune_seeds.core.rungs import Rung
from tune_seeds.race.race import Race
from tune_seeds.statistics.shown import Shown


@dataclass(frozen=True, slots=True, repr=False)
class ScoreTable(Shown):
    """The scores of several groups on the same seeds.

    Attributes:
        groups: names, best first.
        configs: their hyperparameters.
        seeds: the columns.
        scores: (group, seed), higher is better.
        left_out: groups at that rung that lack a seed, which was dropped when it failed.
    """

    groups: tuple[str, ...]
    configs: tuple[Mapping[str, Any], ...]
    seeds: tuple[int, ...]
    scores: Float[np.ndarray, "group seed"]
    left_out: tuple[str, ...]

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        for name, row in zip(self.groups, self.scores.tolist(), strict=True):
            yield {"group": name, **dict(zip(map(str, self.seeds), row, strict=True))}


def score_table(race: Race, rung: Rung | None = None) -> ScoreTable:
    """The groups that are scored at a rung, the last if None, on all its seeds, best first.

    Raises:
        NothingToCompareError: there is no such group.
        ValueError: the study has no such rung.
    """
    if rung is not None and rung not in race.policy.rungs:
        known = ", ".join(map(str, race.policy.rungs))
        raise ValueError(f"rung must be one of the study's ({known}) as a Rung, got {rung!r}")
    rung = rung or race.policy.rungs[-1]
    seeds = race.ledger.seeds[: rung.n_seeds]
    there = [name for name, group in race.groups.items() if rung in group.scores and not group.lost]
    there.sort(key=lambda name: (-race.groups[name].scores[rung], race.groups[name].index))
    whole = [name for name in there if set(race.groups[name].values[rung]) == set(seeds)]
    if not whole:
        raise NothingToCompareError(f"no config has all {len(seeds)} seeds at the rung {rung}")
    rows = [[race.groups[name].values[rung][seed] for seed in seeds] for name in whole]
    return ScoreTable(
        groups=tuple(whole),
        configs=tuple(race.ledger.configs[name] for name in whole),
        seeds=seeds,
        scores=np.array(rows, dtype=np.float64),
        left_out=tuple(name for name in there if name not in whole),
    )


def meeting_rung(race: Race) -> Rung:
    """The rung where most configs meet; the highest of several."""
    alive = [group for group in race.groups.values() if not group.lost]
    rungs = race.policy.rungs
    met = [sum(rung in group.scores for group in alive) for rung in rungs]
    return max(zip(met, range(len(rungs)), rungs, strict=True))[-1]
