"""A run on several workers, seen from its trial.

The workers train and report as a run in one process does: after each epoch rank 0 hands its
metrics, at a rung with a checkpoint, to the trial, and all ranks wait for its word. So Tune decides
before another epoch is trained, and the workers of a run that was stopped train the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import ray
from ray import tune

from tune_seeds.training.ddp.relay import Relay, pack, unpacked
from tune_seeds.training.ddp.worker import Rank, Stopped, Talk
from tune_seeds.training.ddp.worker_group import kept_group
from tune_seeds.training.own_code import WithCode, installed
from tune_seeds.training.reporting import report_epoch
from tune_seeds.training.trainable import Plan
from tune_seeds.training.trial import Retrain


def train_on_workers(
    retrain: Retrain,
    config: Mapping[str, Any],
    plan: Plan,
    bundles: Sequence[Mapping[str, float]],
    describe: Callable[[], dict[str, Any]],
) -> None:
    """Train a trial's run on its workers, and report each epoch to Tune.

    Args:
        retrain: trains one rank, in its worker.
        config: of the run, with ``seed``.
        plan: where to checkpoint, and when the run is over.
        bundles: what each worker takes.
        describe: makes the environment record, in each worker.

    Raises:
        Exception: what a worker raised.
        ray.exceptions.RayActorError: a worker died.
    """
    checkpoint = cast(Any, tune).get_checkpoint()
    files = None
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            files = ray.put(pack(Path(directory)))
    job = partial(
        _work,
        retrain=WithCode(retrain, installed()),
        config=config,
        plan=plan,
        checkpoint=[files],
        describe=describe,
    )
    workers = kept_group(bundles)
    workers.begin(job)
    try:
        while (parcel := workers.next_parcel()) is not None:
            with unpacked(parcel.files) as directory:
                report_epoch(parcel.metrics, parcel.record, directory)
            workers.answer(True)
    finally:
        # Also when Tune ends this thread, which it does inside the report.
        workers.stop()


def _work(
    rank: Rank,
    talk: Talk,
    *,
    retrain: Retrain,
    config: Mapping[str, Any],
    plan: Plan,
    checkpoint: list[ray.ObjectRef[dict[str, bytes]] | None],
    describe: Callable[[], dict[str, Any]],
) -> None:
    """What each worker does."""
    with unpacked(checkpoint[0]) as directory:
        try:
            first = checkpoint[0] is None
            retrain(config, plan, Relay(talk, rank.rank, describe, first), directory)
        except Stopped:
            return
