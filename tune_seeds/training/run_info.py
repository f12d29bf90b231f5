"""What a run may know of its place in the study, to tell it to a tracker."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, cast

from ray import tune

from tune_seeds._compat.ray_tune import current_session, get_shared, has_shared, put_shared

_PREFIX = "tune_seeds/run/"


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Where a run belongs.

    Attributes:
        experiment: the name of the experiment.
        group: the config's name in every view, table and file, such as ``g0001``.
        seed: of the run; None for what a tracker is told of the config as a whole.
        id: unique, and the same when a paused run goes on: Ray's id of the trial.
        fresh: whether the seed is one of the confirmation.

    Example:
        >>> run = RunInfo("cifar", "g0003", 47, "b1c2d_00001")
        >>> run.name, run.group_in_project
        ('g0003 seed=47', 'cifar/g0003')
    """

    experiment: str
    group: str
    seed: int | None
    id: str
    fresh: bool = False

    @property
    def group_in_project(self) -> str:
        """The group with its experiment, for trackers that keep several experiments together."""
        return f"{self.experiment}/{self.group}"

    @property
    def name(self) -> str:
        """A name for people, such as ``g0001 seed=47``."""
        return self.group if self.seed is None else f"{self.group} seed={self.seed}"

    @property
    def tags(self) -> dict[str, str | int]:
        """``experiment``, ``group``, ``seed`` and ``kind``, for parameters or tags."""
        tags: dict[str, str | int] = {"experiment": self.experiment, "group": self.group}
        if self.seed is None:
            return {**tags, "kind": "config"}
        kind = "run on a fresh seed" if self.fresh else "run"
        return {**tags, "seed": self.seed, "kind": kind}


def run_info() -> RunInfo | None:
    """Where the run of this process belongs; for functions that log to a tracker themselves.

    Returns:
        None outside of a study's trials, as when ``tune-seeds verify`` trains a run again: then
        nothing should be logged.
    """
    if not has_shared() or current_session() is None:
        return None
    trial_id = cast(Any, tune).get_context().get_trial_id()
    stored = get_shared(f"{_PREFIX}{trial_id}") if trial_id else None
    return None if stored is None else RunInfo(**stored)


def tell_run(run: RunInfo) -> None:
    """Let the process of a trial know; called by the driver before the trial starts."""
    # The processes of trials are started, and reused, by Ray; nothing but their config, which is
    # the user's, reaches them otherwise.
    put_shared(f"{_PREFIX}{run.id}", dataclasses.asdict(run))
