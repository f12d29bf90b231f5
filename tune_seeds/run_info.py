"""What a run may know of its place in the study, to tell it to a tracker."""

# Ray's store of keys is not typed; it is the only way to reach a running process with a trial's id.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, cast

from ray import tune
from ray.experimental.internal_kv import (
    _internal_kv_get,  # pyright: ignore[reportPrivateUsage]
    _internal_kv_initialized,  # pyright: ignore[reportPrivateUsage]
    _internal_kv_put,  # pyright: ignore[reportPrivateUsage]
)
from ray.train._internal.session import get_session

_PREFIX = "tune_seeds/run/"


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Where a run belongs.

    Attributes:
        experiment: the name of the experiment.
        config_id: the config's name in every view and table, such as ``g0001``.
        seed: of the run; None for what a tracker is told of the config as a whole.
        id: unique, and the same when a paused run goes on: Ray's id of the trial.
        fresh: whether the seed is one of the confirmation.
    """

    experiment: str
    config_id: str
    seed: int | None
    id: str
    fresh: bool = False

    @property
    def group(self) -> str:
        """What a tracker groups runs by: the config within its experiment."""
        return f"{self.experiment}/{self.config_id}"

    @property
    def name(self) -> str:
        """A name for people, such as ``g0001 seed=47``."""
        return self.config_id if self.seed is None else f"{self.config_id} seed={self.seed}"

    @property
    def tags(self) -> dict[str, str | int]:
        """``group``, ``config_id``, ``seed`` and ``kind``, for parameters or tags."""
        tags: dict[str, str | int] = {"group": self.group, "config_id": self.config_id}
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
    if not _internal_kv_initialized() or get_session() is None:
        return None
    trial_id = cast(Any, tune).get_context().get_trial_id()
    stored = _internal_kv_get(f"{_PREFIX}{trial_id}") if trial_id else None
    return None if stored is None else RunInfo(**json.loads(stored))


def tell_run(run: RunInfo) -> None:
    """Let the process of a trial know; called by the driver before the trial starts."""
    # The processes of trials are started, and reused, by Ray; nothing but their config, which is
    # the user's, reaches them otherwise.
    _internal_kv_put(f"{_PREFIX}{run.id}", json.dumps(dataclasses.asdict(run)))
