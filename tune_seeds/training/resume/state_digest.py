"""A hash of each attribute of a run's objects, to see what a pause has changed.

Values, types, flags, gradients and aliases count: two attributes that held one list must hold one
list again. What has no content of its own to look at counts by its type alone.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import enum
import functools
import hashlib
import marshal
import types
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from tune_seeds._compat.torch_objects import Uninitialized, holds_local_part, tensor_state
from tune_seeds.training.resume.run_pickle import RAW, raw_state

#: From this size on an array that has not changed does not travel.
LARGE_BYTES = 2**20


# A container of more items is hashed at once where all of it is plain.
_MANY = 1000


@dataclass(frozen=True, slots=True)
class Large:
    """A large array or tensor.

    Attributes:
        path: where it was met first.
        digest: of its content.
        value: itself.
    """

    path: str
    digest: str
    value: Any


@dataclass(frozen=True, slots=True)
class Digests:
    """What ``digests`` finds.

    Attributes:
        attributes: path of an attribute → hash.
        large: path → large array.
        kinds: the classes of the objects that were met.
    """

    attributes: dict[str, str]
    large: dict[str, Large]
    kinds: set[type]

    def differences(self, before: Mapping[str, str]) -> list[str]:
        """The attributes that are not as they were."""
        paths = [*before, *(path for path in self.attributes if path not in before)]
        return [path for path in paths if self.attributes.get(path) != before.get(path)]


def digests(
    states: Mapping[str, Mapping[str, Any]],
    names: Mapping[int, str],
    opaque: Callable[[Any], bool] = lambda value: False,
) -> Digests:
    """Hash the attributes of a run's objects.

    Args:
        states: path of an object → its attributes.
        names: ``id`` of an object of the run → its path; such objects count by their path.
        opaque: whether an instance of some class counts by its class alone.
    """
    walk = _Walk(names, opaque)
    attributes = {
        f"{path}.{name}" if name else path: walk.attribute(f"{path}.{name}", value)
        for path, state in states.items()
        for name, value in state.items()
    }
    return Digests(attributes, walk.large, walk.kinds)


class _Walk:
    def __init__(self, names: Mapping[int, str], opaque: Callable[[Any], bool]) -> None:
        self._names = names
        self._opaque = opaque
        self._seen: dict[Any, str] = {}
        self._kept: list[Any] = []
        self.large: dict[str, Large] = {}
        self.kinds: set[type] = set()
        self._path = ""
        self._n = 0

    def attribute(self, path: str, value: Any) -> str:
        self._path, self._n = path, 0
        hasher = hashlib.blake2b(digest_size=8)
        try:
            self._feed(hasher, _without_hook_keys(path, value))
        except RecursionError:
            hasher.update(b"too deep")
        return hasher.hexdigest()

    def _feed(self, hasher: Any, value: Any) -> None:
        kind = type(value)
        if kind is int:
            hasher.update(f"int {self._names.get(value, value)}".encode())
            return
        if value is None or kind in (bool, float, complex, str, bytes):
            hasher.update(f"{kind.__name__} {value!r}".encode())
            return
        hasher.update(f"{kind.__module__}.{kind.__qualname__}".encode())
        if isinstance(value, enum.Enum):
            hasher.update(repr(value.name).encode())
        elif isinstance(value, (np.generic, torch.dtype, torch.device, torch.layout, torch.Size)):
            hasher.update(repr(value).encode())
        elif id(value) in self._names:
            hasher.update(f"the run's {self._names[id(value)]}".encode())
        elif isinstance(value, type):
            hasher.update(f"{value.__module__}.{value.__qualname__}".encode())
        elif isinstance(value, (types.ModuleType, types.BuiltinFunctionType)):
            hasher.update(value.__name__.encode())
        elif isinstance(value, (tuple, frozenset)) or not self._met(hasher, id(value), value):
            self._content(hasher, value)

    def _met(self, hasher: Any, key: Any, value: Any) -> bool:
        """Whether it was met before: then the place of the first meeting counts."""
        first = self._seen.get(key)
        if first is not None:
            hasher.update(f"same as {first}".encode())
            return True
        self._n += 1
        self._seen[key] = f"{self._path}#{self._n}"
        self._kept.append(value)  # its id is a key
        return False

    def _content(self, hasher: Any, value: Any) -> None:
        self.kinds.add(type(value))
        if isinstance(value, torch.Tensor):
            self._tensor(hasher, value)
        elif isinstance(value, np.ndarray):
            self._array(hasher, cast(Any, value))
        elif isinstance(value, (list, tuple, dict, set, frozenset, deque)):
            self._container(hasher, cast(Any, value))
        elif isinstance(value, torch.Generator):
            hasher.update(value.get_state().numpy().tobytes())
        elif isinstance(value, weakref.ReferenceType):
            self._feed(hasher, cast(Any, value)())
        elif isinstance(value, types.FunctionType):
            self._function(hasher, value)
        elif isinstance(value, types.MethodType):
            self._feed(hasher, [value.__func__.__qualname__, value.__self__])
        elif isinstance(value, functools.partial):
            part = cast(Any, value)
            self._feed(hasher, [part.func, part.args, part.keywords])
        elif isinstance(value, RAW):
            self._named(hasher, raw_state(value))
        elif not self._opaque(value):
            self._instance(hasher, value)

    def _instance(self, hasher: Any, value: Any) -> None:
        slots = {
            name: getattr(value, name)
            for base in type(value).__mro__
            for name in cast(Any, _slots(base))
            if name not in ("__dict__", "__weakref__") and hasattr(value, name)
        }
        if hasattr(value, "__dict__") or slots:
            self._named(hasher, {**getattr(value, "__dict__", {}), **slots})
            if type(value).__reduce_ex__ is object.__reduce_ex__ and (
                type(value).__reduce__ is object.__reduce__
            ):
                return
        try:
            reduced = value.__reduce_ex__(4)
        except Exception:
            return  # nothing to look at
        if isinstance(reduced, tuple):
            for part in cast(tuple[Any, ...], reduced):
                if hasattr(part, "__next__"):
                    part = list(part)
                self._feed(hasher, part)

    def _named(self, hasher: Any, state: Mapping[str, Any]) -> None:
        for name in sorted(state, key=str):
            hasher.update(f"{name} =".encode())
            self._feed(hasher, _without_hook_keys(name, state[name]))

    def _container(self, hasher: Any, value: Any) -> None:
        hasher.update(f"{len(value)}".encode())
        if len(value) > _MANY:
            try:
                # Version 0 knows no references: equal values have equal bytes.
                hasher.update(marshal.dumps(value, 0))
                return
            except ValueError:
                pass
        if isinstance(value, dict):
            for key, item in value.items():
                self._feed(hasher, key)
                self._feed(hasher, item)
        elif isinstance(value, (set, frozenset)):
            parts: list[bytes] = []
            for item in value:
                own = hashlib.blake2b(digest_size=8)
                self._feed(own, item)
                parts.append(own.digest())
            for part in sorted(parts):
                hasher.update(part)
        else:
            for item in value:
                self._feed(hasher, item)
        for name in ("maxlen", "default_factory"):
            self._feed(hasher, getattr(value, name, None))
        if getattr(value, "__dict__", None):
            self._named(hasher, vars(value))

    def _function(self, hasher: Any, function: types.FunctionType) -> None:
        hasher.update(f"{function.__module__}.{function.__qualname__}".encode())
        hasher.update(function.__code__.co_code)
        cells: list[Any] = []
        for cell in function.__closure__ or ():
            try:
                cells.append(cell.cell_contents)
            except ValueError:
                cells.append(None)
        self._feed(hasher, [cells, function.__defaults__, function.__kwdefaults__])

    def _tensor(self, hasher: Any, tensor: torch.Tensor) -> None:
        hasher.update(f"{tensor.dtype} {tensor.layout} {tensor.device.type}".encode())
        if tensor.is_leaf:
            hasher.update(f"{tensor.requires_grad}".encode())
        if not isinstance(tensor, Uninitialized):
            plain = tensor.detach()
            if type(plain) is not torch.Tensor and not holds_local_part(plain):
                plain = plain.as_subclass(torch.Tensor)
            self._plain(hasher, plain)
        self._named(hasher, tensor_state(tensor))

    def _plain(self, hasher: Any, plain: torch.Tensor) -> None:
        if plain.device.type == "meta":
            hasher.update(repr(tuple(plain.shape)).encode())
        elif plain.is_nested:
            for part in plain.unbind():
                self._plain(hasher, part)
        elif plain.layout is torch.sparse_coo:
            plain = plain if plain.is_coalesced() else plain.coalesce()
            self._plain(hasher, plain.indices())
            self._plain(hasher, plain.values())
        elif plain.layout in (torch.sparse_csr, torch.sparse_bsr):
            for part in (plain.crow_indices(), plain.col_indices(), plain.values()):
                self._plain(hasher, part)
        elif plain.layout in (torch.sparse_csc, torch.sparse_bsc):
            for part in (plain.ccol_indices(), plain.row_indices(), plain.values()):
                self._plain(hasher, part)
        elif plain.layout is not torch.strided:
            hasher.update(repr(plain).encode())
        else:
            hasher.update(repr((tuple(plain.shape), plain.is_quantized)).encode())
            if plain.is_quantized:
                plain = plain.int_repr()
            storage = plain.untyped_storage().data_ptr()
            if storage:
                self._met(hasher, ("memory", storage), plain)
            content = plain.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
            if content.numel():
                self._bytes(hasher, content.view(torch.uint8).numpy(), plain)

    def _array(self, hasher: Any, array: np.ndarray[Any, Any]) -> None:
        hasher.update(f"{array.dtype} {array.shape} {array.flags.writeable}".encode())
        if array.dtype.hasobject:
            self._feed(hasher, array.tolist())
            return
        owner: Any = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        pointer = owner.__array_interface__["data"][0]
        if owner.nbytes:
            self._met(hasher, ("memory", pointer), owner)
        if isinstance(array, np.memmap) and array.mode in ("r", "c"):
            hasher.update(f"{array.filename} {array.offset}".encode())
            return
        if array.nbytes:
            flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            self._bytes(hasher, flat, array)

    def _bytes(self, hasher: Any, content: Any, value: Any) -> None:
        if content.nbytes < LARGE_BYTES:
            hasher.update(content)
            return
        own = hashlib.blake2b(content, digest_size=16)
        hasher.update(own.digest())
        # A part of an array would leave the rest of its memory out.
        if value.base is None if isinstance(value, np.ndarray) else _is_whole(value):
            path = f"{self._path}#{self._n}"
            self.large[path] = Large(path, own.hexdigest(), value)


def _without_hook_keys(name: str, value: Any) -> Any:
    """A table of hooks by their order: torch counts their keys over all runs of a process."""
    hooks = "hooks" in name.rpartition(".")[2] or name == "accumulated"
    if hooks and isinstance(value, dict) and all(type(key) is int for key in value):
        return list(cast(dict[int, Any], value).values())
    return value


def _is_whole(tensor: torch.Tensor) -> bool:
    return tensor.is_contiguous() and tensor.nbytes == tensor.untyped_storage().nbytes()


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    private = f"_{kind.__name__.lstrip('_')}"
    return tuple(
        f"{private}{name}" if name.startswith("__") and not name.endswith("__") else name
        for name in names
    )
