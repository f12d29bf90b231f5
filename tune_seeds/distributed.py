"""A run on several workers: a Ray Train ``TorchTrainer`` with DDP inside the trial.

The workers train and report as a run in one process does: after each epoch rank 0 hands its
metrics, at a rung with a checkpoint, to the trial, and all ranks wait for its word. So Tune decides
before another epoch is trained, and a paused run ends its workers, which frees their slots.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import ray
import torch
from ray import PlacementGroupID, train, tune
from ray._private.state import state
from ray.core.generated import gcs_pb2
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train._internal.session import (
    get_session,  # pyright: ignore[reportUnknownVariableType]
)
from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.exceptions import (
    WorkerHealthCheckFailedError,
    WorkerHealthCheckTimeoutError,
)
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tune_seeds.fitting import Report
from tune_seeds.reporting import report_epoch
from tune_seeds.trainable import Plan

# What Ray Train says of a worker that ended without a word of its own.
_DEAD = (WorkerHealthCheckFailedError, WorkerHealthCheckTimeoutError)

# How often the trial looks whether its workers have ended without a report.
_LOOK_S = 0.5


class Retrain(Protocol):
    """Trains one rank of a run in this process."""

    def __call__(
        self, config: Mapping[str, Any], plan: Plan, report: Report, checkpoint: Path | None
    ) -> object:
        """See ``LightningTrainer.retrain``."""
        ...


@dataclass(frozen=True, slots=True)
class Workers:
    """What a run trains on.

    Attributes:
        n: how many workers, at least 2.
        cpus: of each.
        gpus: of each, 0 or 1.
    """

    n: int
    cpus: float
    gpus: int

    @property
    def bundles(self) -> tuple[dict[str, float], ...]:
        """What Ray has to find for each worker."""
        bundle = {"CPU": self.cpus, **({"GPU": float(self.gpus)} if self.gpus else {})}
        return (bundle,) * self.n


class _Parcel(NamedTuple):
    """One epoch, on its way from rank 0 to the trial."""

    metrics: dict[str, float]
    record: dict[str, Any] | None
    files: ray.ObjectRef[dict[str, bytes]] | None


class _Exchange(NamedTuple):
    """Where rank 0 and the trial meet."""

    parcels: Queue
    answers: Queue

    @classmethod
    def make(cls) -> _Exchange:
        """Queues on this node that take no slot; they end with the process that made them."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"num_cpus": 0, "scheduling_strategy": here}
        return cls(*(Queue(actor_options=options) for _ in range(2)))

    def hand_over(self, parcel: _Parcel) -> bool:
        """Give the trial an epoch, and wait for whether to go on."""
        self.parcels.put(parcel)
        return self.answers.get()

    def take(self, timeout_s: float) -> _Parcel | None:
        """The next epoch, or None where there is none in time."""
        try:
            return self.parcels.get(timeout=timeout_s)
        except Empty:
            return None


class _Stopped(BaseException):
    """The trial is paused or over; not an Exception, so that no training loop catches it."""


class _Relay:
    """The ``Report`` of a rank: rank 0 hands over, and all do what the trial says."""

    def __init__(
        self, exchange: _Exchange, rank: int, describe: Callable[[], dict[str, Any]] | None
    ) -> None:
        self._exchange = exchange
        self._rank = rank
        self._describe = describe

    def __call__(
        self,
        metrics: dict[str, float],
        save: Callable[[Path], None] | None,
        fingerprints: Mapping[str, str],
    ) -> None:
        files = None
        with tempfile.TemporaryDirectory() as directory:
            if save is not None:
                save(Path(directory))  # all ranks take part; rank 0 alone writes
                files = ray.put(_pack(Path(directory))) if self._rank == 0 else None
        go_on: list[Any] = [True]
        record = None
        if self._describe is not None:
            records: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(records, self._describe())
            record = {**_common(records), **fingerprints}
            self._describe = None
        if self._rank == 0:
            parcel = _Parcel(metrics, record, files)
            go_on = [self._exchange.hand_over(parcel)]
        torch.distributed.broadcast_object_list(go_on, src=0)
        if not go_on[0]:
            raise _Stopped


def with_ddp(trainer_kwargs: Mapping[str, Any], n_workers: int) -> dict[str, Any]:
    """Arguments of ``lightning.Trainer`` for one of Ray Train's workers.

    Args:
        trainer_kwargs: ``strategy``, if it is there, is ``"ddp"`` or
            ``"ddp_find_unused_parameters_true"``.
        n_workers: of the run.
    """
    plugins = trainer_kwargs.get("plugins") or []
    # DDP groups the gradients anew after the first step of a process, which changes the order in
    # which more than two of them are added: a resumed run would differ. Not so with this option
    # (torch 2.13, Reducer::should_rebuild_buckets).
    unused = n_workers > 2 or trainer_kwargs.get("strategy") == "ddp_find_unused_parameters_true"
    return {
        **trainer_kwargs,
        "devices": "auto",
        "strategy": RayDDPStrategy(find_unused_parameters=unused),
        "plugins": [
            RayLightningEnvironment(),
            *(plugins if isinstance(plugins, list) else [plugins]),
        ],
    }


