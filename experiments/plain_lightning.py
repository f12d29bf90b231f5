"""Training with Lightning alone, seeded by hand or not at all, as a script does it."""

from __future__ import annotations

import logging
import random
import warnings

import numpy as np
import torch
from lightning import LightningDataModule, LightningModule, Trainer


def seed_all(seed: int) -> None:
    """Seed the three generators that training draws from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def fit(
    module: LightningModule,
    data: LightningDataModule,
    max_epochs: int,
    *,
    deterministic: bool = True,
) -> dict[str, float]:
    """Train on the CPU, without a word and without files.

    Args:
        module: what is trained.
        data: what it is trained on.
        max_epochs: epochs of the training.
        deterministic: whether operations without a deterministic kernel are refused.

    Returns:
        The metrics that were logged, as they stood at the end.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Lightning advises loader processes; small data in memory is faster without.
        warnings.filterwarnings("ignore", ".*does not have many workers")
        # Lightning 2.6.6 asks torch 2.13 for a deprecated class.
        warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec", FutureWarning)
        trainer = Trainer(
            max_epochs=max_epochs,
            accelerator="cpu",
            deterministic=deterministic,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, datamodule=data)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}
