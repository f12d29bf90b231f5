"""Small real trainings for tests: a Lightning regression and plain Ray Tune functions."""

from __future__ import annotations

import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from ray import tune
from torch.utils.data import DataLoader, TensorDataset

from tune_seeds import load_rng_state, save_rng_state, should_checkpoint

SEEDS = [47, 881, 123456789]


class TinyModule(lightning.LightningModule):
    def __init__(self, lr: float = 0.1, width: int = 4, fail_on: int | None = None):
        super().__init__()
        self.lr = lr
        self.fail_on = fail_on
        self.net = torch.nn.Sequential(
            torch.nn.Linear(3, width), torch.nn.Dropout(0.2), torch.nn.Linear(width, 1)
        )

    def training_step(self, batch, batch_index):
        x, y = batch
        loss = torch.nn.functional.mse_loss(self.net(x)[:, 0], y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_index):
        x, y = batch
        self.log("val/loss", torch.nn.functional.mse_loss(self.net(x)[:, 0], y))

    def on_train_epoch_start(self):
        if self.fail_on == torch.initial_seed() and self.current_epoch == 1:
            raise RuntimeError(f"planted failure of seed {self.fail_on}")

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)]


class TinyData(lightning.LightningDataModule):
    def __init__(self, batch_size: int = 8):
        super().__init__()
        self.batch_size = batch_size
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(48, 3, generator=generator)
        self.y = self.x.sum(1)

    def train_dataloader(self):
        data = TensorDataset(self.x[:32], self.y[:32])
        return DataLoader(data, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(TensorDataset(self.x[32:], self.y[32:]), batch_size=16)


def walk(config: dict[str, Any]) -> None:
    """A plain function: a random walk towards ``config["x"]``, resumable, steps in "t"."""
    position, start = 0.0, 1
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            state = json.loads((Path(directory) / "state.json").read_text())
            position, start = state["position"], state["t"] + 1
            load_rng_state(directory)
    for t in range(start, config.get("steps", 4) + 1):
        position += config["x"] + random.random() / 10
        metrics = {"t": t, "score": position}
        if config.get("fail_on") == config["seed"] and t == 2:
            raise RuntimeError("planted failure")
        if config.get("nan_on") == config["seed"] and t == 2:
            metrics["score"] = float("nan")
        if not should_checkpoint(t):
            tune.report(metrics)
            continue
        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "state.json").write_text(json.dumps({"position": position, "t": t}))
            save_rng_state(directory)
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(directory))


def slow_walk(config: dict[str, Any]) -> None:
    """``walk`` at a pace at which a kill falls into the middle of it."""
    report = tune.report

    def paced(*args: Any, **kwargs: Any) -> None:
        time.sleep(0.1)
        report(*args, **kwargs)

    tune.report = paced
    try:
        walk(config)
    finally:
        tune.report = report


def walked(x: float, seed: int, steps: int) -> list[float]:
    """What ``walk`` reports without Ray."""
    generator = random.Random(seed)
    position, positions = 0.0, []
    for _ in range(steps):
        position += x + generator.random() / 10
        positions.append(position)
    return positions
