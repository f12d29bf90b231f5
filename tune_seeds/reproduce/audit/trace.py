"""What a run computed, step by step, as hashes that two runs can be compared by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Stage(IntEnum):
    """Where something was computed, in the order in which one thing follows from another."""

    SPLIT = 0
    INITIAL_WEIGHTS = 1
    BATCH_ORDER = 2
    BATCH_CONTENT = 3
    FORWARD = 4
    LOSS = 5
    GRADIENT = 6
    OPTIMIZER = 7
    HOOK = 8


#: How each stage is called in a report.
TITLES = {
    Stage.SPLIT: "random split",
    Stage.INITIAL_WEIGHTS: "initial weights",
    Stage.BATCH_ORDER: "batch order",
    Stage.BATCH_CONTENT: "batch content",
    Stage.FORWARD: "forward output",
    Stage.LOSS: "loss",
    Stage.GRADIENT: "gradient",
    Stage.OPTIMIZER: "optimizer state",
    Stage.HOOK: "random numbers drawn in a hook",
}

BEFORE_TRAINING = -1


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """One thing that was computed.

    Attributes:
        epoch: counted from 0; ``BEFORE_TRAINING`` for what comes before.
        batch: counted from 0; -1 for what belongs to the epoch.
        stage: what it is.
        position: its place among those of the same stage.
        name: of the parameter, layer or hook; for a batch, the loader worker that made it.
    """

    epoch: int
    batch: int
    stage: Stage
    position: int
    name: str

    def __str__(self) -> str:
        where = TITLES[self.stage] + (f" ({self.name})" if self.name else "")
        if self.epoch == BEFORE_TRAINING:
            return where
        return f"{where} at epoch {self.epoch + 1}" + (
            f", batch {self.batch}" if self.batch >= 0 else ""
        )


@dataclass(frozen=True, slots=True)
class SeedCall:
    """A call that seeds a generator, made by code outside of the libraries.

    Attributes:
        function: what was called.
        place: file and line of the caller.
        argument: the seed as text; empty where none was given.
    """

    function: str
    place: str
    argument: str


@dataclass(slots=True)
class Trace:
    """Everything that was noted in one run.

    Attributes:
        digests: what was computed, by point.
        seed_calls: generators that were seeded by the user's code, in order.
        workers: per loader worker, hashes of its Python, NumPy and torch generators at its start.
        constant: points whose value could not depend on a seed (a layer of ones, sorted indices).
        active_in_validation: layers that were in train mode in a validation step.
        copied_generators: generators that a data set holds and every loader worker gets a copy of.
        nondeterministic_ops: what torch said has no deterministic kernel on this device.
    """

    digests: dict[Point, str] = field(default_factory=dict[Point, str])
    seed_calls: list[SeedCall] = field(default_factory=list[SeedCall])
    workers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    constant: set[Point] = field(default_factory=set[Point])
    active_in_validation: list[str] = field(default_factory=list[str])
    copied_generators: list[str] = field(default_factory=list[str])
    nondeterministic_ops: list[str] = field(default_factory=list[str])

    def to_plain(self) -> dict[str, Any]:
        """As JSON takes it."""
        points = [
            [[p.epoch, p.batch, p.stage, p.position, p.name], d] for p, d in self.digests.items()
        ]
        return {
            "digests": points,
            "seed_calls": [[c.function, c.place, c.argument] for c in self.seed_calls],
            "workers": self.workers,
            "constant": [[p.epoch, p.batch, p.stage, p.position, p.name] for p in self.constant],
            "active_in_validation": self.active_in_validation,
            "copied_generators": self.copied_generators,
            "nondeterministic_ops": self.nondeterministic_ops,
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Trace:
        """What ``to_plain`` returned."""
        return cls(
            digests={_point(point): digest for point, digest in data["digests"]},
            seed_calls=[SeedCall(*call) for call in data["seed_calls"]],
            workers=data["workers"],
            constant={_point(point) for point in data["constant"]},
            active_in_validation=data["active_in_validation"],
            copied_generators=data["copied_generators"],
            nondeterministic_ops=data["nondeterministic_ops"],
        )


def first_difference(a: Trace, b: Trace) -> Point | None:
    """The first point at which two traces are not equal, in the order of ``Stage``."""
    points = sorted({*a.digests, *b.digests}, key=in_order)
    return next((p for p in points if a.digests.get(p) != b.digests.get(p)), None)


def in_order(point: Point) -> tuple[int, int, int, int]:
    """A key that sorts points as one follows from another."""
    # Gradients are computed from the last layer to the first.
    position = -point.position if point.stage is Stage.GRADIENT else point.position
    # What belongs to an epoch comes before its batches, but its hooks' draws are seen in them.
    return point.epoch, point.batch, point.stage, position


def _point(values: list[Any]) -> Point:
    epoch, batch, stage, position, name = values
    return Point(epoch, batch, Stage(stage), position, name)
