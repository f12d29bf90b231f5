"""Noting who seeds which generator: what a run depends on beside its seed, or instead of it."""

from __future__ import annotations

import functools
import inspect
import random
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import lightning
import numpy as np
import torch

from tune_seeds.reproduce.audit.trace import SeedCall

_LIBRARIES = frozenset(
    {"torch", "lightning", "lightning_fabric", "numpy", "ray", "tune_seeds", "torchmetrics"}
)

_FUNCTIONS: list[tuple[Any, str, str]] = [
    (random, "seed", "random.seed"),
    (np.random, "seed", "numpy.random.seed"),
    (np.random, "default_rng", "numpy.random.default_rng"),
    (torch, "manual_seed", "torch.manual_seed"),
    (torch, "seed", "torch.seed"),
    (lightning, "seed_everything", "seed_everything"),
]
_CLASSES: list[tuple[Any, str, str]] = [
    (random, "Random", "random.Random"),
    (np.random, "RandomState", "numpy.random.RandomState"),
]


@contextmanager
def noted(calls: list[SeedCall]) -> Generator[None]:
    """Append every call that seeds a generator, except those that libraries make."""
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in _FUNCTIONS + _CLASSES]
    for owner, name, title in _FUNCTIONS:
        setattr(owner, name, _noting(getattr(owner, name), title, calls))
    for owner, name, title in _CLASSES:
        setattr(owner, name, _noting_class(getattr(owner, name), title, calls))
    try:
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def _noting(function: Callable[..., Any], title: str, calls: list[SeedCall]) -> Callable[..., Any]:
    @functools.wraps(function)
    def noting(*args: Any, **kwargs: Any) -> Any:
        _note(title, args, kwargs, calls)
        return function(*args, **kwargs)

    return noting


def _noting_class(original: type, title: str, calls: list[SeedCall]) -> type:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        _note(title, args, kwargs, calls)
        original.__init__(self, *args, **kwargs)

    # A subclass of the same name, so that isinstance and pickle's look-up by name go on working.
    namespace = {"__init__": __init__, "__module__": original.__module__}
    return type(original.__name__, (original,), namespace)


def _note(title: str, args: tuple[Any, ...], kwargs: dict[str, Any], calls: list[SeedCall]) -> None:
    frame = inspect.currentframe()
    for _ in range(2):  # out of this function and of the one that was put in the original's place
        frame = None if frame is None else frame.f_back
    if frame is None:
        return
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    if package in _LIBRARIES or (package in sys.stdlib_module_names and package != "__main__"):
        return
    given = [*args, *(value for key, value in kwargs.items() if key in ("seed", "x"))]
    argument = "" if not given or given[0] is None else repr(given[0])[:80]
    calls.append(SeedCall(title, f"{frame.f_code.co_filename}:{frame.f_lineno}", argument))
