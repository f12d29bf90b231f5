# pyright: basic, reportArgumentType=false
"""A run outside of Ray: as a plain Lightning script, and as ours torn down and resumed.

    python -m benchmarks.exact_runs NAME LR SEED FILE

trains one of ``CASES`` as a plain script and writes what came of it; with DDP, Lightning starts the
other workers.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import lightning
import torch
from benchmarks import exact_models
from benchmarks.exact_models import EPOCHS, Case, KillOnce
from benchmarks.exact_reports import REPORTS
from benchmarks.exact_states import LARGE_STATES, STATES

from tune_seeds import LightningTrainer, SeedResults
from tune_seeds.core.ledger import RunKey
from tune_seeds.core.process_variables import PROCESS_VARIABLES
from tune_seeds.training.fingerprint import fingerprint
from tune_seeds.training.reporting import RESTARTS
from tune_seeds.training.trainable import Plan

SEED = 881

CASES = {**exact_models.CASES, **STATES, **REPORTS, **LARGE_STATES}


@dataclass(frozen=True)
class Outcome:
    """What a run came to: metrics by epoch, a hash of the final weights, what no pause keeps."""

    metrics: dict[int, dict[str, float]]
    weights: str
    said: str = ""

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
    module, data = (
        part(
            **{
                k: v
                for k, v in case.config.items()
                if (k in ("lr", "norm")) is (part is case.module)
            }
        )
        for part in (case.module, case.data)
    )
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
        **{
            "devices": case.workers,
            "strategy": "ddp" if case.workers > 1 else "auto",
            **kwargs,
            "callbacks": [*kwargs.pop("callbacks", []), recorder],
        },
    )
    trainer.fit(module, datamodule=data)
    return Outcome(recorder.metrics, fingerprint(dict(module.state_dict())))


def trainer_of(case: Case, *extra: lightning.Callback) -> LightningTrainer:
    kwargs = {"max_epochs": EPOCHS, **case.trainer}
    kwargs["callbacks"] = [*kwargs.get("callbacks", []), *extra]
    return LightningTrainer(
        case.module,
        case.data,
        trainer_kwargs=kwargs,
        cpus=1 / case.workers,
        num_workers=case.workers,
    )


def _module_of(case: str, lr: float) -> lightning.LightningModule:
    return CASES[case].module(lr=lr)


class OneOfMany(LightningTrainer):
    """Trains the case that a config names, so that one study trains all of them, mixed.

    Args:
        flags: a directory in which each case notes that its process was killed; None: none is.
    """

    def __init__(self, flags: str | None = None) -> None:
        super().__init__(_module_of, trainer_kwargs={"max_epochs": EPOCHS})
        self._flags = flags

    def build(self, config, run=None):
        case = CASES[config["case"]]
        name = re.sub(r"\W", "-", config["case"])
        kills = [] if self._flags is None else [KillOnce(f"{self._flags}/{name}", 4)]
        others = {key: value for key, value in config.items() if key != "case"}
        return trainer_of(case, *kills).build({**case.config, **others}, run)


class _Paused(BaseException):
    pass


def retrained(case: Case, pauses: tuple[int, ...], seed: int = SEED) -> Outcome:
    """Our own training in this process, torn down and resumed at each of ``pauses``."""
    trainer = trainer_of(case)
    plan = Plan(frozenset(pauses), EPOCHS)
    metrics: dict[int, dict[str, float]] = {}
    said: list[str] = []
    with tempfile.TemporaryDirectory() as folder:

        def report(
            reported: dict[str, float],
            save: Callable[[Path], None] | None,
            fingerprints: Mapping[str, str],
        ) -> None:
            epoch = int(reported["epoch"])
            metrics[epoch] = {k: v for k, v in reported.items() if k != "epoch"}
            if fingerprints.get(RESTARTS):
                said.append(fingerprints["lost"])
            directory = Path(folder) / str(epoch)
            if save is not None and not directory.exists():  # it was paused there before
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
            weights = fingerprint(dict(fitted.lightning_module.state_dict()))
            return Outcome(metrics, weights, "; ".join(dict.fromkeys(said)))


def with_lr(case: Case, lr: float) -> Case:
    return dataclasses.replace(case, config={**case.config, "lr": lr})


@functools.cache
def reference(name: str, lr: float, seed: int) -> Outcome:
    """The plain script's outcome; with DDP it is run as a script, as Lightning needs."""
    if CASES[name].workers == 1:
        return plain(with_lr(CASES[name], lr), seed)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "outcome"
        arguments = [name, str(lr), str(seed), str(file)]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.exact_runs", *arguments],
            env={**os.environ, **PROCESS_VARIABLES},
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        written = json.loads(file.read_text())
    metrics = {int(epoch): values for epoch, values in written["metrics"].items()}
    return Outcome(metrics, written["weights"])


def outcomes(results: SeedResults) -> Iterator[tuple[RunKey, Outcome]]:
    """The outcome of every run of a study, all of which were trained to their ends.

    Raises:
        RuntimeError: one was not.
    """
    for key, run in results.ledger.items():
        if run.last_epoch < EPOCHS:
            raise RuntimeError(f"{key} stopped at epoch {run.last_epoch}: {run.error}\n{results}")
        file = Path(results.path) / run.checkpoints[EPOCHS] / "checkpoint.ckpt"
        weights = torch.load(file, weights_only=False)["state_dict"]
        ignored = ("epoch", "training_iteration", "time_total_s")
        metrics = {
            epoch: {k: v for k, v in values.items() if k not in ignored}
            for epoch, values in run.reports.items()
        }
        yield key, Outcome(metrics, fingerprint(weights))


def main(name: str, lr: str, seed: str, file: str) -> None:
    warnings.filterwarnings("ignore")
    for logger in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    outcome = plain(with_lr(CASES[name], float(lr)), int(seed))
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        Path(file).write_text(json.dumps(dataclasses.asdict(outcome)))


if __name__ == "__main__":
    main(*sys.argv[1:])
