"""The trained modules of several seeds as one, with averaged predictions."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from lightning import LightningModule
from torch import nn


class SeedEnsemble(LightningModule):
    """The same module trained on several seeds: predicts the mean of what they predict.

    What ``forward`` (or ``predict_step``) returns is averaged as it is: of a classifier that
    returns logits the logits, not the probabilities. Dicts, lists and tuples of tensors are
    averaged entry by entry.

    Args:
        modules: seed → trained module.

    Example:
        >>> ensemble = SeedEnsemble({1: nn.Identity(), 2: nn.Identity()})
        >>> ensemble(torch.ones(2))
        tensor([1., 1.])
    """

    def __init__(self, modules: Mapping[int, nn.Module]) -> None:
        super().__init__()
        self.seeds = tuple(modules)
        self.members = nn.ModuleList(modules.values())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The mean of the members' outputs."""
        return average([member(*args, **kwargs) for member in self.members])

    def predict_step(self, *args: Any, **kwargs: Any) -> Any:
        """The mean of what the members' ``predict_step`` returns, for ``Trainer.predict``."""
        return average([cast(Any, member).predict_step(*args, **kwargs) for member in self.members])


def average(outputs: Sequence[Any]) -> Any:
    """The mean of several outputs of the same structure.

    Raises:
        TypeError: an entry is no floating-point tensor: classes or tokens have no mean.
        ValueError: the outputs have different structures.
    """
    first = outputs[0]
    if isinstance(first, torch.Tensor):
        if not (first.is_floating_point() or first.is_complex()):
            raise TypeError(
                f"the modules return a tensor of {first.dtype}, which has no mean; return scores "
                "(logits, probabilities) and take the class of their mean"
            )
        return torch.stack(list(outputs)).mean(0)
    if isinstance(first, float):
        return sum(outputs) / len(outputs)
    if isinstance(first, Mapping):
        if any(set(output) != set(first) for output in outputs):
            raise ValueError("the modules return dicts with different keys")
        return {key: average([output[key] for output in outputs]) for key in first}
    if isinstance(first, (list, tuple)):
        if len({len(output) for output in outputs}) > 1:
            raise ValueError("the modules return sequences of different lengths")
        parts = [average(list(column)) for column in zip(*outputs, strict=True)]
        if hasattr(first, "_fields"):
            return type(first)(*parts)
        return type(first)(parts)
    raise TypeError(f"the modules return a {type(first).__name__}, which has no mean")