def train_on_workers(
    retrain: Retrain,
    config: Mapping[str, Any],
    plan: Plan,
    workers: Workers,
    describe: Callable[[], dict[str, Any]],
) -> None:
    """Train a trial's run on workers of their own, and report each epoch to Tune.

    Args:
        retrain: trains one rank, in its worker.
        config: of the run, with ``seed``.
        plan: where to checkpoint, and when the run is over.
        workers: how many, and what each gets.
        describe: makes the environment record, in each worker.

    Raises:
        Exception: what a worker raised.
        ray.train.TrainingFailedError: a worker died.
    """
    # Ray Train looks every two seconds whether workers have ended, a while for each pause; and
    # nothing has to be saved before a node goes: Tune trains again from the last rung.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    given = cast(Any, tune).get_checkpoint()
    checkpoint = None
    if given is not None:
        with given.as_directory() as directory:
            checkpoint = ray.put(_pack(Path(directory)))
        describe_first = None
    else:
        describe_first = describe
    exchange = _Exchange.make()
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(1) as pool:
        trainer = _Trainer(
            partial(
                _work,
                retrain=retrain,
                config=config,
                plan=plan,
                exchange=exchange,
                checkpoint=[checkpoint],
                describe=describe_first,
            ),
            scaling_config=ScalingConfig(
                num_workers=workers.n,
                use_gpu=workers.gpus > 0,
                resources_per_worker=workers.bundles[0],
            ),
            run_config=_run_config(scratch),
        )
        fitted = pool.submit(trainer.fit)
        heard = False
        try:
            while not fitted.done():
                parcel = exchange.take(_LOOK_S)
                if parcel is None:
                    if not heard:  # perhaps they can't start
                        free_leaked_places(workers.bundles)
                    continue
                heard = True
                with _unpacked(parcel.files) as directory:
                    report_epoch(parcel.metrics, parcel.record, directory)
                exchange.answers.put(True)
        except BaseException:
            # Also when Tune ends this thread, which it does inside the report.
            exchange.answers.put(False)
            raise
        try:
            fitted.result()
        except WorkerGroupError as error:
            failures = list(error.worker_failures.values())
            # Where one has died, the others fail too, in what they wanted to do together.
            dead = [failure for failure in failures if isinstance(failure, _DEAD)]
            raise next(iter(dead or failures), error) from None


def _work(
    *,
    retrain: Retrain,
    config: Mapping[str, Any],
    plan: Plan,
    exchange: _Exchange,
    checkpoint: list[ray.ObjectRef[dict[str, bytes]] | None],
    describe: Callable[[], dict[str, Any]] | None,
) -> None:
    """What each worker does."""
    rank = train.get_context().get_world_rank()
    with _unpacked(checkpoint[0]) as directory:
        try:
            retrain(config, plan, _Relay(exchange, rank, describe), directory)
        except _Stopped:
            return


class _Trainer(TorchTrainer):
    """Ray Train's trainer without its cleaner, which can only ask a Ray dashboard (Ray 2.60)."""

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [c for c in callbacks if not isinstance(c, PlacementGroupCleanerCallback)]


def free_leaked_places(bundles: Sequence[Mapping[str, float]], timeout_s: float = 0.0) -> None:
    """Give back what the workers of killed trials of this job still hold.

    Ray keeps a placement group when the actor that made it dies, until the whole job ends.

    Args:
        bundles: of the workers of one run.
        timeout_s: wait up to so long for those that are about to die.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        groups = _groups_of_actors(bundles)
        for group in groups:
            if group.creator_actor_dead:
                remove_placement_group(PlacementGroup(PlacementGroupID(group.placement_group_id)))
        if all(group.creator_actor_dead for group in groups) or time.monotonic() >= deadline:
            return
        time.sleep(_LOOK_S)


def _groups_of_actors(bundles: Sequence[Mapping[str, float]]) -> list[Any]:
    """The placement groups of such bundles that actors of this job, Ray Train's, have made."""
    accessor: Any = cast(Any, state)._connect_and_get_accessor()
    data: Any = cast(Any, gcs_pb2).PlacementGroupTableData
    job = bytes.fromhex(ray.get_runtime_context().get_job_id())
    groups = [data.FromString(entry) for entry in accessor.get_placement_group_table()]
    return [
        group
        for group in groups
        if group.creator_job_id == job
        and group.creator_actor_id.strip(b"\xff")  # the driver's are all ones
        and group.state != data.REMOVED
        and not group.is_detached
        and [dict(bundle.unit_resources) for bundle in group.bundles] == list(map(dict, bundles))
    ]


def _common(records: list[dict[str, Any]]) -> dict[str, Any]:
    """One environment record of all ranks; where they differ, what each has."""
    first = records[0]
    return {
        key: value
        if all(record[key] == value for record in records)
        else [record[key] for record in records]
        for key, value in first.items()
    }


def _run_config(scratch: str) -> RunConfig:
    """Ray Train notes its own state beside the trial's, on storage that every node reaches."""
    storage = getattr(cast(Any, get_session()), "storage", None)
    if storage is None:  # outside of Tune
        where: dict[str, Any] = {"storage_path": scratch}
    else:
        where = {
            "storage_path": storage.trial_fs_path,
            "storage_filesystem": storage.storage_filesystem,
        }
    return RunConfig(
        name="ddp",
        logging_config=LoggingConfig(log_level="ERROR"),
        # Tune retries, from the newest checkpoint; Ray Train would do so from the first.
        failure_config=FailureConfig(max_failures=0, max_preemption_failures=0),
        **where,
    )


def _pack(directory: Path) -> dict[str, bytes]:
    files = (file for file in directory.rglob("*") if file.is_file())
    return {str(file.relative_to(directory)): file.read_bytes() for file in files}


@contextmanager
def _unpacked(files: ray.ObjectRef[dict[str, bytes]] | None) -> Generator[Path | None]:
    """A directory with the files, as long as it is used; None where there are none."""
    if files is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as directory:
        for name, content in ray.get(files).items():
            file = Path(directory) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        yield Path(directory)
