"""One group of a race: where a config stands over its seeds, and what a failed seed means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tune_seeds.core.rungs import Rung


class OnSeedFailure(StrEnum):
    """What a failed or diverged seed means for its group."""

    FAIL = "fail"  # the group can't win
    WORST = "worst"  # the seed scores as the worst seen at the rung
    DROP = "drop"  # the group is scored on the rest


@dataclass(slots=True)
class Group:
    """Where one config stands.

    Attributes:
        index: its place in the order in which configs were suggested.
        goal: the rung it heads for, or waits at.
        scores: rung → aggregate over the rung's seeds, higher is better.
        values: rung → seed → what was aggregated, higher is better.
        failures: seed → why it failed.
        lost: it can't win: a failed seed is not made up for.
        stale: rung → seeds on which its score there does not rest, because they had failed, and
            which are tried again; the group is scored there anew when they arrive.
    """

    index: int
    goal: Rung
    scores: dict[Rung, float] = field(default_factory=dict[Rung, float])
    values: dict[Rung, dict[int, float]] = field(default_factory=dict[Rung, dict[int, float]])
    failures: dict[int, str] = field(default_factory=dict[int, str])
    lost: bool = False
    stale: dict[Rung, set[int]] = field(default_factory=dict[Rung, set[int]])

    @property
    def heading(self) -> bool:
        """Whether runs of it still have to train."""
        return not self.lost and (self.goal not in self.scores or bool(self.stale))

    def cannot_win(self, seeds: Sequence[int], rule: OnSeedFailure) -> bool:
        """Whether too many of its seeds have failed.

        Args:
            seeds: of the study.
            rule: what a failed seed means.
        """
        if rule is OnSeedFailure.FAIL:
            return bool(self.failures)
        return all(seed in self.failures for seed in seeds[: self.goal.n_seeds])

    def lay_over(self, rungs: Sequence[Rung]) -> None:
        """Keep what is known at the rungs that are left of those before.

        Where the rung that it headed for is gone, it waits at the highest where it is scored, or
        heads for the lowest.
        """
        self.scores = {rung: score for rung, score in self.scores.items() if rung in rungs}
        self.values = {rung: values for rung, values in self.values.items() if rung in rungs}
        self.stale = {rung: seeds for rung, seeds in self.stale.items() if rung in rungs}
        if self.goal not in rungs:
            self.goal = max(self.scores, key=rungs.index, default=rungs[0])
