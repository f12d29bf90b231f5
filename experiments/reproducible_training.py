"""Does a training come out the same twice? Unseeded, seeded, and seeded but for one generator.

First a line fitted by one hidden layer of 100 units, as a plain loop; then the small convolutional
net of PyTorch's CIFAR-10 tutorial, in Lightning. Each is trained twice in each form, side by side,
and `audit` says what differs first, and why. Digits (scaled up to 32x32) stand in for CIFAR-10.

    python experiments/reproducible_training.py
    python experiments/reproducible_training.py --dataset cifar10

The first takes under four minutes on two cores, most of it the audits. Unseeded, the second fit of
the line ended 0.007 from the first, and the second net 0.16 in validation loss; seeded, both are
equal to the bit. With one generator forgotten the net's loss ended 0.011 apart, and the audit names
the line that makes the generator.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from images import CIFAR10DataModule, DigitsDataModule, ImageDataModule
from lightning import LightningModule
from plain_lightning import fit, seed_all
from ray import tune
from script_arguments import (
    DATASETS,
    add_image_arguments,
    add_study_arguments,
    data_module,
    data_options,
    run_config,
)
from torch import Tensor, nn
from torch.nn import functional

from tune_seeds import AuditReport, LightningTrainer, RunKey, SeedTuner, Verdict, audit, verify

BATCH_SIZE = 4


def fit_line(lr: float = 1e-4, n_steps: int = 1000, every: int = 100) -> Iterator[float]:
    """Fit y = 2x with a hidden layer of 100 units by plain gradient descent.

    The points, the weights, and so every loss come from torch's global generator.

    Yields:
        The squared error, summed over 100 points, after each ``every`` steps.
    """
    x = torch.rand(100, 1)
    y = 2 * x
    net = nn.Sequential(nn.Linear(1, 100), nn.ReLU(), nn.Linear(100, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    for step in range(1, n_steps + 1):
        loss = functional.mse_loss(net(x), y, reduction="sum")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % every == 0:
            yield loss.item()


def line_study(config: dict[str, Any]) -> None:
    """The same as a function that Ray Tune runs: it is seeded before it is called."""
    for loss in fit_line(config["lr"], config["n_steps"], config["every"]):
        tune.report({"loss": loss})


class TutorialNet(LightningModule):
    """Two 5×5 convolutions and three linear layers, for 32×32 images in colour.

    Args:
        report_every: training steps between two entries of ``losses``.

    Attributes:
        losses: mean training loss of each ``report_every`` steps.
    """

    def __init__(self, report_every: int = 2000) -> None:
        super().__init__()
        self.report_every = report_every
        self.losses: list[float] = []
        self._since: list[float] = []
        self.net = nn.Sequential(
            nn.Conv2d(3, 6, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(400, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits; grey images are repeated in three channels, small ones scaled up."""
        if images.shape[-1] != 32:
            images = functional.interpolate(images, (32, 32))
        return self.net(images.expand(-1, 3, -1, -1))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy, kept for the printed means."""
        loss = functional.cross_entropy(self(batch[0]), batch[1])
        self._since.append(loss.item())
        if len(self._since) == self.report_every:
            self.losses.append(sum(self._since) / len(self._since))
            self._since = []
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Loss and accuracy."""
        images, labels = batch
        logits = self(images)
        accuracy = (logits.argmax(1) == labels).float().mean()
        scores = {"val_loss": functional.cross_entropy(logits, labels), "val_acc": accuracy}
        self.log_dict(scores, batch_size=len(labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD as the tutorial sets it."""
        return torch.optim.SGD(self.parameters(), lr=0.001, momentum=0.9)


class FromEntropy(TutorialNet):
    """What a script without a seed does: torch's generator starts wherever the machine says.

    A study seeds each run before it builds anything, so it takes this line to undo that.
    """

    def __init__(self, report_every: int = 2000) -> None:
        torch.seed()
        super().__init__(report_every)


class Brightness(ImageDataModule):
    """Images brightened at random, from a generator that no seed reaches."""

    def setup(self, stage: str) -> None:
        """Read the images, and make the generator that is so easily forgotten."""
        super().setup(stage)
        self.generator = np.random.default_rng()

    def augment(self, images: Tensor) -> Tensor:
        """Scale each image by 0.8 to 1."""
        factors = self.generator.uniform(0.8, 1, size=(len(images), 1, 1, 1))
        return (super().augment(images) * torch.from_numpy(factors)).to(torch.uint8)


class BrightDigits(Brightness, DigitsDataModule):
    """Digits, brightened at random."""


class BrightCIFAR10(Brightness, CIFAR10DataModule):
    """CIFAR-10, brightened at random."""


@dataclass(frozen=True)
class Form:
    """A way of treating seeds.

    Attributes:
        seeded: whether the script seeds Python, NumPy and torch.
        module: what is trained.
        data: the data module for each name of a data set.
    """

    seeded: bool
    module: Callable[..., TutorialNet]
    data: Mapping[str, type[ImageDataModule]]


FORMS = {
    "unseeded": Form(False, FromEntropy, DATASETS),
    "forgotten generator": Form(
        True, TutorialNet, {"digits": BrightDigits, "cifar10": BrightCIFAR10}
    ),
    "seeded": Form(True, TutorialNet, DATASETS),
}


def train_net(
    form: Form, data: Callable[..., ImageDataModule], args: argparse.Namespace
) -> dict[str, float]:
    """Train once in this process, with Lightning alone; what a script would print."""
    if form.seeded:
        seed_all(args.seed)
    module = form.module(args.report_every)
    logged = fit(module, data(batch_size=BATCH_SIZE, **data_options(args)), args.epochs)
    shown = {f"step {(i + 1) * args.report_every}": x for i, x in enumerate(module.losses)}
    return {**shown, **logged}


def side_by_side(title: str, rows: Mapping[str, tuple[float, float]]) -> bool:
    """Print two trainings and their difference, and tell whether they are equal to the bit."""
    print(f"\n{title}\n{'':12}{'first':>20}{'second':>20}{'difference':>14}")
    for name, (first, second) in rows.items():
        print(f"{name:12}{first:20.15g}{second:20.15g}{abs(first - second):14.3g}")
    equal = all(first == second for first, second in rows.values())
    print("identical" if equal else "not the same")
    return equal


def fit_lines(args: argparse.Namespace) -> dict[str, bool]:
    """Fit the line twice unseeded and twice seeded, side by side."""
    equal = {}
    for name, seeded in (("unseeded", False), ("seeded", True)):
        losses = []
        for _ in range(2):
            if seeded:
                seed_all(args.seed)
            losses.append(list(fit_line(n_steps=args.steps, every=args.steps // 10)))
        steps = range(args.steps // 10, args.steps + 1, args.steps // 10)
        rows = {f"step {t}": pair for t, pair in zip(steps, zip(*losses, strict=True), strict=True)}
        equal[name] = side_by_side(f"line fit, {name}", rows)
    return equal


def verified_line(args: argparse.Namespace) -> Verdict:
    """Fit the line in a study, and train one of its runs again in a process of its own."""
    results = SeedTuner(
        line_study,
        seeds=[args.seed, args.seed + 1],
        param_space={
            "lr": tune.grid_search([1e-4]),
            "n_steps": args.steps,
            "every": args.steps // 10,
        },
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=run_config(args, "reproducible_training"),
    ).fit()
    return verify(results.path, RunKey("g0001", args.seed))


def audited(
    form: Form, data: Callable[..., ImageDataModule], args: argparse.Namespace
) -> AuditReport:
    """Train a few batches several times under watch: what differs first, and why?"""
    trainer = LightningTrainer(form.module, data, trainer_kwargs={"max_epochs": args.epochs})
    config = {"batch_size": BATCH_SIZE, **data_options(args)}
    return audit(trainer, config, seed=args.seed, n_epochs=min(2, args.epochs))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_image_arguments(found)
    add_study_arguments(found)
    found.add_argument("--seed", type=int, default=47)
    found.add_argument("--steps", type=int, default=1000, help="of the line fit (default 1000)")
    found.add_argument("--epochs", type=int, default=2, help="of the net (default 2)")
    found.add_argument("--report-every", type=int, help="steps; default 50 for digits, else 2000")
    found.add_argument("--forms", nargs="*", choices=FORMS, default=list(FORMS))
    return found


def main(argv: Sequence[str] | None = None) -> tuple[dict[str, bool], dict[str, AuditReport]]:
    """Train everything twice, and audit it.

    Returns:
        For each form of each training whether it came out the same twice; and for each form of the
        net what its audit found.
    """
    args = parser().parse_args(argv)
    # Small steps gain nothing from more threads, and wait for them where others use the cores.
    torch.set_num_threads(1)
    if args.report_every is None:
        args.report_every = 50 if args.dataset == "digits" else 2000

    equal = {f"line fit, {name}": same for name, same in fit_lines(args).items()}
    verdict = verified_line(args)
    equal["line fit, in a study"] = verdict.difference is None
    print(f"\nline fit in a study, one run trained again elsewhere\n{verdict}")

    reports = {}
    for name in args.forms:
        form = FORMS[name]
        data = data_module(args, form.data, batch_size=BATCH_SIZE)
        pair = [train_net(form, data, args) for _ in range(2)]
        rows = {key: (pair[0][key], pair[1][key]) for key in pair[0]}
        equal[f"net, {name}"] = side_by_side(f"net, {name}", rows)
        reports[name] = audited(form, data, args)
        print(f"audit: {reports[name]}")
    return equal, reports


if __name__ == "__main__":
    main()
