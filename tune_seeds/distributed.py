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
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import ray
from ray import train, tune
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train._internal.session import get_session
from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.exceptions import (
    WorkerHealthCheckFailedError,
    WorkerHealthCheckTimeoutError,
)

from tune_seeds.exchange import Answer, Exchange, Relay, Stopped, pack, unpacked
from tune_seeds.fitting import EPOCH, Report
from tune_seeds.places import free_leaked_places
from tune_seeds.reporting import report_epoch
from tune_seeds.trainable import Plan

# What Ray Train says of a worker that ended without a word of its own.
_DEAD = (WorkerHealthCheckFailedError, WorkerHealthCheckTimeoutError)

# How often the trial looks whether its workers have ended without a report.
_LOOK_S = 0.5

# How long workers wait at a rung for Tune's word, which comes at once where a run goes on.
_PATIENCE_S = 5.0


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
    finished = False
    while not finished:
        checkpoint = cast(Any, tune).get_checkpoint()
        files = None
        if checkpoint is not None:
            with checkpoint.as_directory() as directory:
                files = ray.put(pack(Path(directory)))
        exchange = Exchange.make()
        job = partial(
            _work,
            retrain=retrain,
            config=config,
            plan=plan,
            exchange=exchange,
            checkpoint=[files],
            describe=describe if files is None else None,
        )
        with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(1) as pool:
            trainer = _Trainer(
                job,
                scaling_config=ScalingConfig(
                    num_workers=workers.n,
                    use_gpu=workers.gpus > 0,
                    resources_per_worker=workers.bundles[0],
                ),
                run_config=_run_config(scratch),
            )
            finished = _follow(pool.submit(trainer.fit), exchange, workers, plan)


def _follow(fitted: Future[Any], exchange: Exchange, workers: Workers, plan: Plan) -> bool:
    """Report what workers hand over, until they end.

    Returns:
        Whether the run is over; else the workers were let go at a rung, and Tune goes on with it.
    """
    heard, let_go = False, False
    try:
        while not fitted.done():
            parcel = exchange.take(_LOOK_S)
            if parcel is None:
                if not heard:  # perhaps they can't start
                    free_leaked_places(workers.bundles)
                continue
            heard = True
            over = parcel.metrics[EPOCH] >= plan.last_epoch
            # A reused process stays in the report of a paused run until Tune has another use for
            # it (Ray 2.60); its workers would hold their places all the while.
            answer = Answer(exchange)
            patience = threading.Timer(_PATIENCE_S, answer.give, [False])
            with unpacked(parcel.files) as directory:
                if directory is not None and not over:
                    patience.start()
                try:
                    report_epoch(parcel.metrics, parcel.record, directory)
                finally:
                    patience.cancel()
            let_go = not answer.give(True)
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
    return not let_go


def _work(
    *,
    retrain: Retrain,
    config: Mapping[str, Any],
    plan: Plan,
    exchange: Exchange,
    checkpoint: list[ray.ObjectRef[dict[str, bytes]] | None],
    describe: Callable[[], dict[str, Any]] | None,
) -> None:
    """What each worker does."""
    rank = train.get_context().get_world_rank()
    with unpacked(checkpoint[0]) as directory:
        try:
            retrain(config, plan, Relay(exchange, rank, describe), directory)
        except Stopped:
            return


class _Trainer(TorchTrainer):
    """Ray Train's trainer without its cleaner, which can only ask a Ray dashboard (Ray 2.60)."""

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [c for c in callbacks if not isinstance(c, PlacementGroupCleanerCallback)]


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
