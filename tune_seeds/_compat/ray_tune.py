"""Private names of Ray Tune, each seen to exist in Ray 2.44.1, 2.49.2, 2.53, 2.55.1 and 2.60."""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

import pyarrow.fs
from ray.experimental import internal_kv
from ray.train._internal import session as _session
from ray.train._internal.session import _TrainingResult
from ray.train._internal.storage import StorageContext
from ray.tune import Checkpoint
from ray.tune.execution.cluster_info import _is_ray_cluster
from ray.tune.execution.experiment_state import _find_newest_experiment_checkpoint
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler
from ray.util.client import ray as client


def current_session() -> Any:
    """The session of the trial that this process trains, None outside of one.

    ``tune.report`` calls its ``report``; there is no public way to put something around a report
    that a user's own function makes.
    """
    return _session.get_session()


def run_storage() -> tuple[pyarrow.fs.FileSystem, str] | None:
    """The file system of the experiment and the directory of this process's trial on it.

    ``tune.get_context().get_trial_dir()`` is a folder of Ray's session, whatever the storage.
    """
    storage = getattr(current_session(), "storage", None)
    if storage is None or getattr(storage, "trial_dir_name", None) is None:
        return None
    return storage.storage_filesystem, str(storage.trial_fs_path)


def set_session(session: object) -> None:
    """Let ``tune.report`` and ``tune.get_checkpoint`` talk to an object outside of Tune.

    Ray's functions look for the session in this one place, and offer no way to give another.
    """
    cast(Any, _session)._session = session


def has_snapshot(fs: pyarrow.fs.FileSystem, path: str) -> bool:
    """Whether Ray has saved the state of an experiment, without which it can resume no trial.

    Its public ``Tuner.can_restore`` asks for ``tuner.pkl`` beside it, which ``tune.run`` does not
    write.
    """
    return bool(_find_newest_experiment_checkpoint(path, fs))


def grows_by_itself() -> bool:
    """Whether the cluster was started with an autoscaler; Tune asks the same before it warns."""
    return bool(_is_ray_cluster())


def joined_by_client() -> bool:
    """Whether this process talks to a cluster through Ray Client, a proxy of another process."""
    return bool(cast(Any, client).is_connected())


def resume_from(trial: Trial, checkpoint: Checkpoint, metrics: dict[str, Any]) -> None:
    """Let a trial go on from a checkpoint that Ray's snapshot does not know.

    ``Trial.restore_path`` is the public way, and loses the metrics that came with the checkpoint.
    """
    trial.on_checkpoint(_TrainingResult(checkpoint=checkpoint, metrics=metrics))


def number_checkpoints_after(trial: Trial, taken: list[str]) -> None:
    """Let the next checkpoint of a trial have a directory of its own.

    Ray counts those that a trial has made, in its snapshot, and ``on_checkpoint`` adds one: where
    the snapshot is two checkpoints old, the next would be written into the directory of one that
    is there. Nothing public sets the count.

    Args:
        trial: one that is not running.
        taken: names as Ray gives them, ``checkpoint_000003``.
    """
    numbers = [int(name.rpartition("_")[2]) for name in taken]
    storage = cast(StorageContext, trial.storage)
    storage.current_checkpoint_index = max([storage.current_checkpoint_index, *numbers])


def user_verbosity(run_config: Any) -> int:
    """What a user gave as ``RunConfig(verbose=...)``; 0 where nothing was given.

    ``RunConfig`` fills in Ray's default, and keeps what the user gave beside it.
    """
    return int(getattr(run_config, "_verbose", None) or 0)


def own_metric(owner: object, name: str) -> str | None:
    """The ``metric`` or ``mode`` that a scheduler or searcher was made with."""
    return getattr(owner, f"_{name}", None)


def function_resources(function: object) -> Any:
    """What ``tune.with_resources`` has put on a function."""
    return getattr(function, "_resources", None)


@dataclass(frozen=True, slots=True)
class AshaArguments:
    """What a user gave to ``ASHAScheduler``, which keeps it in private attributes only."""

    time_attr: str
    max_t: float
    grace_period: float
    reduction_factor: float
    n_brackets: int
    stop_last_trials: bool


def asha_arguments(scheduler: AsyncHyperBandScheduler) -> AshaArguments:
    """The arguments of a scheduler; the grace period is the lowest milestone of its bracket."""
    own = cast(Any, scheduler)
    return AshaArguments(
        time_attr=own._time_attr,
        max_t=own._max_t,
        grace_period=own._brackets[0]._rungs[-1][0],
        reduction_factor=float(own._reduction_factor),
        n_brackets=len(own._brackets),
        stop_last_trials=bool(own._stop_last_trials),
    )


def put_shared(key: str, value: dict[str, Any]) -> None:
    """Keep a small record where every process of the cluster can read it.

    The public way is a named actor, which is one more process in each study; this is Ray's own
    store of keys, in the process that leads the cluster.
    """
    cast(Any, internal_kv)._internal_kv_put(key, json.dumps(value))


def has_shared() -> bool:
    """Whether this process has joined a Ray, and so can read what ``put_shared`` kept."""
    return bool(cast(Any, internal_kv)._internal_kv_initialized())


def get_shared(key: str) -> dict[str, Any] | None:
    """What ``put_shared`` kept; None where there is nothing, or no Ray."""
    stored = cast(Any, internal_kv)._internal_kv_get(key) if has_shared() else None
    return None if stored is None else cast(dict[str, Any], json.loads(stored))
