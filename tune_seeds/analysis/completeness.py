"""How far a study has come: whether its answer is the one asked for, or the best so far."""

from __future__ import annotations

from dataclasses import dataclass

from tune_seeds.race.race import Race
from tune_seeds.statistics.shown import Shown


@dataclass(frozen=True, slots=True, repr=False)
class Completeness(Shown):
    """How far a study has come.

    Attributes:
        finished: nothing is left to train on the study's own seeds.
        left: what the study was left by before its end, such as ``"the time budget"``; None where
            it is finished, or was killed and could not say.
        n_started: configs that were started.
        n_configs: those that were asked for, or that there were.
        n_complete: configs with every epoch on every seed.
        n_finalists: how many of these were asked for, at most ``n_configs``.
        why_fewer: why fewer configs came than were asked for; None where all did.
    """

    finished: bool
    left: str | None
    n_started: int
    n_configs: int
    n_complete: int
    n_finalists: int
    why_fewer: str | None = None

    def __str__(self) -> str:
        if self.finished:
            why = "finished"
        elif self.left is None:
            why = "left before its end"
        else:
            why = f"stopped by {self.left}"
        return (
            f"{why}: {self.n_started} of {self.n_configs} configs started, "
            f"{min(self.n_complete, self.n_finalists)} of {self.n_finalists} finalists complete"
        )


def completeness(race: Race, n_configs: int, n_finalists: int) -> Completeness:
    """How far a race has come.

    Args:
        race: read only.
        n_configs: how many configs the search was to suggest; equal ones are one config.
        n_finalists: how many were to get every epoch on every seed.
    """
    top = race.policy.rungs[-1]
    n_started = len(race.groups)
    n_configs = n_started if race.exhausted else max(n_configs, n_started)
    return Completeness(
        finished=race.search_over,
        left=None if race.search_over else race.left,
        n_started=n_started,
        n_configs=n_configs,
        n_complete=sum(top in g.scores and not g.lost for g in race.groups.values()),
        n_finalists=min(n_finalists, n_configs),
        why_fewer=race.why_exhausted,
    )
