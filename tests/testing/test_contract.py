"""The contract test of policies finds what is wrong with a policy."""

from __future__ import annotations

import pytest

from tune_seeds.core.rungs import build_rungs
from tune_seeds.policies.base import Promotion
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.testing import PolicyContractError, check_policy

RUNGS = build_rungs((1, 3, 9), 3, "ladder")


class NeverEnds(SuccessiveHalving):
    """It leaves the finalists incomplete."""

    def propose(self, *, exhausted: bool, n_slots: int = 1, n_busy: int = 0) -> Promotion | None:
        return super().propose(exhausted=False)


class TakesTheDropped(SuccessiveHalving):
    """It goes on with groups that can't win."""

    def dropped(self, group: str) -> None:
        pass

    def revived(self, group: str) -> None:
        pass


class Counts(SuccessiveHalving):
    """It answers by how often it was asked."""

    asked = 0

    def propose(self, *, exhausted: bool, n_slots: int = 1, n_busy: int = 0) -> Promotion | None:
        self.asked += 1
        return super().propose(exhausted=exhausted or self.asked % 2 == 0)


class WaitsForNothing(SuccessiveHalving):
    """It waits on many slots though no run is on its way."""

    def propose(self, *, exhausted: bool, n_slots: int = 1, n_busy: int = 0) -> Promotion | None:
        return None if n_slots > 2 else super().propose(exhausted=exhausted)


class TwoAtOnce(SuccessiveHalving):
    """It promotes groups that are on their way."""

    def propose(self, *, exhausted: bool, n_slots: int = 1, n_busy: int = 0) -> Promotion | None:
        return super().propose(exhausted=exhausted) or (
            Promotion(next(iter(self._goal)), self.rungs[-1]) if self._goal else None
        )


class Absent(SuccessiveHalving):
    """Nobody leads."""

    def leader(self) -> str | None:
        return None


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (NeverEnds, "complete"),
        (TakesTheDropped, "dropped"),
        (Counts, "asked"),
        (WaitsForNothing, "complete"),
        (TwoAtOnce, "way|from"),
        (Absent, "leader"),
    ],
)
def test_an_unsound_policy_is_found(kind: type[SuccessiveHalving], message: str):
    with pytest.raises(PolicyContractError, match=rf"history \d+ of seed 0: .*({message})"):
        check_policy(lambda: kind(RUNGS, 3, 2), n_finalists=2)
