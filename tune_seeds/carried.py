# pyright: reportPrivateUsage=false
"""State of a run that no ``state_dict`` holds: generators, counters, shadow weights.

A Lightning checkpoint holds what ``state_dict`` returns. A user's own ``torch.Generator``, a
running mean kept as a float on the module, an EMA copy on a callback without ``state_dict``: each
changes what the next epoch computes, and each is lost on a resume. So what is reachable from the
objects of a run is walked, and whatever changed since training began travels too.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import hashlib
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from torch import nn

# Above any counter or shadow value; below a data set, whose hash at each rung costs seconds.
_MAX_BYTES = 2**26
_MAX_ITEMS = 1000
_MAX_DEPTH = 8

# Their objects hold what state_dict returns, or nothing; they are searched for a user's objects.
_FOREIGN = frozenset({"torch", "lightning", "numpy", "pandas", "ray", "tune_seeds"})
_LIBRARY_ATTRIBUTES = frozenset(vars(LightningModule())) | frozenset(
    {
        *vars(LightningDataModule()),
        *vars(Callback()),
        "_hparams",
        "_hparams_initial",
        "_hparams_name",
    }
)


@dataclass(frozen=True, slots=True)
class Slot:
    """One place in the objects of a run that holds state.

    Attributes:
        get: the state as tensors and plain types.
        put: puts such a state back.
        always: it travels even where it has not changed (generators: reading them is cheap).
        plain: the state is the value itself, so that a place that is not there can be made.
    """

    get: Callable[[], Any]
    put: Callable[[Any], None]
    always: bool = False
    plain: bool = False


class Carried:
    """What changed in the objects of a run since training began.

    Args:
        roots: name → module, data module, callback or loader.
    """

    def __init__(self, roots: Mapping[str, Any]) -> None:
        self._roots = roots
        self._pristine = {
            path: b"" if slot.always else digest(slot.get()) for path, slot in self._walk()
        }

    def state(self) -> dict[str, Any]:
        """The changed states by path."""
        changed: dict[str, Any] = {}
        for path, slot in self._walk():
            state = slot.get()
            if slot.always or digest(state) != self._pristine.get(path):
                changed[path] = {"state": state, "plain": slot.plain}
        return changed

    def restore(self, state: Mapping[str, Any]) -> list[str]:
        """Put states back.

        Returns:
            The paths that are not there any more: made later than training starts.
        """
        slots = dict(self._walk())
        missing: list[str] = []
        for path, saved in state.items():
            slot = slots.get(path) or (self._parent_slot(path) if saved["plain"] else None)
            if slot is None:
                missing.append(path)
            else:
                slot.put(saved["state"])
        return missing

    def _parent_slot(self, path: str) -> Slot | None:
        """A slot for a plain attribute that does not exist yet, on an owner that does."""
        root, *rest = path.split("/")
        owner = self._roots.get(root)
        for name in rest[:-1]:
            owner = vars(owner).get(name) if hasattr(owner, "__dict__") else None
        if owner is None or not rest or not hasattr(owner, "__dict__"):
            return None
        return Slot(lambda: None, lambda value: setattr(owner, rest[-1], _decode(value)))

    def _walk(self) -> Iterator[tuple[str, Slot]]:
        seen: set[int] = set()
        # Modules below a root module have their weights in its state_dict already.
        for root in self._roots.values():
            if isinstance(root, nn.Module):
                seen.update(id(module) for module in root.modules() if module is not root)
        for name, root in self._roots.items():
            if isinstance(root, nn.Module):
                for path, module in root.named_modules():
                    seen.discard(id(module))
                    yield from _walk(module, f"{name}/{path}" if path else name, seen, 0, True)
            else:
                yield from _walk(root, name, seen, 0, False)


def generator_paths(value: Any) -> list[str]:
    """Where an object holds random generators of its own."""
    return [path for path, slot in _walk(value, "dataset", set(), 0, False) if slot.always]


def _walk(
    value: Any, path: str, seen: set[int], depth: int, weights_saved: bool
) -> Iterator[tuple[str, Slot]]:
    if id(value) in seen or depth > _MAX_DEPTH or isinstance(value, (Trainer, type, ModuleType)):
        return
    seen.add(id(value))
    generator = _generator_slot(value)
    if generator is not None:
        yield path, generator
        return
    if isinstance(value, nn.Module) and not weights_saved:
        module = value
        seen.update(id(child) for child in module.modules())
        yield path, Slot(lambda: dict(module.state_dict()), lambda s: _load(module, s))
        return
    if isinstance(value, (list, tuple)) and len(cast(list[Any], value)) <= _MAX_ITEMS:
        for i, item in enumerate(cast(list[Any], value)):
            yield from _walk(item, f"{path}/{i}", seen, depth + 1, False)
        return
    if isinstance(value, dict) and len(cast(dict[Any, Any], value)) <= _MAX_ITEMS:
        for key, item in cast(dict[Any, Any], value).items():
            yield from _walk(item, f"{path}/{key}", seen, depth + 1, False)
        return
    package = type(value).__module__.partition(".")[0]
    if not hasattr(value, "__dict__") or package in sys.stdlib_module_names:
        return
    ours = package not in _FOREIGN
    if isinstance(value, nn.Module):
        persistent = value._non_persistent_buffers_set
        for name in sorted(persistent):
            if value._buffers.get(name) is not None:
                yield f"{path}/{name}", _buffer_slot(value, name)
    for name, item in list(vars(value).items()):
        if name in _LIBRARY_ATTRIBUTES or isinstance(item, (nn.Parameter, Trainer)):
            continue
        where = f"{path}/{name}"
        if ours and is_plain(item):
            yield where, _attribute_slot(value, name)
        elif not isinstance(item, torch.Tensor):
            yield from _walk(item, where, seen, depth + 1, False)


def is_plain(value: Any) -> bool:
    """Whether a value can travel as tensors and plain types."""
    if value is None or isinstance(value, (bool, int, float, str, np.generic)):
        return True
    if isinstance(value, torch.Tensor):
        return not isinstance(value, nn.Parameter) and value.numel() * value.itemsize < _MAX_BYTES
    if isinstance(value, np.ndarray):
        array = cast(np.ndarray[Any, Any], value)
        return array.dtype.kind in "biuf" and array.nbytes < _MAX_BYTES
    if isinstance(value, (list, tuple, set, deque)):
        items = cast(list[Any], value)
        return len(items) <= _MAX_ITEMS and all(map(is_plain, items))
    if isinstance(value, dict):
        pairs = cast(dict[Any, Any], value)
        return len(pairs) <= _MAX_ITEMS and all(
            isinstance(key, (str, int)) and is_plain(item) for key, item in pairs.items()
        )
    return False


def _encode(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return {"__numpy__": torch.from_numpy(cast(np.ndarray[Any, Any], value).copy())}
    if isinstance(value, (set, deque)):
        kind = type(cast(Any, value)).__name__
        limit = cast(deque[Any], value).maxlen if isinstance(value, deque) else None
        items = sorted(value, key=repr) if isinstance(value, set) else value
        return {"__kind__": kind, "items": [_encode(item) for item in items], "maxlen": limit}
    if isinstance(value, (list, tuple)):
        encoded = [_encode(item) for item in cast(list[Any], value)]
        return encoded if isinstance(value, list) else tuple(encoded)
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in cast(dict[Any, Any], value).items()}
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        pairs = cast(dict[Any, Any], value)
        if "__numpy__" in pairs:
            return pairs["__numpy__"].cpu().numpy()
        if "__kind__" in pairs:
            items = [_decode(item) for item in pairs["items"]]
            return set(items) if pairs["__kind__"] == "set" else deque(items, pairs["maxlen"])
        return {key: _decode(item) for key, item in pairs.items()}
    if isinstance(value, (list, tuple)):
        decoded = [_decode(item) for item in cast(list[Any], value)]
        return decoded if isinstance(value, list) else tuple(decoded)
    return value


def _attribute_slot(owner: Any, name: str) -> Slot:
    def put(value: Any) -> None:
        new, old = _decode(value), getattr(owner, name, None)
        if isinstance(new, torch.Tensor) and isinstance(old, torch.Tensor):
            new = new.to(old.device)
        if isinstance(new, dict) and isinstance(old, dict):  # a Counter stays a Counter
            cast(dict[Any, Any], old).clear()
            cast(dict[Any, Any], old).update(cast(dict[Any, Any], new))
            return
        setattr(owner, name, new)

    return Slot(lambda: _encode(getattr(owner, name)), put, plain=True)


def _buffer_slot(module: nn.Module, name: str) -> Slot:
    def put(value: torch.Tensor) -> None:
        buffer = module._buffers[name]
        module._buffers[name] = value if buffer is None else value.to(buffer.device)

    return Slot(lambda: cast(torch.Tensor, module._buffers[name]).detach().clone(), put)


def _generator_slot(value: Any) -> Slot | None:
    if isinstance(value, torch.Generator):
        return Slot(value.get_state, lambda s: _ignore(value.set_state(s.cpu())), always=True)
    if isinstance(value, np.random.Generator):
        bits = cast(Any, value.bit_generator)
        return Slot(
            lambda: _encode(bits.state),
            lambda s: setattr(bits, "state", _decode(s)),
            always=True,
        )
    if isinstance(value, np.random.RandomState):
        state = value
        return Slot(
            lambda: _encode(state.get_state(legacy=False)),
            lambda s: state.set_state(_decode(s)),
            always=True,
        )
    if isinstance(value, random.Random):
        own = value
        return Slot(
            lambda: _plain_random(own.getstate()),
            lambda s: own.setstate((s[0], tuple(s[1].tolist()), s[2])),
            always=True,
        )
    return None


def _plain_random(state: tuple[Any, ...]) -> list[Any]:
    return [state[0], torch.tensor(state[1]), state[2]]


def _load(module: nn.Module, state: Mapping[str, Any]) -> None:
    module.load_state_dict(dict(state))


def _ignore(_: object) -> None: ...


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
