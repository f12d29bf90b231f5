"""One thing that is wrong with a training, its likely cause, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tune_seeds.reproduce.audit.trace import (
    Stage,
)
from tune_seeds.statistics.shown import Shown


class Cause(StrEnum):
    """What kind of thing makes two runs of one seed differ, or two seeds agree."""

    UNSEEDED = "unseeded"
    EARLIER_RUN = "earlier run"
    HASH_ORDER = "hash order"
    BEFORE_SEED = "before the seed"
    HARD_CODED = "hard-coded seed"
    SAME_IN_WORKERS = "same in all workers"
    TRAIN_MODE = "train mode in validation"
    PAUSE = "lost over a pause"


@dataclass(frozen=True, slots=True, repr=False)
class Finding(Shown):
    """One thing that is wrong.

    Attributes:
        cause: its kind.
        stage: where it shows; None where it is not one step of training.
        name: of the parameter, layer, hook or worker.
        where: in words.
        why: the likely cause.
        remedy: what to do.
    """

    cause: Cause
    stage: Stage | None
    name: str
    where: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}\n  likely cause: {self.why}\n  remedy: {self.remedy}"
