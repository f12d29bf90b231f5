"""Does a run survive pauses? Trained without, and paused after every epoch, over two processes.

python -m tune_seeds.reproduce.audit.pauses JOB RESULT
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import dataclasses
import json
import logging
import os
import pickle
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import cloudpickle
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from tune_seeds.core.process_variables import PROCESS_VARIABLES
from tune_seeds.reproduce.audit.process import AuditError
from tune_seeds.reproduce.subprocesses import ProcessFailedError, run_module
from tune_seeds.training.fingerprint import fingerprint
from tune_seeds.training.fit import EPOCH, NotResumedError, as_list, fit
from tune_seeds.training.lightning_trainer import LightningTrainer
from tune_seeds.training.resume.fit_loop import ExactFitLoop
from tune_seeds.training.seeding import reset_process, seed_run
from tune_seeds.training.steps import in_epochs
from tune_seeds.training.trainable import Plan


@dataclass(slots=True)
class EpochDigests:
    """What a run came to, epoch by epoch.

    Attributes:
        by_epoch: epoch → name of a metric or of an attribute of the run → hash, in the order in
            which a reader wants to hear of them.
        paused_at: the epoch of the last pause, 0 where there was none.
        lost: what that pause would change or has changed, by name; the run ended there.
        error: what the run raised when it went on, if it did.
    """

    by_epoch: dict[int, dict[str, str]] = field(default_factory=dict[int, dict[str, str]])
    paused_at: int = 0
    lost: list[str] = field(default_factory=list[str])
    error: str = ""


@dataclass(frozen=True, slots=True)
class PauseEvidence:
    """A run without pauses, and the same run paused after every epoch.

    Attributes:
        whole: trained in one go.
        paused: the first pause led into another process.
    """

    whole: EpochDigests
    paused: EpochDigests

    def first_difference(self) -> tuple[int, list[str]] | None:
        """The first epoch whose outcome differs, and in what; None where none does."""
        for epoch, there in sorted(self.paused.by_epoch.items()):
            whole = self.whole.by_epoch.get(epoch, {})
            names = dict.fromkeys([*whole, *there])
            different = [name for name in names if whole.get(name) != there.get(name)]
            if different:
                return epoch, different
        return None


def paused_in_processes(
    jobs: Sequence[tuple[LightningTrainer, Mapping[str, Any], int]],
    *,
    n_epochs: int,
    n_batches: int,
) -> list[PauseEvidence]:
    """Train runs in one go, and paused after every epoch.

    Args:
        jobs: what a study would train, hyperparameters without the seed, and the seed.
        n_epochs: how often each is paused; it is trained for one epoch more.
        n_batches: training batches of each epoch.

    Returns:
        One for each job.

    Raises:
        AuditError: a run fails without a pause.
    """
    places = [os.path.abspath(place) for place in sys.path if os.path.isdir(place or ".")]
    # As in a study, whose workers all have this hash seed.
    variables = {**PROCESS_VARIABLES, "PYTHONHASHSEED": "0"}
    pickled = [cloudpickle.dumps(job) for job in jobs]
    with tempfile.TemporaryDirectory() as folder:

        def in_process(goes_on: list[bool]) -> list[list[EpochDigests]]:
            job = pickle.dumps((places, pickled, n_epochs + 1, n_batches, folder, goes_on))
            try:
                found = run_module("tune_seeds.reproduce.audit.pauses", job, variables)
            except ProcessFailedError as error:
                raise AuditError(f"the run can't be paused: {error}") from None
            return [[_digests(run) for run in runs] for runs in found]

        starts = in_process([])
        rests = in_process([not start.lost for _, start in starts])
        return [
            PauseEvidence(whole, _joined(start, rest[0]) if rest else start)
            for (whole, start), rest in zip(starts, rests, strict=True)
        ]


def _joined(start: EpochDigests, rest: EpochDigests) -> EpochDigests:
    return dataclasses.replace(rest, by_epoch={**start.by_epoch, **rest.by_epoch})


class _Paused(BaseException):
    """Not an Exception, so that no training loop catches it."""


class _Watch(Checkpoint):
    """Shows the fit loop to the report; a ``Checkpoint`` is no part of a run's state."""

    loop: ExactFitLoop

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find it."""
        self.loop = cast(ExactFitLoop, trainer.fit_loop)


class _Run:
    """One run of the audit, in this process.

    Args:
        folder: of its checkpoints.
        n_epochs: after which it is over.
        n_batches: training batches of each epoch.
    """

    def __init__(self, folder: Path, n_epochs: int, n_batches: int) -> None:
        self._folder = folder
        self._n_epochs = n_epochs
        self._n_batches = n_batches
        self._watch = _Watch()
        self._pauses = False
        self.found = EpochDigests()

    def train(
        self, trainer: LightningTrainer, config: Mapping[str, Any], *, start: int, pauses: bool
    ) -> None:
        """Train to the end, or to the next pause.

        Args:
            trainer: what a study would train.
            config: with ``seed``.
            start: the epoch of the checkpoint to go on from; 0: the beginning.
            pauses: pause after the next epoch.
        """
        reset_process(trainer.threads)
        seed_run(config["seed"])
        module, data, kwargs = trainer.build(config)
        self._pauses = pauses
        with tempfile.TemporaryDirectory() as directory:
            limits: dict[str, Any] = {
                "accelerator": trainer.accelerator,
                "devices": 1,
                "default_root_dir": directory,
                **kwargs,
                **in_epochs(kwargs),
                "max_epochs": self._n_epochs,
                "limit_train_batches": self._n_batches,
                "limit_val_batches": 2,
                "log_every_n_steps": 1,
                "deterministic": "warn",
                "strategy": "auto",  # one worker shows what several would do
                "callbacks": [*as_list(kwargs.get("callbacks")), self._watch],
            }
            checkpoint = self._folder / str(start) if start else None
            try:
                plan = Plan(frozenset(range(1, self._n_epochs)), self._n_epochs)
                fitted = fit(module, data, limits, plan, self._report, checkpoint)
            except NotResumedError as error:
                self.found.lost = list(error.lost)
                return
            except _Paused:
                return
        weights = cast(Any, fitted).lightning_module.state_dict()
        last = self.found.by_epoch.setdefault(self._n_epochs, {})
        last.update({f"model.{name}": fingerprint(value) for name, value in weights.items()})

    def _report(
        self,
        metrics: dict[str, float],
        save: Callable[[Path], None] | None,
        fingerprints: Mapping[str, str],
    ) -> None:
        epoch = int(metrics[EPOCH])
        loop = self._watch.loop
        values = {f"metric {name}": repr(value) for name, value in metrics.items()}
        self.found.by_epoch[epoch] = {**values, **loop.attributes()}
        if save is None or epoch == self._n_epochs or not self._pauses:
            return
        directory = self._folder / str(epoch)
        directory.mkdir(parents=True)
        save(directory)
        self.found.paused_at = epoch
        self.found.lost = list(loop.lost)
        raise _Paused


def _digests(plain: dict[str, Any]) -> EpochDigests:
    # JSON's keys are text.
    by_epoch = {int(epoch): names for epoch, names in plain["by_epoch"].items()}
    return EpochDigests(by_epoch, plain["paused_at"], plain["lost"], plain["error"])


def _start(run: Callable[[], _Run], trainer: LightningTrainer, config: Any) -> list[EpochDigests]:
    whole, start = run(), run()
    whole.train(trainer, config, start=0, pauses=False)
    start.train(trainer, config, start=0, pauses=True)
    return [whole.found, start.found]


def _go_on(rest: _Run, trainer: LightningTrainer, config: Any, n_epochs: int) -> list[EpochDigests]:
    try:
        for epoch in range(1, n_epochs):
            if not rest.found.lost:
                rest.found.paused_at = epoch
                rest.train(trainer, config, start=epoch, pauses=epoch + 1 < n_epochs)
    except Exception as error:
        rest.found.error = f"{type(error).__name__}: {error}"
    return [rest.found]


def main(job_file: str, result_file: str) -> None:
    """Do the part of the jobs that belongs into this process."""
    for name in ("lightning.pytorch", "lightning.fabric", "tune_seeds"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    places, pickled, n_epochs, n_batches, folder, goes_on = pickle.loads(
        Path(job_file).read_bytes()
    )
    sys.path.extend(place for place in places if place not in sys.path)
    found: list[list[EpochDigests]] = []
    for i, job in enumerate(pickled):
        trainer, config, seed = cloudpickle.loads(job)
        config = {**config, "seed": seed}
        run = partial(_Run, Path(folder, str(i)), n_epochs, n_batches)
        if not goes_on:
            found.append(_start(run, trainer, config))
        else:
            found.append(_go_on(run(), trainer, config, n_epochs) if goes_on[i] else [])
    plain = [[dataclasses.asdict(digests) for digests in runs] for runs in found]
    Path(result_file).write_text(json.dumps(plain))


if __name__ == "__main__":
    main(*sys.argv[1:])
