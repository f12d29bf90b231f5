"""How much the seed matters among the finalists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_seeds.analysis.finalists.score_table import ScoreTable
from tune_seeds.statistics.comparison import SeedsToSeparate, seeds_to_separate
from tune_seeds.statistics.intervals import score_resolution
from tune_seeds.statistics.marginals import marginals
from tune_seeds.statistics.seed_effect import (
    Choice,
    SeedChances,
    VarianceShares,
    choices,
    effect_row,
    effect_rows,
    seed_effect,
)
from tune_seeds.statistics.shown import Shown


@dataclass(frozen=True, slots=True, repr=False)
class SeedReport(Shown):
    """How much the seed matters among the finalists.

    Attributes:
        variance: shares of config, seed and the rest in the variance of the scores.
        kendalls_w: agreement of the seeds on the ranking, 1 the same ranking, 0 none.
        win_shares: group → share of seeds on which it is the best.
        choices: for each hyperparameter, whether every seed alone would choose the same value.
        separation: how many seeds would tell the first two apart; None with one config.
        n_seeds: common seeds.
        by_chance: what chance alone gives, for as many configs and seeds.
    """

    variance: VarianceShares
    kendalls_w: float
    win_shares: dict[str, float]
    choices: tuple[Choice, ...]
    separation: SeedsToSeparate | None
    n_seeds: int
    by_chance: SeedChances

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        yield from effect_rows(self.variance, self.kendalls_w, self.by_chance)
        for name, share in self.win_shares.items():
            yield effect_row(f"share of seeds that {name} wins", share, self.by_chance.win_share)

    def _title(self) -> str:
        return f"{len(self.win_shares)} configs on {self.n_seeds} common seeds"

    def _notes(self) -> Sequence[str]:
        notes = [self.variance.caveat or ""]
        for choice in self.choices:
            notes.append(
                f"{choice.name}: {choice.overall} is best, and on {choice.agreement:.0%} of the "
                f"seeds alone ({choice.by_chance:.0%} by chance)"
            )
        if self.separation is not None:
            notes.append(f"seeds that would separate the first two: {self.separation.range_text}")
        return [note for note in notes if note]


def seed_report(table: ScoreTable) -> SeedReport:
    """How much the seed matters; see ``seed_effect``."""
    effect = seed_effect(table.scores)
    tables = marginals(table.configs, table.scores)
    separation = None
    if len(table.scores) > 1:
        first, second = table.scores[:2]
        separation = seeds_to_separate(
            first,
            second,
            n_configs=len(table.scores),
            resolution=score_resolution(table.scores),
        )
    return SeedReport(
        variance=effect.variance,
        kendalls_w=effect.kendalls_w,
        win_shares=dict(zip(table.groups, effect.win_shares.tolist(), strict=True)),
        choices=choices(tables),
        separation=separation,
        n_seeds=effect.n_seeds,
        by_chance=effect.by_chance,
    )
