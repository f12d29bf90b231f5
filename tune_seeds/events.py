"""What can happen in a study: one frozen record per event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tune_seeds.ledger import Rung


@dataclass(frozen=True, slots=True)
class GroupAdded:
    """A new config entered the race."""

    group: str
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Promoted:
    """A group was sent to a rung."""

    group: str
    rung: Rung


@dataclass(frozen=True, slots=True)
class TrialAssigned:
    """A Ray trial was made for a run."""

    group: str
    seed: int
    trial_id: str
    trial_dir: str | None


@dataclass(frozen=True, slots=True)
class Reported:
    """A run reported metrics, and perhaps a checkpoint (a path relative to the experiment)."""

    group: str
    seed: int
    epoch: int
    metrics: dict[str, float]
    checkpoint: str | None


@dataclass(frozen=True, slots=True)
class EnvironmentRecorded:
    """A run said what its bits depend on (``environment.record``)."""

    group: str
    seed: int
    environment: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scored:
    """A group was scored at a rung.

    ``scores`` holds the metric of each seed that counts, in the metric's own direction. A failed
    seed is left out or stands there with the worst score of the rung, as the study declared.
    """

    group: str
    rung: Rung
    scores: dict[int, float]
    score: float


@dataclass(frozen=True, slots=True)
class ConfirmationAdded:
    """Groups are to be trained on fresh seeds, which the search never used."""

    groups: tuple[str, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RunCompleted:
    """A run came to its own end."""

    group: str
    seed: int


@dataclass(frozen=True, slots=True)
class RunStopped:
    """A run was ended from outside."""

    group: str
    seed: int


@dataclass(frozen=True, slots=True)
class RunFailed:
    """A run failed for good."""

    group: str
    seed: int
    error: str


@dataclass(frozen=True, slots=True)
class RunRetried:
    """A failed run is tried again after a restore."""

    group: str
    seed: int


@dataclass(frozen=True, slots=True)
class SearchExhausted:
    """No new config is to come; what is left to train are the finalists."""


@dataclass(frozen=True, slots=True)
class StudyLeft:
    """The study was left before its end; ``reason`` says by what. A restore may follow."""

    reason: str


Event = (
    GroupAdded
    | Promoted
    | TrialAssigned
    | Reported
    | Scored
    | ConfirmationAdded
    | EnvironmentRecorded
    | RunCompleted
    | RunStopped
    | RunFailed
    | RunRetried
    | SearchExhausted
    | StudyLeft
)
