"""Which classes and functions may build the module and the data of a run."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningDataModule, LightningModule


def check_builder(name: str, value: Any, kind: type[Any]) -> None:
    """Refuse what is no class of Lightning's, nor a function that may return one.

    Args:
        name: ``module`` or ``datamodule``.
        value: what was given.
        kind: ``LightningModule`` or ``LightningDataModule``.
    """
    a_class = f"{name} must be a {kind.__name__} class or a function that returns one"
    if not callable(value) or isinstance(value, (LightningModule, LightningDataModule)):
        raise ValueError(
            f"{a_class}, got {type(value).__name__}: each run builds its own, after it is seeded"
        )
    if isinstance(value, torch.nn.Module):
        raise ValueError(f"{a_class}, got an instance of {type(value).__name__}")
    if isinstance(value, type):
        check_kind(name, value, kind)


def check_kind(name: str, made: type[Any], kind: type[Any]) -> None:
    """Refuse a class that is not of this package's Lightning."""
    if issubclass(made, kind):
        return
    for base in made.__mro__:
        if base.__name__ == kind.__name__:
            home = base.__module__.partition(".")[0]
            raise ValueError(
                f"{name} {made.__name__} is a {kind.__name__} of the package {home!r}, and its "
                f"classes don't mix with those of 'lightning', which trains here: write `import "
                f"lightning as L` (or `import lightning.pytorch as pl`) in place of `import {home} "
                "as pl`"
            )
    raise ValueError(
        f"{name} must be a {kind.__name__} class or a function that returns one, got the class "
        f"{made.__name__}"
    )


def name_of(target: Any) -> str:
    """How a class, a function or a partial of one is called in messages."""
    return getattr(target, "__name__", type(target).__name__)
