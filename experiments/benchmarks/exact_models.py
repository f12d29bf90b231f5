"""Small trainings, each with one thing in it that a pause or another process could change."""

from __future__ import annotations

import copy
import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import StochasticWeightAveraging
from torch import nn
from torch.nn import functional as F
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    TensorDataset,
    get_worker_info,
    random_split,
)

try:
    from lightning.pytorch.callbacks import EMAWeightAveraging
except ImportError:  # Lightning 2.5
    EMAWeightAveraging = None

EPOCHS = 6
RUNGS = (1, 3, 6)
N_TRAIN, N_VAL = 44, 16


class Images(Dataset):
    """Noise images; with ``augment`` each sample draws from all three global generators."""

    def __init__(self, n: int, augment: bool = False):
        generator = torch.Generator().manual_seed(n)
        self.x = torch.randn(n, 1, 6, 6, generator=generator)
        self.y = torch.randint(0, 3, (n,), generator=generator)
        self.augment = augment

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int):
        x = self.x[index]
        if self.augment:
            if random.random() < 0.5:
                x = x.flip(-1)
            x = x + float(np.random.normal(scale=0.1)) + 0.1 * torch.rand(())
        return x, self.y[index]


class Data(lightning.LightningDataModule):
    def __init__(
        self,
        workers: int = 0,
        persistent: bool = False,
        augment: bool = False,
        augment_val: bool = False,
    ):
        super().__init__()
        self.options = {"num_workers": workers, "persistent_workers": persistent}
        self.augment = augment
        self.augment_val = augment_val

    def train_dataloader(self):
        return DataLoader(Images(N_TRAIN, self.augment), batch_size=8, shuffle=True, **self.options)

    def val_dataloader(self):
        return DataLoader(Images(N_VAL, self.augment_val), batch_size=8, **self.options)


class Split(Data):
    def setup(self, stage: str):
        self.parts = random_split(Images(N_TRAIN + N_VAL), [N_TRAIN, N_VAL])

    def train_dataloader(self):
        return DataLoader(self.parts[0], batch_size=8, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.parts[1], batch_size=8)


class Stream(IterableDataset):
    """A share of the images for each worker, in order, augmented on the way."""

    def __init__(self):
        self.images = Images(N_TRAIN, augment=True)

    def __iter__(self):
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for index in range(first, len(self.images), step):
            yield self.images[index]


class Streamed(Data):
    def train_dataloader(self):
        return DataLoader(Stream(), batch_size=8, **self.options)


class SplitByLoaders(Data):
    """Splits are drawn where the loaders are made, as they should not be."""

    def train_dataloader(self):
        part, _ = random_split(Images(N_TRAIN + N_VAL), [N_TRAIN, N_VAL])
        return DataLoader(part, batch_size=8, shuffle=True)

    def val_dataloader(self):
        _, part = random_split(Images(N_TRAIN + N_VAL), [N_TRAIN, N_VAL])
        return DataLoader(part, batch_size=8)


class OwnGenerators(Data):
    def train_dataloader(self):
        images = Images(N_TRAIN)
        return DataLoader(
            TensorDataset(images.x, images.y),
            batch_size=8,
            shuffle=True,
            generator=torch.Generator().manual_seed(random.getrandbits(30)),
        )


class Net(lightning.LightningModule):
    def __init__(self, lr: float = 0.05, norm: bool = True):
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(64, 3),
        )

    def training_step(self, batch, batch_index):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_index):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)


class EpochSchedule(Net):
    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)]


class StepSchedule(Net):
    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=EPOCHS * 6)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


class EstimatedSteps(Net):
    """Asks the trainer how many steps there will be, before training starts."""

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


class Plateau(Net):
    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss", "strict": False},
        }


