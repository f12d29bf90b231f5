"""Is a run the same bits however it was run? Prints a table: way x training -> identical or not.

The reference is a plain Lightning script: ``seed_everything``, ``Trainer(deterministic=True)``.

    python experiments/benchmarks/exactness.py [--only TEXT]
"""

# ruff: noqa: D102, D103
from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import lightning
import torch
from benchmarks.exact_models import EPOCHS, Case

from tune_seeds import LightningTrainer
from tune_seeds.environment import fingerprint
from tune_seeds.trainable import Plan

SEED = 881


@dataclass(frozen=True)
class Outcome:
    """What a run came to: metrics by epoch, and a hash of the final weights."""

    metrics: dict[int, dict[str, float]]
    weights: str

    def first_difference(self, other: Outcome) -> str | None:
        for epoch in sorted({*self.metrics, *other.metrics}):
            ours, theirs = self.metrics.get(epoch, {}), other.metrics.get(epoch, {})
            for name in sorted({*ours, *theirs}):
                if ours.get(name) != theirs.get(name):
                    return f"epoch {epoch} {name}: {ours.get(name)!r} != {theirs.get(name)!r}"
        return None if self.weights == other.weights else "final weights"


class Recorder(lightning.Callback):
    """The metrics of each epoch as a plain script sees them."""

    def __init__(self):
        self.metrics: dict[int, dict[str, float]] = {}
        self.validated: dict[str, int] = {}

    def on_validation_end(self, trainer, module):
        self.validated["val_loss"] = trainer.current_epoch + 1

    def on_train_epoch_end(self, trainer, module):
        epoch = trainer.current_epoch + 1
        if epoch <= EPOCHS:
            self.metrics[epoch] = {
                name: float(value)
                for name, value in trainer.callback_metrics.items()
                if self.validated.get(name, epoch) == epoch
            }


def plain(case: Case, seed: int = SEED) -> Outcome:
    """A Lightning script without this package."""
    torch.set_num_threads(1)
    lightning.seed_everything(seed, workers=True, verbose=False)
    module = case.module(**{k: v for k, v in case.config.items() if k in ("lr", "norm")})
    data = case.data(**{k: v for k, v in case.config.items() if k not in ("lr", "norm")})
    kwargs = copy.deepcopy(case.trainer)
    recorder = Recorder()
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        deterministic=True,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{**kwargs, "callbacks": [*kwargs.pop("callbacks", []), recorder]},
    )
    trainer.fit(module, datamodule=data)
    return Outcome(recorder.metrics, fingerprint(dict(module.state_dict())))


def trainer_of(case: Case) -> LightningTrainer:
    kwargs = {"max_epochs": EPOCHS, **case.trainer}
    return LightningTrainer(case.module, case.data, trainer_kwargs=kwargs)


class _Paused(BaseException):
    pass


def retrained(case: Case, pauses: tuple[int, ...], seed: int = SEED) -> Outcome:
    """Our own training in this process, torn down and resumed at each of ``pauses``."""
    trainer = trainer_of(case)
    plan = Plan(frozenset(pauses), EPOCHS)
    metrics: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:

        def report(
            reported: dict[str, float],
            save: Callable[[Path], None] | None,
            fingerprints: Mapping[str, str],
        ) -> None:
            epoch = int(reported["epoch"])
            metrics[epoch] = {k: v for k, v in reported.items() if k != "epoch"}
            if save is not None:
                directory = Path(folder) / str(epoch)
                directory.mkdir()
                save(directory)
                if epoch < EPOCHS:
                    raise _Paused(directory)

        checkpoint = None
        while True:
            try:
                config = {**case.config, "seed": seed}
                fitted = trainer.retrain(config, plan, report, checkpoint)
            except _Paused as pause:
                checkpoint = pause.args[0]
                torch.rand(17)  # another run uses the process in between
                continue
            return Outcome(metrics, fingerprint(dict(fitted.lightning_module.state_dict())))
