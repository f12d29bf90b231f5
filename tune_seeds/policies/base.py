"""Who goes on: what a policy is told and must answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from tune_seeds.core.rungs import Rung


class Promotion(NamedTuple):
    """A group and the rung it should be taken to next."""

    group: str
    rung: Rung


class Policy(Protocol):
    """Decides which group is taken to which rung; hears of every score, knows nothing of Ray.

    A policy is a function of what it was told, in the order it was told, and of nothing else:
    rebuilding a study after a kill tells it the same things again. ``propose`` changes nothing; how
    many slots there are comes with the question, since it changes while a study runs.

    ``tune_seeds.testing.check_policy`` says whether a policy keeps this contract.
    """

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """Every rung that a group may be taken to, lowest first; the last is the full list."""
        ...

    def scored(
        self,
        group: str,
        rung: Rung,
        values: Sequence[float],
        score: float,
        recent: Sequence[float] = (),
    ) -> None:
        """A group has reached a rung: the value of each of its seeds and their aggregate.

        It may be told again of a rung that the group has left behind, with other values: a seed had
        failed there and was tried again. What it was told before then no longer counts.

        ``recent`` has the mean of each seed's values over recent epochs, where they are known.
        """
        ...

    def promoted(self, group: str, rung: Rung) -> None:
        """A group is on its way to a rung; a new one to the rung of ``first``."""
        ...

    def dropped(self, group: str) -> None:
        """A group can't win any more: one of its seeds failed."""
        ...

    def revived(self, group: str) -> None:
        """The failed seeds of a dropped group are tried again."""
        ...

    def first(self) -> Rung:
        """The rung that a new config is taken to."""
        ...

    def propose(self, *, exhausted: bool, n_slots: int = 1, n_busy: int = 0) -> Promotion | None:
        """The promotion that is worth a free slot most, if any is.

        None leaves the slot to a new config. Where none is to come it stays free until a run
        reports, so a policy may wait for a result; with no run on its way there is nothing to wait
        for, and None ends the search.

        Args:
            exhausted: no new config is to come, so the finalists are to be completed.
            n_slots: runs that can train at once now, at least 1.
            n_busy: how many of them are taken; at least one is not.
        """
        ...

    def fresh(self, rungs: Sequence[Rung], n_finalists: int) -> Policy:
        """A new policy with the same arguments but these, for a study that has grown.

        It is told nothing yet: what groups have come to follows, group by group.
        """
        ...

    def leader(self) -> str | None:
        """The group that would be the answer if everything ended now; None before a first score."""
        ...


@runtime_checkable
class Settling(Protocol):
    """A policy that can say that a study has found what it is to find; it need not."""

    def settled(self) -> str | None:
        """Why no new config is worth its cost, in words that can follow on a colon; else None.

        The search asks before each new config, and ends where there is a reason. Then ``propose``
        is told that the configs are exhausted, and completes the finalists.
        """
        ...
