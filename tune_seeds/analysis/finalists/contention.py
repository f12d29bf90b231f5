"""Which of the finalists can't be told apart from the best."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_seeds.analysis.finalists.score_table import ScoreTable
from tune_seeds.statistics.contenders import contenders
from tune_seeds.statistics.shown import Shown


@dataclass(frozen=True, slots=True, repr=False)
class Contention(Shown):
    """The configs that can't be told apart from the best.

    Attributes:
        groups: those that may still be the best, in the order of the ranking.
        p_values: group → p value of "no other config is better on average", corrected for all;
            empty among all.
        rivals: group → the group that speaks most against it; empty among all.
        level: probability with which the truly best config of those compared is among ``groups``,
            at least.
        n_seeds: common seeds; among all, of the study.
        left_out: groups without all seeds, which can't be compared in pairs; among all, those that
            failed or have no score.
        caveat: what can't be promised.
        among: ``"finished"``: the best of those that hold every epoch and seed is meant, and the
            best of all may have been stopped; ``"all"``: the best of all configs.
        n_compared: how many configs that are.
        probabilities: among all, group → probability of being the best; else empty.
    """

    groups: tuple[str, ...]
    p_values: dict[str, float]
    rivals: dict[str, str]
    level: float
    n_seeds: int
    left_out: tuple[str, ...]
    caveat: str | None
    among: str = "finished"
    n_compared: int = 0
    probabilities: Mapping[str, float] = dataclasses.field(default_factory=dict[str, float])

    @property
    def promise(self) -> str:
        """What is promised, as a sentence."""
        of = (
            "all configs, stopped ones included," if self.among == "all" else "the finished configs"
        )
        return (
            f"with a probability of {self.level:.0%} the truly best of {of} is among these "
            f"{len(self.groups)} of {self.n_compared}"
        )

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        if self.among == "all":
            for name, chance in self.probabilities.items():
                yield {"group": name, "kept": name in self.groups, "P(best)": chance}
            return
        for name, p in self.p_values.items():
            rival = self.rivals[name]
            yield {"group": name, "kept": name in self.groups, "p": p, "strongest rival": rival}

    def _notes(self) -> Sequence[str]:
        return tuple(note for note in (self.promise, self.caveat) if note)


def contention(table: ScoreTable, level: float) -> Contention:
    """Which groups can't be told apart from the best; see ``contenders.contenders``."""
    found = contenders(table.scores, level=level)
    names = table.groups
    return Contention(
        groups=tuple(name for name, kept in zip(names, found.kept, strict=True) if kept),
        p_values=dict(zip(names, found.p_values.tolist(), strict=True)),
        rivals={
            name: names[rival] for name, rival in zip(names, found.strongest_rival, strict=True)
        },
        level=found.level,
        n_seeds=found.n_seeds,
        left_out=table.left_out,
        caveat=found.caveat,
        n_compared=len(names),
    )
