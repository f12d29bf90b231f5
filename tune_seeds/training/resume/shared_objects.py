"""What several runs of a process share: objects of modules, classes and their globals.

A run may point into them (``self.stage = STAGES[k]``) but does not own them. They are never copied
and never written to: a pickle of the run names the way to them, which leads to the object of the
same name in the process that goes on.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import enum
import importlib
import os
import sys
import types
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from tune_seeds._compat.torch_objects import GLOBAL_GENERATORS
from tune_seeds.training.resume.run_pickle import Address, cloudpickle_finds

# A walk over all objects of a user's modules; above this many, the rest is copied by value.
_MAX_OBJECTS = 300_000

_LIBRARIES = frozenset(
    {"torch", "lightning", "lightning_fabric", "lightning_utilities", "pytorch_lightning"}
    | {"torchmetrics", "numpy", "scipy", "pandas", "sklearn", "ray", "tune_seeds", "cloudpickle"}
)
_STDLIB = os.path.dirname(os.path.realpath(os.__file__))
_ATOMS = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented))


def shared_addresses(
    own: Mapping[str, Any], kinds: Collection[type]
) -> tuple[dict[int, Address], list[Any]]:
    """The ways to the objects that a run shares with others.

    Args:
        own: path → object of the run; where the walk starts (at its class) and where it stops.
        kinds: of the objects that hang on these; the walk starts at their modules too.

    Returns:
        ``id`` → address, and the objects, which must be kept as long as the ids are used.
    """
    walk = _walked(own, kinds)
    for name, generator in GLOBAL_GENERATORS.items():
        walk.note(generator, ("shared", "generator", name))
    return walk.found, walk.kept


def user_scopes(own: Mapping[str, Any], kinds: Collection[type]) -> dict[str, dict[str, Any]]:
    """The attributes of the user's classes and the globals of the user's modules, by name.

    Args:
        own: path → object of the run.
        kinds: of the objects that hang on these.
    """
    return {name: dict(scope) for name, scope in _walked(own, kinds).scopes.items()}


def _walked(own: Mapping[str, Any], met: Collection[type]) -> _Walk:
    kinds = {kind for value in own.values() for kind in type(value).__mro__}
    users = {kind.__module__.partition(".")[0] for kind in kinds if not is_library(kind.__module__)}
    walk = _Walk({id(value) for value in own.values()}, users)
    for path, value in own.items():
        for i, kind in enumerate(type(value).__mro__):
            if not is_library(kind.__module__):
                walk.visit(kind, ("shared", "class of", path, i))
            elif not cloudpickle_finds(kind):  # torch makes a class for each parametrized layer
                walk.note(kind, ("shared", "class of", path, i))
    modules = {str(kind.__module__) for kind in met if cloudpickle_finds(kind)}
    for module in sorted(modules):
        if not is_foreign(module):
            walk.visit(sys.modules[module], ())
    return walk


def find_shared(address: Address, own: Mapping[str, Any]) -> Any:
    """The object at an address of ``shared_addresses``, in this process.

    Raises:
        LookupError: there is none.
    """
    _, start, *steps = address
    value: Any
    match start:
        case "generator":
            return GLOBAL_GENERATORS[steps[0]]
        case "class of":
            path, i, *steps = steps
            value = type(own[path]).__mro__[i]
        case _:
            value = importlib.import_module(steps.pop(0))
    for kind, key in steps:
        value = dict(_parts(value))[kind, key]
    return value


class _Walk:
    def __init__(self, own: set[int], users: set[str]) -> None:
        self._users = users
        self.found: dict[int, Address] = {}
        self.kept: list[Any] = []
        self.scopes: dict[str, Mapping[str, Any]] = {}
        self._seen = own
        self._modules: set[str] = set()

    def note(self, value: Any, address: Address) -> None:
        self.found[id(value)] = address
        self.kept.append(value)

    def _is_foreign(self, module: str) -> bool:
        # An installed package is searched where a class of the run comes from it.
        return is_library(module) or (
            module.partition(".")[0] not in self._users and _is_installed(module)
        )

    def visit(self, value: Any, address: Address) -> None:
        waiting = [(value, address)]
        while waiting and len(self.kept) < _MAX_OBJECTS:
            value, address = waiting.pop()
            if isinstance(value, _ATOMS) or id(value) in self._seen:
                continue
            self._seen.add(id(value))
            if isinstance(value, types.ModuleType):
                if self._is_foreign(value.__name__) or sys.modules.get(value.__name__) is not value:
                    continue
                address = ("shared", "module", value.__name__)
                self.scopes[value.__name__] = vars(value)
            elif isinstance(value, (type, types.FunctionType)):
                # A class made in C may have anything there.
                if self._is_foreign(str(value.__module__)):
                    continue
                found = cloudpickle_finds(value)
                if not found:
                    self.note(value, address)
                if isinstance(value, type) and not issubclass(value, enum.Enum):
                    self.scopes[f"{value.__module__}.{value.__qualname__}"] = vars(value)
                elif isinstance(value, types.FunctionType) and not found:
                    # cloudpickle gives the functions of a script globals of their own.
                    self.scopes.setdefault(value.__module__, value.__globals__)
            elif isinstance(value, types.MethodType):
                pass
            else:
                self.note(value, address)
            module = sys.modules.get(getattr(value, "__module__", None) or "")
            if module is not None and isinstance(value, (type, types.FunctionType)):
                waiting.append((module, ()))
            waiting.extend((part, (*address, step)) for step, part in _parts(value))


def _parts(value: Any) -> Iterator[tuple[tuple[str, Any], Any]]:
    """What hangs on an object, and the step that leads there."""
    if isinstance(value, types.FunctionType):
        module = sys.modules.get(value.__module__ or "")
        if module is None or vars(module) is not value.__globals__:
            yield ("globals", None), value.__globals__
        for i, cell in enumerate(value.__closure__ or ()):
            try:
                yield ("cell", i), cell.cell_contents
            except ValueError:
                continue
        for i, default in enumerate(value.__defaults__ or ()):
            yield ("default", i), default
    elif isinstance(value, (types.MethodType, staticmethod, classmethod)):
        yield ("function", None), value.__func__
    elif isinstance(value, property):
        yield ("function", None), value.fget
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(cast(list[Any], value)):
            yield ("item", i), item
    elif isinstance(value, dict):
        for key, item in list(cast(dict[Any, Any], value).items()):
            if isinstance(key, (*_ATOMS, tuple)):
                yield ("key", key), item
    elif isinstance(value, type):
        for i, base in enumerate(value.__mro__[1:], 1):
            if not is_library(base.__module__):
                yield ("base", i), base
    if isinstance(value, (torch.Tensor, np.ndarray, nn.Module)):
        return
    if isinstance(value, (type, types.ModuleType)) or (
        hasattr(value, "__dict__") and not is_library(type(value).__module__)
    ):
        for name, item in list(vars(value).items()):
            if not name.startswith("__") or callable(item):
                yield ("attribute", name), item


def is_foreign(module: str) -> bool:
    """Whether a module is none of the user's own."""
    return is_library(module) or _is_installed(module)


@cache
def _is_installed(module: str) -> bool:
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return "-packages" + os.sep in file


@cache
def is_library(module: str) -> bool:
    """Whether a module belongs to Python, torch, Lightning or the like.

    By where it lies: a user's package may be called ``code`` or ``types``.
    """
    top = module.partition(".")[0]
    if top == "__main__":
        return False
    if top in _LIBRARIES:
        return True
    found = sys.modules.get(module)
    if found is None:
        return top in sys.stdlib_module_names
    file = getattr(found, "__file__", None)
    if file is None:
        return top in sys.builtin_module_names or top in sys.stdlib_module_names
    folder = os.path.realpath(file)
    return folder.startswith(_STDLIB + os.sep) and "-packages" + os.sep not in folder
