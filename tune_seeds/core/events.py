"""What can happen in a study: one frozen record per event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tune_seeds.core.rungs import Rung


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
class RunStarted:
    """A run got a slot: it trains from its newest checkpoint, or from its beginning."""

    group: str
    seed: int


@dataclass(frozen=True, slots=True)
class Reported:
    """A run reported metrics, and perhaps a checkpoint (a path relative to the experiment)."""

    group: str
    seed: int
    epoch: int
    metrics: dict[str, float]
    checkpoint: str | None
    checkpoint_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class CheckpointDeleted:
    """The checkpoint of an epoch is needed no more; its files go once this is stored."""

    group: str
    seed: int
    epoch: int


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
    """No new config is to come; what is left to train are the finalists.

    ``why`` says it where fewer came than were asked for.
    """

    why: str | None = None


@dataclass(frozen=True, slots=True)
class StudyLeft:
    """The study was left before its end; ``reason`` says by what. A restore may follow."""

    reason: str


@dataclass(frozen=True, slots=True)
class Grown:
    """A study was asked for more than before, or goes on with something that has changed.

    The header keeps what the study was begun with; this says what holds from here on.

    Attributes:
        seeds: all of them; the ones before are their head.
        rungs: all of them, lowest first.
        n_finalists: groups that are to hold every epoch and every seed.
        num_samples: configs to be suggested in all.
        asked: the arguments that were given, by name.
        fingerprint: of the trainable, part by part, from here on.
        changes: what has changed though it should not, and was allowed to.
        at: when, as an ISO 8601 time of the driver's clock.
    """

    seeds: tuple[int, ...]
    rungs: tuple[Rung, ...]
    n_finalists: int
    num_samples: int
    asked: dict[str, Any]
    fingerprint: dict[str, str]
    changes: tuple[str, ...]
    at: str


Event = (
    GroupAdded
    | Promoted
    | TrialAssigned
    | RunStarted
    | Reported
    | CheckpointDeleted
    | Scored
    | ConfirmationAdded
    | EnvironmentRecorded
    | RunCompleted
    | RunStopped
    | RunFailed
    | RunRetried
    | SearchExhausted
    | StudyLeft
    | Grown
)
