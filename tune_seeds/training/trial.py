"""A run that trains in its trial's own process; ``ddp.trial`` is the same on several workers."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from ray import tune

from tune_seeds.training.fit import Report
from tune_seeds.training.reporting import TuneReport
from tune_seeds.training.trainable import Plan


class Retrain(Protocol):
    """Trains a run, or one rank of it, in this process."""

    def __call__(
        self,
        config: Mapping[str, Any],
        plan: Plan,
        report: Report,
        checkpoint: Path | None = None,
    ) -> object:
        """See ``LightningTrainer.retrain``."""
        ...


def train_here(
    retrain: Retrain,
    config: Mapping[str, Any],
    plan: Plan,
    describe: Callable[[], dict[str, Any]],
) -> None:
    """Train a trial's run in this process, from its last checkpoint on, and report to Tune.

    Args:
        retrain: trains the run.
        config: of the run, with ``seed``.
        plan: where to checkpoint, and when the run is over.
        describe: makes the environment record.
    """
    report = TuneReport(describe)
    checkpoint = cast(Any, tune).get_checkpoint()
    try:
        if checkpoint is None:
            retrain(config, plan, report)
        else:
            with checkpoint.as_directory() as directory:
                retrain(config, plan, report, Path(directory))
    finally:
        # A paused run must leave no memory behind, on the GPU least of all; the frames of a
        # finished fit refer to each other, so they go at a collection only.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