class DrawingModule(Net):
    """Draws in every hook around an epoch, and lets it show in the weights."""

    def on_fit_start(self):
        torch.rand(3)

    def on_train_start(self):
        random.random()

    def on_train_epoch_start(self):
        with torch.no_grad():
            self.net[-1].bias += 0.01 * torch.rand(3)

    def on_train_epoch_end(self):
        np.random.rand()

    def on_validation_epoch_end(self):
        torch.rand(1)

    def on_save_checkpoint(self, checkpoint):
        torch.rand(5)


class HiddenState(Net):
    """State that no ``state_dict`` holds: a running mean, a counter, a generator, a buffer."""

    def __init__(self, lr: float = 0.05):
        super().__init__(lr)
        self.running = 0.0
        self.counts = {"steps": 0}
        self.generator = torch.Generator().manual_seed(torch.initial_seed() % 2**31)
        self.numpy_generator = np.random.default_rng(torch.initial_seed() % 2**31)
        self.register_buffer("trace", torch.zeros(3), persistent=False)

    def training_step(self, batch, batch_index):
        loss = super().training_step(batch, batch_index)
        self.counts["steps"] += 1
        self.trace += self.net[-1].bias.detach()
        self.running = 0.9 * self.running + 0.1 * float(loss.detach())
        noise = float(torch.rand((), generator=self.generator)) + self.numpy_generator.random()
        factor = 1 + 0.1 * noise + 0.1 * self.running + 0.001 * self.counts["steps"]
        return loss * factor + 0.01 * (self.trace * self.net[-1].bias).sum()


class DrawingCallback(lightning.Callback):
    def on_train_epoch_start(self, trainer, module):
        if random.random() < 0.7:
            torch.rand(2)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index):
        np.random.rand()

    def on_train_epoch_end(self, trainer, module):
        torch.randn(1)

    def on_validation_end(self, trainer, module):
        random.random()


class OwnEMA(lightning.Callback):
    """An average of the weights, as users write one: no ``state_dict``; pulls the weights to it."""

    def on_fit_start(self, trainer, module):
        self.average = copy.deepcopy(module.net)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index):
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), module.net.parameters(), strict=True):
                mean.lerp_(now, 0.1)
                now.lerp_(mean, 0.05)


class Everything(HiddenState):
    """As much at once as one module can hold."""

    def on_fit_start(self):
        torch.rand(3)

    def on_train_epoch_start(self):
        random.random()

    def configure_optimizers(self):
        return Plateau.configure_optimizers(self)


class OutOfOrder(Net):
    """Layers made in another order than they are used, which DDP's grouping of gradients shows."""

    def __init__(self, lr: float = 0.05):
        super().__init__(lr)
        last, first, middle = nn.Linear(300, 3), nn.Linear(36, 300), nn.Linear(300, 300)
        self.last, self.first, self.middle = last, first, middle
        self.net = nn.Identity()

    def training_step(self, batch, batch_index):
        x, y = batch
        hidden = torch.relu(self.middle(torch.relu(self.first(x.flatten(1)))))
        loss = F.cross_entropy(self.last(hidden), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_index):
        """Nothing to see."""


class SyncedEverything(Everything):
    """Its plateau schedule steps alike on all ranks."""

    def validation_step(self, batch, batch_index):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y), sync_dist=True)


class AugmentedSplit(Data):
    def setup(self, stage: str):
        self.parts = random_split(Images(N_TRAIN + N_VAL, augment=True), [N_TRAIN, N_VAL])

    def train_dataloader(self):
        return DataLoader(self.parts[0], batch_size=8, shuffle=True, **self.options)

    def val_dataloader(self):
        return DataLoader(self.parts[1], batch_size=8)


