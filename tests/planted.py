"""Trainings with one planted fault each, and sound ones, for the audit."""

from __future__ import annotations

import os
import random
import time
from typing import Any, ClassVar

import lightning
import numpy as np
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset, random_split

from tune_seeds import LightningTrainer

WORDS = ["red", "green", "blue", "black", "white", "grey", "pink", "brown"]


class Samples(Dataset):
    def __init__(self, n: int = 32):
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(n, 4, generator=generator)
        self.y = torch.randint(0, 3, (n,), generator=generator)

    def __len__(self):
        return len(self.x)

    def change(self, x):
        return x

    def __getitem__(self, index):
        return self.change(self.x[index]), self.y[index]


class Data(lightning.LightningDataModule):
    samples: Any = Samples
    options: ClassVar[dict[str, Any]] = {}

    def train_dataloader(self):
        return DataLoader(self.samples(), batch_size=8, shuffle=True, **self.options)

    def val_dataloader(self):
        return DataLoader(Samples(8), batch_size=8)


class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.dropout = nn.Dropout(0.5)
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.dropout(F.relu(self.first(x))))

    def training_step(self, batch, batch_index):
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_index):
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def trainer(module=Net, data=Data, **kwargs) -> LightningTrainer:
    return LightningTrainer(module, data, trainer_kwargs={"max_epochs": 2, **kwargs})


# Faults


class UnseededInit(Net):
    def __init__(self):
        super().__init__()
        draws = np.random.default_rng().normal(size=(3, 8))
        self.last.weight.data = torch.tensor(draws, dtype=torch.float32)


class UnseededAugmentation(Data):
    class samples(Samples):
        def __init__(self):
            super().__init__()
            self.rng = np.random.default_rng()

        def change(self, x):
            return x + self.rng.normal()


def seed_numpy(worker_id: int) -> None:
    np.random.seed(1234)


class SameNumpyInWorkers(Data):
    options: ClassVar[dict[str, Any]] = {"num_workers": 2, "worker_init_fn": seed_numpy}

    class samples(Samples):
        def change(self, x):
            return x + float(np.random.normal())


class SetOrder(Data):
    class samples(Samples):
        def __init__(self):
            super().__init__()
            names = list(set(WORDS))
            self.y = torch.tensor([names.index(WORDS[int(y)]) % 3 for y in self.y])


class ClockSeed(Net):
    def __init__(self):
        torch.manual_seed(time.time_ns() % 2**32)
        super().__init__()


# Drawn when this module is imported, which no seed has reached yet.
PARTS = random_split(Samples(32), [24, 8])


class EarlySplit(Data):
    def train_dataloader(self):
        return DataLoader(PARTS[0], batch_size=8, shuffle=True)


class TrainModeInValidation(Net):
    def on_validation_model_eval(self):
        self.train()


class DrawingLogger(CSVLogger):
    """Retries with a jitter from the global generator, as often as the network likes."""

    def log_metrics(self, metrics, step=None):
        for _ in range(int(time.perf_counter() * 1e6) % 97 + 1):
            random.random()
            np.random.random()
            torch.rand(1)


SEEN: list[float] = []


class ModuleGlobal(Net):
    def training_step(self, batch, batch_index):
        SEEN.append(1.0)
        return super().training_step(batch, batch_index) * (1 + 0.01 * len(SEEN))


class HardCodedInit(Net):
    def __init__(self):
        torch.manual_seed(42)
        super().__init__()


class HardCodedSplit(Data):
    def setup(self, stage):
        self.part, _ = random_split(
            Samples(32), [24, 8], generator=torch.Generator().manual_seed(0)
        )

    def train_dataloader(self):
        return DataLoader(self.part, batch_size=8, shuffle=True)


class UnseededOrder(Data):
    class Order(Sampler):
        def __len__(self):
            return 32

        def __iter__(self):
            return iter(np.random.default_rng().permutation(32).tolist())

    def train_dataloader(self):
        return DataLoader(Samples(), batch_size=8, sampler=self.Order())


class NoisyLayer(nn.Module):
    def forward(self, x):
        return x + random.SystemRandom().random()


class UnseededLayer(Net):
    def __init__(self):
        super().__init__()
        self.dropout = NoisyLayer()


class UnseededGradient(Net):
    def __init__(self):
        super().__init__()
        self.first.weight.register_hook(lambda g: g + random.SystemRandom().random())


class NoisySGD(torch.optim.SGD):
    def step(self, closure=None):
        loss = super().step(closure)
        for parameter in self.param_groups[0]["params"]:
            parameter.data += random.SystemRandom().random()
        return loss


class UnseededOptimizer(Net):
    def configure_optimizers(self):
        return NoisySGD(self.parameters(), lr=0.1)


class CopiedGenerator(Data):
    options: ClassVar[dict[str, Any]] = {"num_workers": 2}

    class samples(Samples):
        def __init__(self):
            super().__init__()
            self.rng = np.random.default_rng(torch.initial_seed() % 2**32)

        def change(self, x):
            return x + self.rng.normal()


def faults() -> dict[str, LightningTrainer]:
    return {
        "unseeded init": trainer(UnseededInit),
        "unseeded augmentation": trainer(data=UnseededAugmentation),
        "same numpy in workers": trainer(data=SameNumpyInWorkers),
        "set order": trainer(data=SetOrder),
        "clock seed": trainer(ClockSeed),
        "early split": trainer(data=EarlySplit),
        "train mode in validation": trainer(TrainModeInValidation),
        "drawing logger": trainer(logger=DrawingLogger(".")),
        "module global": trainer(ModuleGlobal),
        "hard-coded init": trainer(HardCodedInit),
        "hard-coded split": trainer(data=HardCodedSplit),
        "unseeded order": trainer(data=UnseededOrder),
        "unseeded layer": trainer(UnseededLayer),
        "unseeded gradient": trainer(UnseededGradient),
        "unseeded optimizer": trainer(UnseededOptimizer),
        "copied generator": trainer(data=CopiedGenerator),
    }


