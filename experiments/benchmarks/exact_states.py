# pyright: basic, reportOptionalMemberAccess=false, reportArgumentType=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportGeneralTypeIssues=false, reportIndexIssue=false, reportCallIssue=false
"""Small trainings, each with one kind of state in it that no ``state_dict`` holds."""

from __future__ import annotations

import copy
import enum
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Any, NamedTuple

import lightning
import torch
from benchmarks.exact_models import N_TRAIN, Case, Data, Images, Net
from lightning.pytorch.callbacks import BackboneFinetuning, BaseFinetuning, ModelPruning
from torch import nn
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset


class Phase(enum.Enum):
    WARMUP = 1
    MAIN = 2


STAGES = [{"name": "easy", "factor": 0.5}, {"name": "hard", "factor": 1.5}]


class Weighted(Net):
    """The loss is multiplied by what a subclass makes of its state."""

    def training_step(self, batch, batch_index):
        return super().training_step(batch, batch_index) * self.factor(batch, batch_index)

    def factor(self, batch, batch_index) -> Any:
        return 1.0


class FrozenByHand(Net):
    def on_train_epoch_start(self):
        if self.current_epoch == 0:
            self.net[0].requires_grad_(False)
        if self.current_epoch == 3:
            self.net[0].requires_grad_(True)
            self.net[1].eval()
            self.net[3].p = 0.1


class Unfreeze(BaseFinetuning):
    def freeze_before_training(self, pl_module):
        self.freeze(pl_module.net[0])

    def finetune_function(self, pl_module, epoch, optimizer):
        if epoch == 2:
            self.unfreeze_and_add_param_group(pl_module.net[0], optimizer, lr=0.01)


class Trainable(Net):
    def configure_optimizers(self):
        parameters = [p for p in self.parameters() if p.requires_grad]
        return torch.optim.SGD(parameters, lr=self.lr, momentum=0.9)


class Backboned(Trainable):
    def __init__(self, lr: float = 0.05):
        super().__init__(lr)
        self.backbone = self.net[0]


class Phases(Weighted):
    phase = Phase.WARMUP

    def on_train_epoch_start(self):
        self.phase = Phase.MAIN if self.current_epoch > 1 else Phase.WARMUP

    def factor(self, batch, batch_index):
        return 2.0 if self.phase is Phase.MAIN else float(Phase.WARMUP.value)


class Gan(Net):
    """Two optimizers by hand; gradients are left over where an epoch ends."""

    def __init__(self, lr: float = 0.05):
        super().__init__(lr)
        self.automatic_optimization = False
        self.critic = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 1))

    def training_step(self, batch, batch_index):
        x, y = batch
        first, second = self.optimizers()
        out = self.net(x)
        loss = F.cross_entropy(out, y) - 0.1 * self.critic(out).mean()
        self.manual_backward(loss)
        if (batch_index + 1) % 4 == 0:
            first.step()
            first.zero_grad()
            second.step()
            second.zero_grad()
        self.log("train_loss", loss, on_step=False, on_epoch=True)

    def configure_optimizers(self):
        return [
            torch.optim.Adam(self.net.parameters(), lr=0.01),
            torch.optim.SGD(self.critic.parameters(), lr=self.lr),
        ]


class Replay(Weighted):
    def __init__(self, lr: float = 0.05):
        super().__init__(lr)
        self.buffer = deque(((float(i), i) for i in range(19_990)), maxlen=20_000)

    def factor(self, batch, batch_index):
        self.buffer.append((float(batch[0].mean()), len(self.buffer)))
        return 1.0 + self.buffer[-7][0]


class Prototypes(Weighted):
    def __init__(self, lr: float = 0.05, n_prototypes: int = 400_000):
        super().__init__(lr)
        self.prototypes = torch.zeros(n_prototypes)

    def factor(self, batch, batch_index):
        self.prototypes = self.prototypes + float(batch[0].mean())
        return 1.0 + float(self.prototypes[3])


class Averaged(Weighted):
    """An average of the weights, an optimizer and a scheduler in attributes."""

    def __init__(self, lr: float = 0.05):
        super().__init__(lr)
        self.kept = {"average": copy.deepcopy(self.net), "step": 0}
        self.scale = nn.Parameter(torch.ones(()))
        self.own = torch.optim.Adam([self.scale], lr=0.1)
        self.own_schedule = torch.optim.lr_scheduler.StepLR(self.own, 3)

    def on_train_batch_end(self, outputs, batch, batch_index):
        self.kept["step"] += 1
        with torch.no_grad():
            pairs = zip(self.kept["average"].parameters(), self.net.parameters(), strict=True)
            for mean, now in pairs:
                mean.lerp_(now, 0.1)
                now.lerp_(mean, 0.05)
        self.own.zero_grad()
        (self.scale**2).backward()
        self.own.step()
        self.own_schedule.step()

    def factor(self, batch, batch_index):
        return self.scale.detach() + 0.01 * self.kept["step"]


