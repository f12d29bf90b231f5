# pyright: basic, reportOptionalMemberAccess=false, reportArgumentType=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportGeneralTypeIssues=false, reportIndexIssue=false, reportCallIssue=false
"""Small trainings after public reports: what users of Lightning keep, and change in mid-run."""

from __future__ import annotations

import copy
import dataclasses
import functools
import types
from typing import Any

import lightning
import torch
import torchmetrics
from benchmarks.exact_models import N_TRAIN, Case, Data, Images, Net
from benchmarks.exact_states import Weighted
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize
from torch.optim import swa_utils
from torch.utils.data import DataLoader, Dataset, Sampler, Subset, WeightedRandomSampler


class EpochSampler(Sampler):
    """Lightning tells it the epoch; over a pause it is told too late (lightning#21938)."""

    def __init__(self):
        self.epoch = 0

    def set_epoch(self, epoch: int):
        self.epoch = epoch

    def __len__(self):
        return N_TRAIN

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.epoch)
        yield from torch.randperm(N_TRAIN, generator=generator).tolist()


class ToldTheEpoch(Data):
    def train_dataloader(self):
        return DataLoader(Images(N_TRAIN), batch_size=8, sampler=EpochSampler(), **self.options)


class HardExamples(Data):
    def train_dataloader(self):
        weights = torch.ones(N_TRAIN, dtype=torch.float64)
        sampler = WeightedRandomSampler(weights, N_TRAIN)  # pyright: ignore[reportArgumentType]
        return DataLoader(Images(N_TRAIN), batch_size=8, sampler=sampler)


class DrawsHardExamples(Net):
    def on_train_epoch_end(self):
        loader = self.trainer.train_dataloader
        with torch.no_grad():
            losses = F.cross_entropy(self.net(loader.dataset.x), loader.dataset.y, reduction="none")
        loader.sampler.weights.copy_(losses.double() + 0.1)


class PseudoLabels(Net):
    def on_train_epoch_end(self):
        data = self.trainer.train_dataloader.dataset
        with torch.no_grad():
            data.y = self.net(data.x).argmax(1)


class ActiveData(Data):
    """Active learning: the pool of labelled images and the batch size grow."""

    def __init__(self, workers: int = 0):
        super().__init__(workers)
        self.labelled = list(range(20))
        self.batch_size = 4

    def train_dataloader(self):
        return DataLoader(
            Subset(Images(N_TRAIN), self.labelled), batch_size=self.batch_size, shuffle=True
        )


class Active(Net):
    def on_train_epoch_end(self):
        data = self.trainer.datamodule
        data.labelled.append(int(torch.randint(20, N_TRAIN, ())))
        data.batch_size += 1


class Teacher(Weighted):
    """A copy of the network, hidden in a list so that it is no submodule."""

    def on_train_epoch_start(self):
        if self.current_epoch == 2:
            self.teacher = [copy.deepcopy(self.net).eval().requires_grad_(False)]

    def factor(self, batch, batch_index):
        if self.current_epoch < 2:
            return 1.0
        return 1 + self.teacher[0](batch[0]).softmax(1).max().item()


class NewOptimizer(Net):
    def on_train_epoch_start(self):
        if self.current_epoch == 3:
            self.trainer.optimizers = [torch.optim.Adam(self.parameters(), lr=0.01)]


def _smooth(out, y, smoothing):
    return F.cross_entropy(out, y, label_smoothing=smoothing)