class KillOnce(lightning.Callback):
    """SIGKILLs its own process in the middle of an epoch, the first time."""

    def __init__(self, flag: str, epoch: int):
        self.flag = flag
        self.epoch = epoch

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index):
        if trainer.current_epoch == self.epoch and batch_index == 2:
            try:
                os.close(os.open(self.flag, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Case:
    """What ``LightningTrainer`` takes."""

    module: Callable[..., Any] = Net
    data: Callable[..., Any] = Data
    config: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    workers: int = 1


def _augmented(workers: int, persistent: bool = False) -> dict[str, Any]:
    return {"workers": workers, "persistent": persistent, "augment": True}


def _ema() -> list[lightning.Callback]:
    """Lightning's own average of the weights, in versions that have it."""
    return [] if EMAWeightAveraging is None else [EMAWeightAveraging(decay=0.9)]


CASES = {
    "dropout, batch norm, epoch schedule": Case(EpochSchedule),
    "step schedule": Case(StepSchedule),
    "steps estimated by the trainer": Case(EstimatedSteps),
    "plateau schedule": Case(Plateau),
    "plateau, validation every 3rd epoch": Case(
        Plateau, config={"lr": 0.2}, trainer={"check_val_every_n_epoch": 3}
    ),
    "augmentation, 0 workers": Case(config=_augmented(0)),
    "augmentation, 1 worker": Case(config=_augmented(1)),
    "augmentation, 2 workers": Case(config=_augmented(2)),
    "augmentation, 2 persistent workers": Case(config=_augmented(2, True)),
    "validation augmented, 2 persistent workers": Case(
        config={**_augmented(2, True), "augment_val": True}
    ),
    "the same, validation every 3rd epoch": Case(
        config={**_augmented(2, True), "augment_val": True},
        trainer={"check_val_every_n_epoch": 3},
    ),
    "the same, part of validation, four times an epoch": Case(
        config={**_augmented(2, True), "augment_val": True},
        trainer={"val_check_interval": 0.25, "limit_val_batches": 1, "num_sanity_val_steps": 0},
    ),
    "persistent workers, part of an epoch": Case(
        config=_augmented(2, True), trainer={"limit_train_batches": 3, "num_sanity_val_steps": 0}
    ),
    "loaders made anew each epoch": Case(
        config=_augmented(1), trainer={"reload_dataloaders_every_n_epochs": 1}
    ),
    "random split": Case(data=Split),
    "random split where loaders are made": Case(data=SplitByLoaders),
    "the same, validation every 2nd epoch": Case(
        data=SplitByLoaders, trainer={"check_val_every_n_epoch": 2, "num_sanity_val_steps": 0}
    ),
    "iterable dataset, 2 persistent workers": Case(
        data=Streamed, config={"workers": 2, "persistent": True}
    ),
    "gradient accumulation": Case(trainer={"accumulate_grad_batches": 4}),
    **({"EMA callback": Case(trainer={"callbacks": _ema()})} if _ema() else {}),
    "SWA callback": Case(
        EpochSchedule, trainer={"callbacks": [StochasticWeightAveraging(0.01, swa_epoch_start=2)]}
    ),
    "SWA callback, no batch norm": Case(
        config={"norm": False},
        trainer={"callbacks": [StochasticWeightAveraging(0.01, swa_epoch_start=0.5)]},
    ),
    "callback that draws": Case(trainer={"callbacks": [DrawingCallback()]}),
    "module that draws in hooks": Case(DrawingModule),
    "loader with its own generator": Case(data=OwnGenerators),
    "state outside of state_dict": Case(HiddenState, trainer={"callbacks": [OwnEMA()]}),
    "everything at once": Case(
        Everything,
        AugmentedSplit,
        {"workers": 1, "persistent": True},
        {"callbacks": [*_ema(), OwnEMA(), DrawingCallback()]},
    ),
    "DDP, 2 workers": Case(EpochSchedule, config=_augmented(1), workers=2),
    "DDP, 2 workers, everything at once": Case(
        SyncedEverything,
        AugmentedSplit,
        {"workers": 1, "persistent": True},
        {"callbacks": [*_ema(), OwnEMA(), DrawingCallback()]},
        workers=2,
    ),
    "DDP, 3 workers": Case(
        OutOfOrder, trainer={"strategy": "ddp_find_unused_parameters_true"}, workers=3
    ),
}
