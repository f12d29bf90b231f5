"""What gathers a run's metrics inside of Lightning and hands them on."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from tune_seeds.training.fingerprint import fingerprint
from tune_seeds.training.reporting import RESTARTS
from tune_seeds.training.trainable import Plan

#: The report key of the epochs a run has finished; rungs of Lightning runs are keyed on it.
EPOCH = "epoch"

CHECKPOINT_FILE = "checkpoint.ckpt"


class Report(Protocol):
    """Where a run's metrics go: to Ray Tune, or to whoever retrains it."""

    def __call__(
        self,
        metrics: dict[str, float],
        save: Callable[[Path], None] | None,
        fingerprints: Mapping[str, str],
    ) -> None:
        """Take the metrics of one epoch.

        Args:
            metrics: of the epoch.
            save: writes a checkpoint into a directory; None where the run can't be paused.
            fingerprints: of the initial weights and the first batch, once they are known, and of a
                run that was trained again from its beginning, how often and why.
        """
        ...


class NotResumedError(RuntimeError):
    """A run can't go on as if it had not been paused, so it must start from its beginning.

    Attributes:
        lost: what the pause has changed, by name.
        restarts: how often the run has been started again, this time included.
    """

    def __init__(self, lost: Sequence[str], restarts: int) -> None:
        super().__init__(f"a pause changed {'; '.join(lost)}")
        self.lost = tuple(lost)
        self.restarts = restarts


class RunCallback(Checkpoint):
    """Gathers an epoch's metrics, and hands them on when the epoch is over.

    It is a ``Checkpoint`` so that Lightning calls it last: after every other callback, and the
    module, has logged its metrics.

    Args:
        plan: where to checkpoint, and when the run is over.
        report: hears of every epoch.
        stops: end training at the plan's last epoch; otherwise the trainer does so itself.
        why: the run is trained again from its beginning, if it is.
    """

    def __init__(
        self, plan: Plan, report: Report, stops: bool, why: NotResumedError | None = None
    ) -> None:
        self._plan = plan
        self._stops = stops
        self._report = report
        self._metrics: dict[str, float] = {}
        self._fingerprints: dict[str, str] = {}
        if why is not None:
            self._fingerprints = {RESTARTS: str(why.restarts), "lost": "; ".join(why.lost)}
        self._before_validation: frozenset[str] = frozenset()
        self._validation_metrics: set[str] = set()
        self._validated_epoch = 0

    def state_dict(self) -> dict[str, Any]:
        """Which metrics belong to validation, and to which epoch."""
        names = sorted(self._validation_metrics)
        return {"validation_metrics": names, "validated_epoch": self._validated_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put it back."""
        self._validation_metrics = set(state_dict["validation_metrics"])
        self._validated_epoch = state_dict["validated_epoch"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the initial weights."""
        if trainer.global_step == 0:
            self._fingerprints["initial_weights"] = fingerprint(dict(pl_module.state_dict()))

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the first batch."""
        if trainer.global_step == 0 and batch_idx == 0:
            self._fingerprints["first_batch"] = fingerprint(batch)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what was logged before, to know what validation logs."""
        self._before_validation = frozenset(trainer.callback_metrics)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what validation logged, and when."""
        if trainer.sanity_checking:
            return
        self._validation_metrics |= set(trainer.callback_metrics) - self._before_validation
        self._validated_epoch = trainer.current_epoch + 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the metrics, while Lightning still holds them."""
        epoch = trainer.current_epoch + 1
        if epoch > self._plan.last_epoch:
            return  # weight averaging adds an epoch of its own, for the statistics of batch norm
        # Lightning keeps showing the metrics of the last validation; they belong to its epoch.
        stale = self._validation_metrics if self._validated_epoch != epoch else set[str]()
        self._metrics = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name not in stale and value.numel() == 1
        }
        self._metrics[EPOCH] = epoch

    def on_epoch(self, trainer: Trainer, epoch: int) -> None:
        """Report the epoch, unless it is the last, and end the run at the plan's last epoch."""
        if epoch < self._plan.last_epoch:
            self._hand_over(trainer)
        elif self._stops:
            trainer.should_stop = True

    def on_end(self, trainer: Trainer) -> None:
        """Report the last epoch here, after callbacks (weight averaging) have set final weights."""
        if trainer.current_epoch >= self._plan.last_epoch:
            self._hand_over(trainer)

    def _hand_over(self, trainer: Trainer) -> None:
        def save(directory: Path) -> None:
            trainer.save_checkpoint(directory / CHECKPOINT_FILE)

        saves = self._plan.checkpoint_at(int(self._metrics[EPOCH]))
        self._report(self._metrics, save if saves else None, self._fingerprints)
