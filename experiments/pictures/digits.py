"""A small real study: an MLP on scikit-learn's digits, 15 configs on 3 seeds, some diverge."""

from __future__ import annotations

import sys

import lightning
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from tune_seeds import LightningTrainer, SeedTuner


class Digits(lightning.LightningDataModule):
    """The 1,797 digits of 8 x 8 pixels, every third one for validation."""

    def __init__(self, batch_size: int = 64):
        super().__init__()
        self.batch_size = batch_size
        x, y = load_digits(return_X_y=True)
        images, labels = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
        held_out = torch.arange(len(labels)) % 3 == 0
        self.train = TensorDataset(images[~held_out], labels[~held_out])
        self.val = TensorDataset(images[held_out], labels[held_out])

    def train_dataloader(self) -> DataLoader:
        """Shuffled by the run's seed."""
        return DataLoader(self.train, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        """In order."""
        return DataLoader(self.val, batch_size=256)


class Net(lightning.LightningModule):
    """One hidden layer with dropout."""

    def __init__(self, lr: float, optimizer: str, width: int = 64, dropout: float = 0.2):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(64, width),
            torch.nn.ReLU(),
            torch.nn.Dropout(dropout),
            torch.nn.Linear(width, 10),
        )

    def training_step(self, batch, batch_index):
        """Cross entropy; a run that diverges fails."""
        x, y = batch
        loss = torch.nn.functional.cross_entropy(self.net(x), y)
        if not loss < 1e4:
            raise RuntimeError(f"the loss diverged: {loss.item():g}")
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_index):
        """Loss and accuracy."""
        x, y = batch
        scores = self.net(x)
        self.log("val_loss", torch.nn.functional.cross_entropy(scores, y))
        self.log("val_acc", (scores.argmax(1) == y).float().mean())

    def configure_optimizers(self):
        """SGD with momentum, or Adam."""
        if self.hparams.optimizer == "sgd":
            return torch.optim.SGD(self.parameters(), lr=self.hparams.lr, momentum=0.9)
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


if __name__ == "__main__":
    SeedTuner(
        LightningTrainer(Net, Digits, trainer_kwargs={"max_epochs": 9}),
        seeds=[47, 881, 123456789],
        param_space={
            "lr": tune.loguniform(1e-4, 20),
            "optimizer": tune.choice(["sgd", "adam"]),
            "width": tune.choice([32, 64, 128]),
            "dropout": tune.uniform(0, 0.5),
        },
        tune_config=tune.TuneConfig(
            metric="val_acc",
            mode="max",
            num_samples=15,
            scheduler=ASHAScheduler(max_t=9, reduction_factor=3),
        ),
        run_config=tune.RunConfig(name="digits", storage_path=sys.argv[1]),
        n_finalists=4,
        confirm_seeds=[1, 2, 3, 4, 5],
        search_seed=int(sys.argv[2]) if len(sys.argv) > 2 else 3,
    ).fit()
