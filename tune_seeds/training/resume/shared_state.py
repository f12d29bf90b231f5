"""State that a run keeps where other runs of its process see it: in a class, or a module's globals.

It is never written to, so a pause can't carry it. What a run has changed there is hashed before a
pause; if it is not the same where the run goes on, the run is not either.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import enum
import types
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from tune_seeds.training.resume.shared_objects import is_foreign, user_scopes
from tune_seeds.training.resume.state_digest import digests

_CODE = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.ModuleType,
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
    property,
    staticmethod,
    classmethod,
    type,
)


class SharedState:
    """Follows what a run changes in classes and modules of its user. Make it when training starts.

    Args:
        own: path → object of the run, from whose classes the user's modules are found.
        kinds: of the objects that hang on these.
    """

    def __init__(self, own: Mapping[str, Any], kinds: Collection[type]) -> None:
        self._own = own
        self._kinds = frozenset(kinds)
        self._changed: dict[str, str] = {}
        self._before = self._now()

    def changed(self) -> dict[str, str]:
        """What the run has changed since its beginning: name → hash."""
        now = self._now()
        names = dict.fromkeys([*self._before, *now])
        differ = [name for name in names if now.get(name) != self._before.get(name)]
        return {name: now.get(name, "") for name in [*self._changed, *differ]}

    def lost(self, changed: Mapping[str, str]) -> list[str]:
        """What is another than before the last pause, by name.

        Args:
            changed: what the run had changed by then; it is counted as its own from here on.
        """
        self._changed = dict(changed)
        return [name for name, was in changed.items() if self._before.get(name, "") != was]

    def _now(self) -> dict[str, str]:
        states = {
            name: {key: value for key, value in scope.items() if _is_state(key, value)}
            for name, scope in user_scopes(self._own, self._kinds).items()
        }
        names = {id(value): path for path, value in self._own.items()}
        return digests(states, names, opaque=_is_opaque).attributes


def _is_state(name: str, value: Any) -> bool:
    return not (name.startswith("__") or isinstance(value, _CODE) or callable(value))


def _is_opaque(value: Any) -> bool:
    """Whether an object is of a library, a logger say, which changes all the time."""
    kinds = (torch.Tensor, torch.Generator, np.ndarray, np.random.Generator, nn.Module, enum.Enum)
    if isinstance(value, kinds):
        return False
    return is_foreign(type(value).__module__)