class Best(NamedTuple):
    epoch: int
    loss: float


@dataclass(slots=True)
class Slotted:
    n: int
    history: list[float]


class Typed(Weighted):
    best = Best(0, 9.0)

    def __init__(self, lr: float = 0.05):
        super().__init__(lr)
        self.slotted = Slotted(0, [])
        self.by_pair: Any = defaultdict(lambda: 0.5)
        self.frozen = frozenset({1})

    def factor(self, batch, batch_index):
        self.slotted.n += 1
        self.slotted.history.append(float(batch[0].mean()))
        self.by_pair[self.current_epoch, batch_index] += 0.1
        self.frozen = self.frozen | {self.slotted.n}
        return 1 + 0.01 * len(self.frozen) + sum(self.by_pair.values()) / 100 + self.best.loss / 9

    def on_train_epoch_end(self):
        self.best = min(self.best, Best(self.current_epoch, self.slotted.history[-1]))


class Hooked(Weighted):
    def on_train_epoch_start(self):
        if self.current_epoch == 1:
            self.seen = []
            self.net[0].register_forward_hook(lambda layer, x, y: y * (1 + len(self.seen) / 100))
            self.net[0].weight.register_hook(lambda grad: self.seen.append(1) or grad * 0.5)


class Hyper(Weighted):
    def __init__(self, lr: float = 0.05, weight: float = 1.0):
        super().__init__(lr)
        self.save_hyperparameters()

    def on_train_epoch_end(self):
        self.hparams.weight *= 1.2
        self.trainer.gradient_clip_val = 0.5 / self.hparams.weight
        self.trainer.accumulate_grad_batches = 1 + self.current_epoch % 2

    def factor(self, batch, batch_index):
        return self.hparams.weight


class AutoClip(lightning.Callback):
    def __init__(self):
        self.history = [float(i % 7) for i in range(1500)]

    def on_before_optimizer_step(self, trainer, module, optimizer):
        norm = torch.nn.utils.get_total_norm([p.grad for p in module.parameters()])
        self.history.append(float(norm))
        limit = sorted(self.history)[len(self.history) // 10]
        torch.nn.utils.clip_grad_norm_(module.parameters(), limit)


class Lookahead(torch.optim.SGD):
    def __init__(self, parameters, lr):
        super().__init__(parameters, lr=lr)
        self.slow = {p: p.detach().clone() for g in self.param_groups for p in g["params"]}
        self.n = 0

    def step(self, closure=None):
        loss = super().step(closure)
        self.n += 1
        if self.n % 5 == 0:
            with torch.no_grad():
                for fast, slow in self.slow.items():
                    slow.lerp_(fast, 0.5)
                    fast.copy_(slow)
        return loss


class LookedAhead(Net):
    def configure_optimizers(self):
        return Lookahead(self.parameters(), self.lr)


class Scaled(Weighted):
    def __init__(self, lr: float = 0.05):
        super().__init__(lr)
        self.scaler = torch.amp.GradScaler("cpu", growth_interval=2)
        self.sobol = torch.quasirandom.SobolEngine(1, scramble=True, seed=3)

    def factor(self, batch, batch_index):
        self.scaler.scale(torch.ones(1))
        self.scaler.update(self.scaler.get_scale() * 1.01)
        return float(self.sobol.draw(1)) + self.scaler.get_scale() / 2**16


class Growing(Net):
    """A layer and a parameter group that come at epoch 2."""

    def on_train_epoch_start(self):
        if self.current_epoch == 2:
            self.net[3] = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1))
            self.optimizers().add_param_group({"params": list(self.net[3].parameters())})


class Curriculum(Weighted):
    stage = STAGES[0]

    def on_train_epoch_start(self):
        self.stage = STAGES[int(self.current_epoch > 2)]

    def factor(self, batch, batch_index):
        return self.stage["factor"] + next(i for i, s in enumerate(STAGES) if s is self.stage)


class Sparse(Weighted):
    def __init__(self, lr: float = 0.05):
        super().__init__(lr)
        self.register_buffer("adjacency", torch.eye(3).to_sparse())
        self.register_buffer("compressed", torch.eye(3).to_sparse_csr(), persistent=False)
        self.shape = torch.empty(2, device="meta")

    def factor(self, batch, batch_index):
        self.adjacency = self.adjacency * 1.01
        return (self.adjacency @ torch.ones(3, 1)).mean()


