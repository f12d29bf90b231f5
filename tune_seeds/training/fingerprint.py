"""The initial weights and the first batch of a training loop that nobody can look into."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch.nn.modules.module import register_module_forward_pre_hook


class FirstForward:
    """Notes the first forward pass in training mode in this process; ``close`` it in the end.

    Attributes:
        fingerprints: of the module's weights and of its inputs, once it has been called.
    """

    def __init__(self) -> None:
        self.fingerprints: dict[str, str] = {}
        self._hook = register_module_forward_pre_hook(self._note)

    def close(self) -> None:
        """Look no further."""
        self._hook.remove()

    def _note(self, module: torch.nn.Module, inputs: Any) -> None:
        # The outermost module is called first; what is called without gradients is an evaluation.
        if not module.training or not torch.is_grad_enabled() or self.fingerprints:
            return
        self.close()
        self.fingerprints["initial_weights"] = fingerprint(dict(module.state_dict()))
        if inputs:  # what is passed by keyword is not shown to a hook of all modules
            self.fingerprints["first_batch"] = fingerprint(inputs)


def fingerprint(value: Any) -> str:
    """A hash of tensors in any nesting, equal for equal bits.

    A fingerprint ends no training: where there is none (of parameters that are not initialized
    yet, say) it names the reason instead.
    """
    try:
        return digest(_tensors(value)).hex()
    except Exception as error:
        return f"none ({type(error).__name__})"


def _tensors(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, np.ndarray):
        array = cast(np.ndarray[Any, Any], value)
        return torch.from_numpy(array) if array.dtype.kind in "biuf" else repr(array.tolist())
    if isinstance(value, Mapping):
        return {str(k): _tensors(v) for k, v in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return [_tensors(item) for item in cast(list[Any], value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "__dict__"):
        return _tensors(vars(value))
    return type(value).__name__


def digest(state: Any) -> bytes:
    """A hash of tensors and plain types that is equal for equal bits."""
    hasher = hashlib.blake2b(digest_size=16)
    _feed(hasher, state)
    return hasher.digest()


def _feed(hasher: Any, state: Any) -> None:
    if isinstance(state, torch.Tensor):
        hasher.update(str((state.dtype, tuple(state.shape))).encode())
        flat = state.detach().cpu().contiguous().reshape(-1)
        hasher.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    elif isinstance(state, dict):
        for key, item in cast(dict[Any, Any], state).items():
            hasher.update(repr(key).encode())
            _feed(hasher, item)
    elif isinstance(state, (list, tuple)):
        hasher.update(b"[")
        for item in cast(list[Any], state):
            _feed(hasher, item)
        hasher.update(b"]")
    else:
        hasher.update(repr(state).encode())
