"""A small real Lightning training for tests: a regression."""

from __future__ import annotations

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset


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
