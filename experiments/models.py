"""ResNet-18 for small images, a CNN for CPUs, and how both are trained to classify."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional


def _conv_norm(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut (He et al. 2016, arXiv:1512.03385, figure 2).

    The shortcut is a 1×1 convolution where the shape changes, their option B.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv_norm(in_channels, out_channels, 3, stride),
            nn.ReLU(),
            _conv_norm(out_channels, out_channels, 3),
        )
        if stride == 1 and in_channels == out_channels:
            self.shortcut: nn.Module = nn.Identity()
        else:
            self.shortcut = _conv_norm(in_channels, out_channels, 1, stride)

    def forward(
        self, images: Float[Tensor, "n channel row column"]
    ) -> Float[Tensor, "n out_channel out_row out_column"]:
        """Add the shortcut to the body."""
        return functional.relu(self.body(images) + self.shortcut(images))


class ResNet18(nn.Module):
    """ResNet-18 in its form for 32×32 images: a 3×3 stem, and no pooling before the last layer.

    Args:
        in_channels: of the images.
        num_classes: of the labels.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv_norm(in_channels, 64, 3), nn.ReLU())
        stages = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
        self.blocks = nn.Sequential(
            *(
                block
                for narrow, wide, stride in stages
                for block in (ResidualBlock(narrow, wide, stride), ResidualBlock(wide, wide, 1))
            )
        )
        self.head = nn.Linear(512, num_classes)

    def forward(self, images: Float[Tensor, "n channel row column"]) -> Float[Tensor, "n label"]:
        """Logits of each image, of any size."""
        return self.head(self.blocks(self.stem(images)).mean((2, 3)))


class SmallCNN(nn.Module):
    """Three 3×3 convolutions, each followed by normalisation, ReLU and 2×2 pooling.

    Args:
        in_channels: of the images.
        num_classes: of the labels.
        width: channels of the first convolution; each further one doubles them, so time and
            parameters grow with the square.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 10, width: int = 24) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(_conv_norm(narrow, wide, 3), nn.ReLU(), nn.MaxPool2d(2))
                for narrow, wide in zip((in_channels, *widths), widths, strict=False)
            )
        )
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, images: Float[Tensor, "n channel row column"]) -> Float[Tensor, "n label"]:
        """Logits of each image, of any size from 8×8."""
        return self.head(self.blocks(images).mean((2, 3)))


MODELS = {"small_cnn": SmallCNN, "resnet18": ResNet18}


def warmup_cosine(step: int, n_steps: int) -> float:
    """Learning rate at a step, as a share of its peak: up over the first tenth, then a cosine to 0.

    Args:
        step: optimiser steps taken so far.
        n_steps: optimiser steps of the whole training, at least 1.
    """
    n_warmup = max(1, n_steps // 10)
    if step < n_warmup:
        return (step + 1) / n_warmup
    progress = min(1.0, (step - n_warmup) / max(1, n_steps - n_warmup))
    return 0.5 * (1 + math.cos(math.pi * progress))


class LitClassifier(LightningModule):
    """An image classifier; logs ``train_loss``, ``val_loss``, ``val_acc`` at each epoch.

    ``val_loss`` is the plain cross-entropy, whatever the label smoothing, so that it compares
    across configs.

    Args:
        lr: peak learning rate, above 0.
        optimizer: ``"sgd"``, with Nesterov momentum, or ``"adamw"``.
        momentum: of SGD, or β₁ of AdamW; in [0, 1). Nearer 1 averages over more steps.
        weight_decay: pull of the weights towards 0; AdamW decouples it from the gradient.
        label_smoothing: share of each target spread over all classes, in [0, 1].
        model_name: a key of ``MODELS``.
        in_channels: of the images.
        num_classes: of the labels.

    Raises:
        ValueError: an unknown optimizer or model name, or a number out of its range.
    """

    def __init__(
        self,
        lr: float = 0.1,
        optimizer: Literal["sgd", "adamw"] = "sgd",
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        label_smoothing: float = 0.0,
        model_name: Literal["small_cnn", "resnet18"] = "small_cnn",
        in_channels: int = 3,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        if optimizer not in ("sgd", "adamw"):
            raise ValueError(f"optimizer must be 'sgd' or 'adamw', got {optimizer!r}")
        if model_name not in MODELS:
            raise ValueError(f"model_name must be one of {', '.join(MODELS)}, got {model_name!r}")
        if not lr > 0:
            raise ValueError(f"lr must be above 0, got {lr}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {momentum}")
        self.save_hyperparameters()
        self.lr = lr
        self.optimizer = optimizer
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        # A third faster on CPUs than the default format, and what GPUs want for mixed precision.
        self.network = MODELS[model_name](in_channels, num_classes).to(
            memory_format=torch.channels_last
        )

    def forward(self, images: Float[Tensor, "n channel row column"]) -> Float[Tensor, "n label"]:
        """Logits of each image."""
        return self.network(images.to(self.dtype, memory_format=torch.channels_last))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy with smoothed labels."""
        images, labels = batch
        loss = functional.cross_entropy(self(images), labels, label_smoothing=self.label_smoothing)
        self.log(
            "train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True
        )
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log the loss and the share of images whose label comes first."""
        self._evaluate(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log the same, of the test images."""
        self._evaluate(batch, "test")

    def _evaluate(self, batch: tuple[Tensor, Int64[Tensor, " n"]], split: str) -> None:
        images, labels = batch
        logits = self(images)
        scores = {
            f"{split}_loss": functional.cross_entropy(logits, labels),
            f"{split}_acc": (logits.argmax(1) == labels).float().mean(),
        }
        self.log_dict(scores, batch_size=len(labels), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """The optimiser, and a learning rate that falls to 0 at the trainer's last step.

        Raises:
            ValueError: the trainer has no last step.
        """
        n_steps = self.trainer.estimated_stepping_batches
        if math.isinf(n_steps):
            raise ValueError("the learning rate needs an end: give the trainer max_epochs")
        if self.optimizer == "sgd":
            optimizer: torch.optim.Optimizer = torch.optim.SGD(
                self.parameters(),
                lr=self.lr,
                momentum=self.momentum,
                nesterov=self.momentum > 0,
                weight_decay=self.weight_decay,
            )
        else:
            optimizer = torch.optim.AdamW(
                self.parameters(),
                lr=self.lr,
                betas=(self.momentum, 0.999),
                weight_decay=self.weight_decay,
            )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, partial(warmup_cosine, n_steps=int(n_steps))
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }
