"""One run through Lightning's Trainer: from its seed to its last report."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from tune_seeds._compat.lightning_fit import safe_loading
from tune_seeds._compat.lightning_loggers import write_no_hparams_row
from tune_seeds.training.resume.fit_loop import ExactFitLoop, keep_new_weights
from tune_seeds.training.run_callback import CHECKPOINT_FILE as CHECKPOINT_FILE
from tune_seeds.training.run_callback import EPOCH as EPOCH
from tune_seeds.training.run_callback import NotResumedError as NotResumedError
from tune_seeds.training.run_callback import Report as Report
from tune_seeds.training.run_callback import RunCallback as RunCallback
from tune_seeds.training.steps import StepCallback, counts_steps
from tune_seeds.training.trainable import Plan


def fit(
    module: LightningModule,
    data: Mapping[str, Any],
    trainer_kwargs: Mapping[str, Any],
    plan: Plan,
    report: Report,
    checkpoint: Path | None = None,
    restarted: NotResumedError | None = None,
) -> Trainer:
    """Train a run, from the start or from a checkpoint, and report every epoch.

    Args:
        module: a fresh module, made after the seed was applied.
        data: the data arguments of ``Trainer.fit``.
        trainer_kwargs: of ``lightning.Trainer``.
        plan: where to checkpoint, and when the run is over.
        report: hears of every epoch.
        checkpoint: directory of the checkpoint to go on from.
        restarted: why the run is trained again from its beginning, if it is.

    Returns:
        The trainer, after the fit.

    Raises:
        NotResumedError: the checkpoint can't be gone on from exactly; nothing was trained.
    """
    kwargs = dict(trainer_kwargs)
    callbacks = as_list(kwargs.pop("callbacks", None))
    # Lightning adds its ModelCheckpoint unless a Checkpoint is there, and ours is one.
    if kwargs.pop("enable_checkpointing", False) and not any(
        isinstance(callback, Checkpoint) for callback in callbacks
    ):
        callbacks.append(ModelCheckpoint())
    steps = counts_steps(kwargs)
    end = kwargs["max_steps" if steps else "max_epochs"]
    # Lightning ends by itself at max_epochs; weight averaging may add an epoch of its own there.
    kind = StepCallback if steps else RunCallback
    run = kind(plan, report, stops=plan.last_epoch < end, why=restarted)
    kwargs["callbacks"] = [*callbacks, run]
    trainer = Trainer(**kwargs)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            write_no_hparams_row(logger)
    if steps:
        trainer.fit(module, **data)
        return trainer
    loop = ExactFitLoop(
        trainer,
        partial(run.on_epoch, trainer),
        partial(run.on_end, trainer),
        pauses=any(epoch < plan.last_epoch for epoch in plan.checkpoint_epochs),
        restarts=0 if restarted is None else restarted.restarts,
    )
    if checkpoint is None:
        trainer.fit(module, **data)
        return trainer
    keep_new_weights(trainer)
    path = checkpoint / CHECKPOINT_FILE
    # Hyperparameters of any type may be in there; whatever is plain is loaded safely.
    plain = not torch.serialization.get_unsafe_globals_in_checkpoint(path)
    trainer.fit(module, **data, ckpt_path=path, **safe_loading(plain))
    if loop.ended_early:
        raise NotResumedError(loop.lost, loop.restarts + 1)
    return trainer


def as_list(callbacks: Any) -> list[Callback]:
    """The callbacks of ``trainer_kwargs``, one or many."""
    if callbacks is None:
        return []
    return [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
