"""Data loaders that a user hands in instead of a data module."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from tune_seeds.training.config_routing import parameters


def merged_factories(loaders: Sequence[Any]) -> Callable[..., Any] | None:
    """A stand-in with the parameters of all loaders that are functions; None where none is."""
    factories = [loader for loader in loaders if _is_factory(loader)]
    if not factories:
        return None
    merged: dict[str, inspect.Parameter] = {}
    for factory in factories:
        for name, parameter in inspect.signature(factory).parameters.items():
            merged[name] = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)

    def stand_in(**kwargs: Any) -> None: ...

    stand_in.__name__ = " and ".join(factory.__name__ for factory in factories)
    cast(Any, stand_in).__signature__ = inspect.Signature(list(merged.values()))
    return stand_in


def make_loaders(loader: Any, given: Mapping[str, Any]) -> Any:
    """The loaders of one run: made by the function, or a copy of the loaders."""
    if _is_factory(loader):
        names, _ = parameters(loader)
        return loader(**{name: value for name, value in given.items() if name in names})
    return copy.deepcopy(loader)


def _is_factory(loader: Any) -> bool:
    return inspect.isfunction(loader) or inspect.ismethod(loader)
