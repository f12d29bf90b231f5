"""Carry out one Lightning run in this process: seeded, built, fitted, and stopped or resumed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.fabric.utilities.warnings import PossibleUserWarning

from tune_seeds._compat.torch_loaders import ended_workers
from tune_seeds.training.fit import NotResumedError, Report, as_list, fit
from tune_seeds.training.launchers import alone
from tune_seeds.training.loggers import close
from tune_seeds.training.model_files import ModelFiles, PlaceModelFiles
from tune_seeds.training.seeding import reset_process, seed_run
from tune_seeds.training.trainable import Plan

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LightningRun:
    """One run.

    Attributes:
        seed: set before anything is built.
        built: builds the module, its data, and the arguments of its trainer.
        plan: where to checkpoint, and when the run is over.
        report: hears of every epoch.
        checkpoint: directory of a checkpoint to go on from; None to begin.
        files: where ``ModelCheckpoint`` callbacks keep theirs; None outside of a study.
        threads: of torch.
        is_alone: whether it trains in this process only, whatever launched that.
    """

    seed: int
    built: Callable[[], tuple[LightningModule, dict[str, Any], dict[str, Any]]]
    plan: Plan
    report: Report
    checkpoint: Path | None
    files: ModelFiles | None
    threads: int
    is_alone: bool

    def train(self) -> Trainer:
        """Fit, from the beginning where the checkpoint can't be gone on from exactly.

        Returns:
            The trainer, after the fit; its loggers are closed.
        """
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", category=PossibleUserWarning)
        # Lightning 2.6.6 asks torch 2.13 for a deprecated class, once in each process.
        warnings.filterwarnings("ignore", message="`isinstance.treespec, LeafSpec")
        # A run that goes on finds the files of its ModelCheckpoint where it left them.
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        with alone() if self.is_alone else nullcontext():
            try:
                return self._fit(self.checkpoint)
            except NotResumedError as error:
                logger.warning(
                    "seed %s goes on from its beginning instead of from its pause: %s would not be "
                    "as it was without the pause",
                    self.seed,
                    "; ".join(error.lost),
                )
                return self._fit(None, error)

    def _fit(self, checkpoint: Path | None, restarted: NotResumedError | None = None) -> Trainer:
        reset_process(self.threads)
        seed_run(self.seed)
        module, data, kwargs = self.built()
        try:
            in_place = self._files_in_place(kwargs, checkpoint is not None)
            with ended_workers(), in_place as (arguments, report):
                return fit(module, data, arguments, self.plan, report, checkpoint, restarted)
        finally:
            # Also where Ray pauses the run, which it does by an exception inside of a report.
            close(kwargs["logger"])

    @contextmanager
    def _files_in_place(
        self, kwargs: dict[str, Any], goes_on: bool
    ) -> Generator[tuple[dict[str, Any], Report]]:
        """Bring the files of ``ModelCheckpoint`` here before a fit, and store them after it."""
        report, files = self.report, self.files
        if files is None:
            yield kwargs, report
            return

        def stored(metrics: dict[str, float], save: Any, fingerprints: Mapping[str, str]) -> None:
            report(metrics, files.saving(save), fingerprints)

        files.fetch(goes_on=goes_on)
        callbacks = [*as_list(kwargs.get("callbacks")), PlaceModelFiles.at(files.local)]
        try:
            yield {**kwargs, "callbacks": callbacks}, stored
        finally:
            files.store()
