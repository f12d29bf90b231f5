# pyright: reportPrivateUsage=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""Private names of Lightning's loops and trainer (seen in Lightning 2.5.6, 2.6.0 and 2.6.6).

Lightning resumes inside of a finished epoch and offers no place between two epochs
(lightning#18780, lightning#17543), so the loop itself has to be told that the epoch is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.utilities.exceptions import _TunerExitException


class FitLoop(_FitLoop):
    """A fit loop that takes the place of a trainer's own, and says when it has made its loaders.

    Lightning has no public class of this loop, and calls no hook between the making of the loaders
    and their first iteration, which starts their workers and draws from the training's generators
    (lightning#18780).

    Args:
        trainer: whose loop is replaced. What was set on its loop before is kept.
    """

    def __init__(self, trainer: Trainer) -> None:
        replaced = trainer.fit_loop
        super().__init__(trainer, min_epochs=replaced.min_epochs, max_epochs=replaced.max_epochs)
        self.epoch_loop = replaced.epoch_loop
        trainer.fit_loop = self

    def on_loaders_made(self) -> None:
        """Called when the training loaders are made and none of them has been iterated."""

    def _load_combined_loader_states(self) -> None:
        # Of the two steps that Lightning takes in that moment, this is the last.
        super()._load_combined_loader_states()
        self.on_loaders_made()


#: Ends a fit without calling ``on_exception``; nothing public does.
EndFitQuietly = _TunerExitException


def train_loaders(loop: Any) -> list[Any]:
    """The training loaders as Lightning iterates them, or none before they are made."""
    combined = loop._combined_loader
    return [] if combined is None else list(combined.flattened)


def val_loop(loop: Any) -> Any:
    """The validation loop inside of a fit loop."""
    return loop.epoch_loop.val_loop


def combined_loader(loop: Any) -> Any:
    """The object that changes when a loop has made its loaders anew."""
    return loop._combined_loader


def forget_loaders(loop: Any) -> None:
    """Let a loop make its loaders again when it comes to them."""
    loop._combined_loader = None


def start_next_epoch(loop: Any) -> None:
    """Take a loop out of the finished epoch that it was restored into.

    What follows is no restart but the next epoch, whose iterator is made after its hooks have run.
    """
    loop._restarting = loop._loaded_from_state_dict = False
    loop._resuming_from_checkpoint = False


def reload_epochs(loop: Any) -> tuple[Any, Any]:
    """When the training and the validation loaders were made last."""
    return loop._last_train_dl_reload_epoch, val_loop(loop)._last_val_dl_reload_epoch


def set_reload_epochs(loop: Any, epochs: tuple[Any, Any]) -> None:
    """Put back what ``reload_epochs`` returned."""
    loop._last_train_dl_reload_epoch, val_loop(loop)._last_val_dl_reload_epoch = epochs


def set_callback_metrics(trainer: Trainer, metrics: Mapping[str, torch.Tensor]) -> None:
    """Let ``trainer.callback_metrics`` show these again; schedulers and callbacks read them."""
    cast(Any, trainer)._logger_connector._callback_metrics.update(metrics)


def leave_out_optimizers(trainer: Trainer) -> None:
    """Let Lightning restore no optimizer or scheduler from the checkpoint that it has loaded.

    It would fail where their number has changed since training began.
    """
    loaded = cast(Any, trainer)._checkpoint_connector._loaded_checkpoint
    if loaded:
        loaded["optimizer_states"] = []
        loaded["lr_schedulers"] = []


#: What of a trainer's attributes belongs to a process and not to a run.
PROCESS_ATTRIBUTES = frozenset(
    {"_default_root_dir", "_last_val_time", "_train_start_time", "_loggers", "_model_registry"}
)


def is_infrastructure(value: object) -> bool:
    """Whether an object is a part of a trainer's machinery, which each process builds anew."""
    name = type(value).__module__
    return name.startswith(
        ("lightning.", "tune_seeds.", "ray.", "torch.distributed", "torch.nn.parallel")
    ) and not isinstance(value, LightningModule)