class NewLoss(Net):
    """The loss function, and then the training step, are replaced while it trains."""

    loss: Any = staticmethod(F.cross_entropy)

    def training_step(self, batch, batch_index):
        loss = self.loss(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def on_train_epoch_start(self):
        if self.current_epoch == 1:
            self.loss = functools.partial(_smooth, smoothing=0.2)
        if self.current_epoch == 3:
            scale = [1.0]

            def step(module, batch, batch_index):
                scale[0] *= 1.01
                loss = module.loss(module.net(batch[0]), batch[1]) * scale[0]
                module.log("train_loss", loss, on_step=False, on_epoch=True)
                return loss

            self.training_step = types.MethodType(step, self)


class Recurrent(Net):
    """Truncated backpropagation: the hidden state goes on from batch to batch."""

    def __init__(self, lr: float = 0.05):
        super().__init__(lr)
        self.cell = nn.GRUCell(36, 8)
        self.head = nn.Linear(8, 3)
        self.hidden = torch.zeros(8, 8)

    def training_step(self, batch, batch_index):
        x, y = batch
        hidden = self.cell(x.flatten(1), self.hidden[: len(x)])
        self.hidden = torch.cat([hidden.detach(), self.hidden[len(x) :]])
        loss = F.cross_entropy(self.head(hidden) + self.net(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss


class Normed(Net):
    """A parametrization comes, and another one goes."""

    def __init__(self, lr: float = 0.05):
        super().__init__(lr)
        parametrizations.spectral_norm(self.net[0])

    def on_train_epoch_start(self):
        if self.current_epoch == 2:
            parametrizations.weight_norm(self.net[5])
            parametrize.remove_parametrizations(self.net[0], "weight")
            self.trainer.strategy.setup_optimizers(self.trainer)


class Swa(Weighted):
    """Weight averaging as torch's documentation shows it."""

    def on_fit_start(self):
        self.average = [swa_utils.AveragedModel(self.net)]
        self.schedule = swa_utils.SWALR(self.optimizers().optimizer, swa_lr=0.02)

    def on_train_epoch_end(self):
        self.average[0].update_parameters(self.net)
        self.schedule.step()

    def factor(self, batch, batch_index):
        with torch.no_grad():
            return 1 + self.average[0](batch[0]).softmax(1).max()


class Metrics(Weighted):
    """Metrics that are never reset, the sanity check included."""

    def __init__(self, lr: float = 0.05):
        super().__init__(lr)
        self.lowest = torchmetrics.MinMetric()
        self.accuracy = torchmetrics.MeanMetric()

    def validation_step(self, batch, batch_index):
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.lowest.update(loss.detach())
        self.log("val_loss", loss)

    def factor(self, batch, batch_index):
        self.accuracy.update(batch[1].float().mean())
        return 1 + self.lowest.compute() + self.accuracy.compute()


class ActNorm(nn.Module):
    """Takes its scale from the first batch that it sees: one of the sanity check."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.initialized = False

    def forward(self, x):
        if not self.initialized:
            self.scale.data.copy_(1 / x.std())
            self.initialized = True
        return x * self.scale


class Flow(Net):
    def __init__(self, lr: float = 0.05):
        super().__init__(lr)
        self.net[2] = nn.Sequential(ActNorm(), nn.ReLU())


class Shrinking(Net):
    """Layers go, weights are tied, a list of parameters grows."""

    def __init__(self, lr: float = 0.05):
        super().__init__(lr)
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(3))])
        self.extra = nn.Linear(64, 3)

    def on_train_epoch_start(self):
        if self.current_epoch == 1:
            del self.net[3]
        if self.current_epoch == 2:
            self.extra.weight = self.net[4].weight
        if self.current_epoch == 3:
            self.biases.append(nn.Parameter(torch.ones(3)))
            self.optimizers().add_param_group({"params": [self.biases[-1]], "lr": 0.01})

    def training_step(self, batch, batch_index):
        x, y = batch
        out = self.net(x) + self.extra(self.net[:-1](x)) + sum(self.biases)
        loss = F.cross_entropy(out, y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss


@dataclasses.dataclass(frozen=True)
class Settings:
    warm: bool
    factor: float


class Plain(Weighted):
    """Frozen dataclass, long dict, aliases, momentum of batch norm, a nested tensor, complex."""

    def __init__(self, lr: float = 0.05):
        super().__init__(lr)
        self.settings = Settings(True, 1.0)
        self.losses = dict.fromkeys(range(2000), 0.0)
        self.first = self.second = torch.zeros(2)
        self.state: Any = {"raw": b"", "turn": 1j, "inner": {"names": [self.first]}}
        self.register_buffer(
            "ragged", torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), persistent=False
        )

    def on_train_epoch_start(self):
        self.settings = dataclasses.replace(self.settings, factor=1.1**self.current_epoch)
        self.net[1].momentum = 0.1 / (1 + self.current_epoch)

    def factor(self, batch, batch_index):
        self.first += 0.01  # the other names of it follow
        self.losses[len(self.state["raw"])] += float(batch[0].mean())
        self.state["raw"] += b"x"
        self.state["turn"] *= 1j
        seen = self.state["inner"]["names"][0].sum() + self.second.sum() + self.state["turn"].real
        return self.settings.factor + 0.1 * seen + sum(self.losses.values())


class Lazy(Net):
    """Its last layer knows its shape after the first batch."""

    def __init__(self, lr: float = 0.05):
        super().__init__(lr)
        self.net[5] = nn.LazyLinear(3)
        self.net(torch.zeros(2, 1, 6, 6))


class Scheduled(Net):
    """Schedules within schedules, one of them made of a closure."""

    def configure_optimizers(self):
        optimizer = torch.optim.NAdam(self.parameters(), lr=self.lr)
        schedules = torch.optim.lr_scheduler
        warm = schedules.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / (20 * self.lr)))
        cyclic = schedules.CyclicLR(optimizer, 0.001, 0.02, step_size_up=5, cycle_momentum=False)
        both = schedules.SequentialLR(optimizer, [warm, cyclic], [9])
        return [optimizer], [{"scheduler": both, "interval": "step"}]


class Cached(Dataset):
    """Augments an image once, and keeps it."""

    def __init__(self):
        self.images, self.kept = Images(N_TRAIN, augment=True), {}

    def __len__(self):
        return 30 if len(self.kept) < 25 else N_TRAIN

    def __getitem__(self, index):
        if index not in self.kept or torch.rand(()) < 0.2:
            self.kept[index] = self.images[index]
        return self.kept[index]


class CachedData(Data):
    def train_dataloader(self):
        return DataLoader(Cached(), batch_size=8, shuffle=True)


class GradientNoise(lightning.Callback):
    """A parameter, a generator and a module of its own."""

    def __init__(self):
        self.scale = nn.Parameter(torch.tensor(0.1))
        self.noise = nn.Linear(1, 1)
        self.generator = torch.Generator().manual_seed(3)

    def on_after_backward(self, trainer, module):
        self.scale.data *= 0.99
        for parameter in module.parameters():
            if parameter.grad is not None:
                noise = torch.randn(parameter.shape, generator=self.generator)
                parameter.grad += self.scale.detach() * noise


def _with(*callbacks: lightning.Callback, **kwargs: Any) -> dict[str, Any]:
    return {"callbacks": list(callbacks), **kwargs}


REPORTS = {
    "sampler that is told the epoch": Case(data=ToldTheEpoch),
    "sampler that is told the epoch, 1 worker": Case(data=ToldTheEpoch, config={"workers": 1}),
    "hard examples drawn more often": Case(DrawsHardExamples, HardExamples),
    "pseudo-labels in the data set": Case(PseudoLabels),
    "active learning, growing batches": Case(
        Active, ActiveData, trainer={"reload_dataloaders_every_n_epochs": 1}
    ),
    "teacher copied in mid-training": Case(Teacher),
    "optimizer replaced": Case(NewOptimizer),
    "loss function and training step replaced": Case(NewLoss),
    "hidden state between batches": Case(Recurrent),
    "GradientAccumulationScheduler": Case(trainer=_with(GradientAccumulationScheduler({2: 3}))),
    "parametrizations that come and go": Case(Normed),
    "AveragedModel and SWALR": Case(Swa),
    "metrics never reset": Case(Metrics),
    "ActNorm in the sanity check": Case(Flow),
    "layers go, weights are tied": Case(Shrinking),
    "frozen dataclass, aliases, nested tensor": Case(Plain),
    "lazy layer": Case(Lazy),
    "schedules within schedules": Case(Scheduled),
    "augmented once and kept": Case(data=CachedData),
    "gradient noise of a callback": Case(trainer=_with(GradientNoise())),
    "bf16-mixed": Case(trainer={"precision": "bf16-mixed"}),
}
