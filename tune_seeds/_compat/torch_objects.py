# pyright: reportPrivateUsage=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""What torch and NumPy keep in private places (torch 2.6 … 2.13, NumPy 1.26 … 2.4).

torch's own pickling leaves all of it out, with a warning where there are hooks.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

#: The parameters of a lazy layer before its first call.
Uninitialized: Any = cast(Any, nn.parameter).UninitializedTensorMixin

#: The generators that every run of a process draws from; there is no public name for the objects.
GLOBAL_GENERATORS: dict[str, Any] = {
    "torch": torch.default_generator,
    "numpy": cast(Any, np.random.mtrand)._rand,
    "python": cast(Any, random)._inst,
}

#: Layers that compute something else in train mode than in eval mode: dropout and batch norm of any
#: dimension. Their common base classes are private, and other packages' layers derive from them.
DIFFERS_IN_TRAINING: tuple[type[nn.Module], ...] = (
    nn.modules.dropout._DropoutNd,
    nn.modules.batchnorm._BatchNorm,
)


def tensors_of(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """A module's own parameters and buffers, those that no ``state_dict`` holds included."""
    for own in (module._parameters, module._buffers):
        for name, tensor in own.items():
            if tensor is not None:
                yield name, tensor


def tensor_state(tensor: torch.Tensor) -> dict[str, Any]:
    """What a tensor holds beside its data: a gradient, attributes and hooks."""
    given: dict[str, Any] = {"vars": dict(vars(tensor)), "hooks": tensor._backward_hooks}
    if tensor.is_leaf:
        given["grad"] = tensor.grad
        given["accumulated"] = getattr(tensor, "_post_accumulate_grad_hooks", None)
    return {
        name: value
        for name, value in given.items()
        if value is not None and not (name == "vars" and not value)
    }


def set_tensor_state(tensor: torch.Tensor, state: Mapping[str, Any]) -> None:
    """Put back what ``tensor_state`` returned."""
    vars(tensor).clear()
    vars(tensor).update(state.get("vars", {}))
    tensor._backward_hooks = state.get("hooks")
    if tensor.is_leaf:
        tensor.grad = state.get("grad")
        cast(Any, tensor)._post_accumulate_grad_hooks = state.get("accumulated")


def next_hook() -> int:
    """The key that the next hook of this process gets; torch counts them in no public place."""
    return int(RemovableHandle.next_id)


def set_next_hook(number: int) -> None:
    """Give later hooks keys from here on, so that none takes the place of one that came back."""
    RemovableHandle.next_id = max(int(RemovableHandle.next_id), number)


def is_wrapper(tensor: torch.Tensor) -> bool:
    """Whether a tensor is made of others (a DTensor, say) and knows itself how it is pickled."""
    dispatch: Any = cast(Any, type(tensor)).__torch_dispatch__
    return dispatch is not cast(Any, torch.Tensor).__torch_dispatch__


def holds_local_part(tensor: torch.Tensor) -> bool:
    """Whether a tensor is the local part of a distributed one (a ``DTensor``).

    ``torch.distributed.tensor.DTensor`` is the public class, and its import takes a second.
    """
    return hasattr(tensor, "_local_tensor")
