"""Ray Tune's own loop, ``TuneController``, where a study needs it to behave differently.

There is no public way to replace the controller of ``tune.run``. Its scheduler is handed the
controller, so what must differ is changed on that one object: Ray's classes stay as they are.
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, cast

import ray
from ray import exceptions
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.stopper import NoopStopper
from ray.tune.utils.object_cache import _ObjectCache

_GONE = (
    exceptions.WorkerCrashedError,
    exceptions.NodeDiedError,
    exceptions.LocalRayletDiedError,
    exceptions.ObjectLostError,
    exceptions.OutOfMemoryError,
    exceptions.ActorPlacementGroupRemoved,
    exceptions.TaskPlacementGroupRemoved,
    exceptions.RpcError,
)


def process_is_gone(error: BaseException) -> bool:
    """Whether a run failed because a process or a node is gone, and not by an error of its code."""
    if isinstance(error, RayActorError):
        # An actor that can't be made fails by its code, usually by an import.
        return not error.actor_init_failed
    if isinstance(error, RayTaskError):
        cause = cast(Any, error).cause
        return isinstance(cause, BaseException) and cause is not error and process_is_gone(cause)
    return isinstance(error, _GONE)


def ended_itself(error: BaseException) -> bool:
    """Whether a process is gone that ended on a node that is still there.

    Ray tells the two apart by its text only (2.49 to 2.60).
    """
    return isinstance(error, exceptions.OutOfMemoryError) or "worker process has died" in str(error)


class Controller:
    """The controller of one study, made to keep one process for each slot.

    Args:
        given: what Ray hands to a scheduler: the controller, or its wrapper.
        goes_on: told of a trial whose process is gone and why; says whether it is tried again.
    """

    def __init__(self, given: TuneController, goes_on: Callable[[Trial, Exception], bool]) -> None:
        own: Any = getattr(given, "_tune_controller", given)
        own.__class__ = _StudyController
        own.goes_on, own.heard = goes_on, {}
        cache = _KeptProcesses()
        cache._max_num_objects = own._actor_cache._max_num_objects
        own._actor_cache = cache
        manager = own._actor_manager
        manager._actor_task_failed = _with_gone_processes(manager._actor_task_failed)
        # A snapshot brings back why a study was left, and would have it left again at once.
        own._has_errored = False
        own._should_stop_experiment = False
        own._stopper = NoopStopper()
        self._own = own

    @property
    def n_taken(self) -> int:
        """How many trials hold a process, or have asked for one."""
        return len(self._own._trial_to_actor)

    def allow(self, n_slots: int) -> None:
        """Let so many trials wait for a process at a time, and so many processes be kept.

        Ray lets a custom searcher have one pending trial; beside runs that are shorter than the
        start of a process, a second process would never come up.
        """
        self._own._actor_cache.limit = n_slots
        self._own.update_max_pending_trials(n_slots)

    def has_asked(self, trial: Trial) -> bool:
        """Whether a trial holds a process or has asked for one."""
        return trial in self._own._trial_to_actor

    def is_starting(self, trial: Trial) -> bool:
        """Whether a process was started for a trial that does not train yet."""
        return self._own.has_process(trial)

    def kill(self, trial: Trial) -> None:
        """End the process of a trial that trains; Ray then hears that it is gone.

        Ray itself asks a process to end, which one that hangs does not hear.
        """
        tracked = self._own._trial_to_actor.get(trial)
        actors = self._own._actor_manager._live_actors_to_ray_actors_resources
        if tracked in actors:
            actor, _ = actors[tracked]
            ray.kill(actor)

    def leave(self) -> None:
        """End the study with the next step, as its time budget does."""
        self._own.request_stop_experiment()


class _StudyController(TuneController):
    """Ray's controller with four of its steps replaced."""

    goes_on: Callable[[Trial, Exception], bool]
    heard: dict[str, Exception]

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {k: v for k, v in state.items() if k not in ("goes_on", "heard")}

    def has_process(self, trial: Trial) -> bool:
        own: Any = self
        actor = own._trial_to_actor.get(trial)
        return actor is not None and own._actor_manager.is_actor_started(actor)

    def _maybe_reuse_cached_actor(self, trial: Trial) -> bool:
        """Ray gives a free process to a trial whose own is starting, and kills the latter.

        Then only one process ever trains where runs are shorter than a start (Ray 2.44 to 2.60).
        The free one goes to another trial here, and each that was started is kept.
        """
        if self.has_process(trial) and trial not in self._resetting_trials:
            return False
        return super()._maybe_reuse_cached_actor(trial)

    def _update_trial_queue(self, blocking: bool = False, timeout: int = 600) -> bool:
        """Ray waits up to ten minutes for a trial where none runs, deaf to its own time budget."""
        return super()._update_trial_queue(blocking=False)

    def _process_trial_failure(self, trial: Trial, exception: Any) -> None:
        """Try a trial again whose process is gone, and don't count it as a failure."""
        # Ray 2.60 leaves a trial that died while its process was reset marked as being reset, and
        # reports that failure twice: once for the process and once for the task.
        self._resetting_trials.discard(trial)
        if self.heard.get(trial.trial_id) is exception:
            return
        self.heard[trial.trial_id] = exception
        recoverable = trial.status in (Trial.RUNNING, Trial.PENDING)
        if recoverable and process_is_gone(exception) and self.goes_on(trial, exception):
            if trial.status == Trial.PENDING:
                self._set_trial_status(trial, Trial.RUNNING)
            own: Any = self
            own._try_recover(trial, exc=exception)
            own._callbacks.on_trial_recover(
                iteration=own._iteration, trials=own._trials, trial=trial
            )
            return
        super()._process_trial_failure(trial, exception)


def _with_gone_processes(task_failed: Callable[[Any, Exception], None]) -> Any:
    """Ray ends the whole study at an error that is of neither the actor nor its code."""

    def failed(tracked_actor_task: Any, exception: Exception) -> None:
        known = isinstance(exception, (RayActorError, RayTaskError))
        if known or not process_is_gone(exception):
            task_failed(tracked_actor_task, exception)
        elif tracked_actor_task._on_error:
            tracked_actor_task._on_error(tracked_actor_task._tracked_actor, exception)

    return failed


class _KeptProcesses(_ObjectCache):
    """Ray's cache of idle processes, which keeps one per slot until the search is over.

    Ray keeps as many as there are trials that wait for one at that very moment.
    """

    def __init__(self) -> None:
        super().__init__()
        self.limit = 1

    def cache_object(self, key: Any, obj: Any) -> bool:
        """Keep a process, unless there is one for each slot."""
        if self._num_cached_objects >= self.limit:
            return False
        self._cached_objects[key].append(obj)
        self._num_cached_objects += 1
        return True

    def flush_cached_objects(self, force_all: bool = False) -> Generator[Any]:
        """Give up all processes, or those beyond one for each slot."""
        keep = 0 if force_all else self.limit
        for objects in self._cached_objects.values():
            while objects and self._num_cached_objects > keep:
                self._num_cached_objects -= 1
                yield objects.pop(0)
