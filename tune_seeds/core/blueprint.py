"""What a study's runs are built from, as text: which constructors, by which parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """A constructor or function that takes keys of a config.

    Attributes:
        name: where it can be imported from, ``package.module.Class``.
        parameters: the names that it takes.
        open_ended: whether it takes any other name through ``**kwargs``.
    """

    name: str
    parameters: tuple[str, ...]
    open_ended: bool


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A Lightning training, described without its objects; configs are read with it elsewhere.

    Attributes:
        targets: ``model``, ``data`` and ``trainer`` → what takes their keys.
        trainer: arguments of ``lightning.Trainer`` that every run has, where text can hold them.
        left_out: names of those that it can't hold, such as callbacks.
    """

    targets: Mapping[str, Target]
    trainer: Mapping[str, Any]
    left_out: tuple[str, ...]