# Sound


class Images(Data):
    class samples(Samples):
        def __init__(self):
            super().__init__()
            self.x = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(2))

        def change(self, x):
            x = x.flip(-1) if random.random() < 0.5 else x
            return x + float(np.random.normal()) * torch.rand(())

    options: ClassVar[dict[str, Any]] = {"num_workers": 2}

    def val_dataloader(self):
        return DataLoader(self.samples(), batch_size=16)


class Sequences(Data):
    class samples(Samples):
        def __init__(self):
            super().__init__()
            self.x = torch.randn(32, 5, 6, generator=torch.Generator().manual_seed(3))

    def setup(self, stage):
        self.parts = random_split(self.samples(), [24, 8])

    def train_dataloader(self):
        return DataLoader(self.parts[0], batch_size=8, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.parts[1], batch_size=8)


class CNN(Net):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten()
        )
        self.last = nn.Linear(4 * 36, 3)

    def forward(self, x):
        return self.last(self.net(x))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.short = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        inner = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(inner + self.short(x))


class ResNet18(Net):
    def __init__(self, width: int = 8):
        super().__init__()
        sizes = [(3, 1), (width, 1), (width, 2), (2 * width, 1), (2 * width, 2)]
        sizes += [(4 * width, 1), (4 * width, 2), (8 * width, 1)]
        outputs = [width, width, 2 * width, 2 * width, 4 * width, 4 * width, 8 * width, 8 * width]
        blocks = [Block(i, o, s) for (i, s), o in zip(sizes, outputs, strict=True)]
        self.net = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.last = nn.Linear(8 * width, 3)

    def forward(self, x):
        return self.last(self.net(x))


class LSTM(Net):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 8, num_layers=2, dropout=0.3, batch_first=True)

    def forward(self, x):
        return self.last(self.lstm(x)[0][:, -1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())


class Transformer(Net):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(6, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x):
        return self.last(self.encoder(self.embed(x)).mean(1))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters())


class MLPData(Data):
    def train_dataloader(self):
        samples = Samples()
        return DataLoader(TensorDataset(samples.x, samples.y), batch_size=8, shuffle=True)


def sound() -> dict[str, LightningTrainer]:
    return {
        "MLP": trainer(data=MLPData),
        "CNN": trainer(CNN, Images),
        "ResNet-18": trainer(ResNet18, Images),
        "LSTM": trainer(LSTM, Sequences),
        "transformer": trainer(Transformer, Sequences),
    }


# States, by whether they survive a pause into another process


class Weighted(Net):
    """The loss depends on what a subclass keeps."""

    def training_step(self, batch, batch_index):
        return super().training_step(batch, batch_index) * self.factor()

    def factor(self) -> float:
        return 1.0


class KeepsByValue(Weighted):
    def __init__(self):
        super().__init__()
        self.seen = {"steps": 0, "last": [0.5]}
        self.draws = random.Random(3)

    def factor(self):
        self.seen["steps"] += 1
        self.seen["last"].append(self.draws.random())
        return 1 + 0.01 * self.seen["steps"] + self.seen["last"][-2]


class PythonGenerator(Weighted):
    def on_fit_start(self):
        self.numbers = (1 + 0.1 * i for i in range(100))

    def factor(self):
        return next(self.numbers)


class OpenFile(Weighted):
    def on_fit_start(self):
        self.lines = open(__file__)  # noqa: SIM115

    def factor(self):
        return 1 + len(self.lines.readline()) / 100


class MadeClass(Weighted):
    def on_train_epoch_end(self):
        self.kept = type("Made", (), {"x": 1})()


class CountsInItsClass(Weighted):
    steps = 0

    def on_fit_start(self):
        CountsInItsClass.steps = 0

    def factor(self):
        CountsInItsClass.steps += 1
        return 1 + 0.1 * self.steps


HISTORY: list[float] = []


class AppendsToAGlobal(Weighted):
    def on_fit_start(self):
        HISTORY.clear()

    def factor(self):
        HISTORY.append(0.1)
        return 1 + sum(HISTORY)


class CountsInTheEnvironment(Weighted):
    def on_fit_start(self):
        os.environ["PLANTED_STEPS"] = "0"

    def factor(self):
        os.environ["PLANTED_STEPS"] = str(int(os.environ["PLANTED_STEPS"]) + 1)
        return 1 + 0.1 * int(os.environ["PLANTED_STEPS"])


class FailsWhenItGoesOn(Weighted):
    def configure_optimizers(self):
        assert self.trainer.ckpt_path is None, "only a new fit has optimizers"
        return super().configure_optimizers()


def survivors() -> dict[str, LightningTrainer]:
    """Trainings whose state a pause carries."""
    return {"by value": trainer(KeepsByValue), "none": trainer()}


def lossy() -> dict[str, tuple[LightningTrainer, str]]:
    """Trainings that no pause can carry, and a part of the name of what would be lost."""
    return {
        "generator": (trainer(PythonGenerator), "model.numbers"),
        "open file": (trainer(OpenFile), "model.lines"),
        "made class": (trainer(MadeClass), "model.kept"),
        "class attribute": (trainer(CountsInItsClass), "planted.CountsInItsClass.steps"),
        "global list": (trainer(AppendsToAGlobal), "planted.HISTORY"),
        "environment": (trainer(CountsInTheEnvironment), "metric train_loss"),
        "fails": (trainer(FailsWhenItGoesOn), "the run"),
    }