class Codebook(Weighted):
    """Weights and a learning rate that are set when a fit starts, from data."""

    def on_fit_start(self):
        x = next(iter(self.trainer.datamodule.train_dataloader()))[0]
        with torch.no_grad():
            self.net[0].weight += x.mean()

    def on_train_start(self):
        self.optimizers().param_groups[0]["lr"] *= 0.5
        self.net[5].bias.data.fill_(0.1)


class Sanity(Weighted):
    best = 9.0

    def validation_step(self, batch, batch_index):
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.best = min(self.best, float(loss))
        self.log("val_loss", loss)

    def factor(self, batch, batch_index):
        return 1 + self.best


class Transform:
    def __init__(self):
        self.generator = torch.Generator().manual_seed(5)

    def __call__(self, x):
        return x + torch.rand((), generator=self.generator)


class Around:
    def __init__(self, inner):
        self.inner = inner

    def __call__(self, x):
        return self.inner(x)


class Transformed(Dataset):
    def __init__(self, data, transform):
        self.data, self.transform = data, transform

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        x, y = self.data[index]
        return self.transform(x), y


class Nested(Data):
    """A generator twelve levels below the loader."""

    def train_dataloader(self):
        transform = Transform()
        for _ in range(8):
            transform = Around(transform)
        data = ConcatDataset([Transformed(Images(N_TRAIN), transform)])
        return DataLoader(Subset(data, range(N_TRAIN)), batch_size=8, shuffle=True)


class Endless(IterableDataset):
    """A stream that goes on where the last epoch has left it."""

    def __init__(self):
        self.images, self.position = Images(N_TRAIN, augment=True), 0

    def __iter__(self):
        for _ in range(30):
            self.position += 1
            yield self.images[self.position % N_TRAIN]


class Streaming(Data):
    def train_dataloader(self):
        return DataLoader(Endless(), batch_size=8)


class Unpicklable(Weighted):
    """A Python generator: nothing can carry it over a pause, so the run has to say so."""

    def on_train_start(self):
        self.numbers = (1 + 0.1 * i for i in range(100))

    def factor(self, batch, batch_index):
        return next(self.numbers) if batch_index == 0 else 1.0


class ManyPrototypes(Prototypes):
    """100 MB."""

    def __init__(self, lr: float = 0.05):
        super().__init__(lr, 25_000_000)


def _with(*callbacks: lightning.Callback, **kwargs: Any) -> dict[str, Any]:
    return {"callbacks": list(callbacks), **kwargs}


STATES = {
    "frozen by hand, flags of layers": Case(FrozenByHand),
    "BaseFinetuning": Case(Trainable, trainer=_with(Unfreeze())),
    "BackboneFinetuning": Case(Backboned, trainer=_with(BackboneFinetuning(2, verbose=False))),
    "phase in an Enum": Case(Phases),
    "GAN by hand, gradients left over": Case(Gan),
    "replay buffer of 20,000": Case(Replay),
    "prototypes in a plain tensor": Case(Prototypes),
    "average, optimizer, schedule in attributes": Case(Averaged),
    "NamedTuple, slots, tuple keys": Case(Typed),
    "hooks": Case(Hooked),
    "hparams and trainer attributes": Case(Hyper),
    "AutoClip, more than 1,000 steps": Case(trainer=_with(AutoClip())),
    "attributes of an optimizer": Case(LookedAhead),
    "GradScaler and SobolEngine": Case(Scaled),
    "layer and parameter group added": Case(Growing),
    "curriculum in a module's list": Case(Curriculum),
    "sparse and meta tensors": Case(Sparse),
    "weights set when a fit starts": Case(Codebook),
    "state of the sanity check": Case(Sanity),
    "generator twelve levels deep": Case(data=Nested),
    "endless stream": Case(data=Streaming),
    "pruning": Case(
        trainer=_with(ModelPruning("l1_unstructured", parameter_names=["weight"], amount=0.1))
    ),
    "64-true": Case(trainer={"precision": "64-true"}),
    "a Python generator": Case(Unpicklable),
}

#: The same kinds where each rank has a state of its own, and one that takes long.
LARGE_STATES = {
    "prototypes of 100 MB": Case(ManyPrototypes),
    "DDP, 2 workers, frozen by hand": Case(FrozenByHand, workers=2),
    "DDP, 2 workers, replay buffer of 20,000": Case(Replay, workers=2),
    "DDP, 2 workers, hparams and trainer attributes": Case(Hyper, workers=2),
    "DDP, 2 workers, endless stream": Case(data=Streaming, workers=2),
    "DDP, 2 workers, a Python generator": Case(Unpicklable, workers=2),
}
