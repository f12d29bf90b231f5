"""Which configs are the same: an identity by value, for values of every kind.

Equal configs are one group, in one process and after a restore in another. Pickled bytes can't
tell: two pickles of equal tensors, or of one function with a global helper, may differ. So a value
is taken apart into its type and its parts, down to numbers, text and bytes:

* classes and functions of importable modules are their names, as cloudpickle keeps them; local ones
  and those of ``__main__`` are their code, defaults and closures;
* arrays, tensors and data frames are their type, shape and content;
* every other object is what its ``__reduce_ex__`` says, which is what a deep copy is made from.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import json
import re
import struct
import sys
import types
from collections.abc import Iterable
from typing import Any, cast

import numpy as np

from tune_seeds._compat.python_classes import belongs_to_abc

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")

#: Attributes of a local class that Python or cloudpickle makes, equal or not for equal classes.
_INCIDENTAL = frozenset(
    {
        "__dict__",
        "__weakref__",
        "__module__",
        "__doc__",
        "__qualname__",
        "__firstlineno__",
        "__static_attributes__",
        "__annotations__",
        "__annotate__",
        "__dataclass_fields__",
        "__dataclass_params__",
        "__slotnames__",
    }
)


def identity(config: dict[str, Any]) -> bytes:
    """Bytes that are equal for equal configs, whatever the order of their keys.

    Args:
        config: values of any type, nested in any way.

    Example:
        >>> identity({"a": 1, "b": [2]}) == identity({"b": [2], "a": 1})
        True
        >>> identity({"a": 1}) == identity({"a": 1.0})
        False
    """
    return _Digests().of(config)


class _Digests:
    """The digests of one config's values; shared and cyclic objects are taken apart once."""

    def __init__(self) -> None:
        self._done: dict[int, bytes] = {}
        self._open: dict[int, int] = {}
        self._alive: list[Any] = []  # so that no id is given to another object meanwhile

    def of(self, value: Any) -> bytes:
        """The digest of a value."""
        if value is None or type(value) in (bool, int, float, str, bytes, complex):
            return _digest(type(value).__name__, [repr(value).encode()])
        key = id(value)
        if key in self._done:
            return self._done[key]
        if key in self._open:  # a cycle: how far up it leads back
            return _digest("cycle", [str(len(self._open) - self._open[key]).encode()])
        self._open[key] = len(self._open)
        self._alive.append(value)
        try:
            found = self._taken_apart(value)
        finally:
            del self._open[key]
        self._done[key] = found
        return found

    def _taken_apart(self, value: Any) -> bytes:
        kind = type(value)
        name = _name(kind)
        if isinstance(value, enum.Enum):
            return _digest("enum", [self.of(kind), value.name.encode()])
        if kind in (dict, types.MappingProxyType):
            pairs = [self._all(item) for item in cast(dict[Any, Any], value).items()]
            return _digest("dict", sorted(pairs))
        if kind in (set, frozenset):
            return _digest(name, sorted(map(self.of, cast(Iterable[Any], value))))
        if kind in (list, tuple):
            return _digest(name, map(self.of, cast(Iterable[Any], value)))
        if isinstance(value, type):
            return self._of_class(cast(Any, value))
        if isinstance(value, functools.partial):
            made = cast(Any, value)
            return _digest(name, [self._all((made.func, made.args, made.keywords))])
        if isinstance(value, types.ModuleType):
            return _digest("module", [value.__name__.encode()])
        if isinstance(value, types.FunctionType):
            return self._of_function(value)
        if isinstance(value, types.MethodType):
            return _digest("method", [self.of(value.__func__), self.of(value.__self__)])
        if isinstance(value, types.CodeType):
            return self._of_code(value)
        if isinstance(value, types.CellType):
            return self._of_cell(value)
        if isinstance(value, np.ndarray):
            return self._of_array(cast(Any, value))
        if isinstance(value, np.generic):
            return _digest(name, [str(value.dtype).encode(), value.tobytes()])
        if dataclasses.is_dataclass(value):
            # cloudpickle 3.1 gives a local class with slots back without them.
            names = [field.name for field in dataclasses.fields(value)]
            fields = [(name, getattr(value, name, None)) for name in names]
            return _digest("dataclass", [self.of(kind), self._all(fields)])
        return self._of_library(value) or self._of_object(value)

    def _all(self, values: Iterable[Any]) -> bytes:
        return _digest("all", map(self.of, values))

    def _of_class(self, value: type[Any]) -> bytes:
        if _importable(value):
            return _digest("class", [_name(value).encode()])
        # cloudpickle 3.1 loses the qualified name of a local class.
        name = f"{value.__module__}.{value.__name__}".encode()
        if issubclass(value, enum.Enum):
            members = [(member.name, member.value) for member in cast(Iterable[enum.Enum], value)]
            return _digest("local enum", [name, self._all(members)])
        attributes = {
            key: attribute
            for key, attribute in vars(value).items()
            if key not in _INCIDENTAL
            and not belongs_to_abc(key)
            and not isinstance(attribute, (types.MemberDescriptorType, types.GetSetDescriptorType))
        }
        if dataclasses.is_dataclass(value):
            # What the decorator has made differs in a class that comes back without its slots.
            attributes = {k: v for k, v in attributes.items() if not k.startswith("__")}
            attributes["__fields__"] = [(f.name, f.default) for f in dataclasses.fields(value)]
        return _digest("local class", [name, self._all(value.__bases__), self.of(attributes)])

    def _of_function(self, value: types.FunctionType) -> bytes:
        if _importable(value):
            return _digest("function", [_name(value).encode()])
        own = {k: v for k, v in vars(value).items() if k != "__wrapped__"}
        parts = (value.__code__, value.__defaults__, value.__kwdefaults__, value.__closure__, own)
        return _digest("local function", [_name(value).encode(), self._all(parts)])

    def _of_code(self, code: types.CodeType) -> bytes:
        # Not where it stands in its file: moving a function down a line changes nothing.
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        counts = (code.co_argcount, code.co_kwonlyargcount, code.co_posonlyargcount, code.co_flags)
        parts = (code.co_code, code.co_consts, names, counts)
        return _digest("code", [self._all(parts)])

    def _of_cell(self, cell: types.CellType) -> bytes:
        try:
            return _digest("cell", [self.of(cell.cell_contents)])
        except ValueError:
            return _digest("empty cell", [])

    def _of_array(self, array: np.ndarray) -> bytes:
        about = f"{_name(type(array))} {array.dtype.descr} {array.shape}".encode()
        if array.dtype.hasobject:
            return _digest("array", [about, self.of(array.tolist())])
        parts = [about, np.ascontiguousarray(array).tobytes()]
        if isinstance(array, np.ma.MaskedArray):
            parts.append(np.ma.getmaskarray(array).tobytes())
        return _digest("array", parts)

    def _of_library(self, value: Any) -> bytes | None:
        """Tensors and data frames, of libraries that are imported where there are any."""
        torch = cast(Any, sys.modules.get("torch"))
        if torch is not None:
            if isinstance(value, torch.Tensor) and value.layout == torch.strided:
                return self._of_tensor(torch, value)
            if isinstance(value, (torch.dtype, torch.device, torch.layout, torch.memory_format)):
                return _digest(_name(type(value)), [str(value).encode()])
        pandas = cast(Any, sys.modules.get("pandas"))
        if pandas is not None and isinstance(value, (pandas.DataFrame, pandas.Series)):
            frame: Any = value if isinstance(value, pandas.DataFrame) else value.to_frame()
            columns = [
                (str(frame.dtypes.iloc[k]), frame.iloc[:, k].tolist())
                for k in range(frame.shape[1])
            ]
            labels = (frame.index.tolist(), frame.index.names, frame.columns.tolist())
            return _digest(_name(type(value)), [self._all((*labels, columns))])
        return None

    def _of_tensor(self, torch: Any, tensor: Any) -> bytes:
        about = (
            f"{_name(type(tensor))} {tensor.dtype} {tuple(tensor.shape)} {tensor.requires_grad}"
        ).encode()
        if tensor.is_meta or tensor.is_quantized:
            return _digest("tensor", [about, _text(tensor)])
        flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        return _digest("tensor", [about, flat.view(torch.uint8).numpy().tobytes()])

    def _of_object(self, value: Any) -> bytes:
        try:
            reduced = value.__reduce_ex__(4)
        except Exception:  # what can't be copied can't go to a run either; Ray says so
            return _digest(_name(type(value)), [_text(value)])
        if isinstance(reduced, str):  # a global of its module
            home = str(getattr(value, "__module__", None))
            return _digest("global", [f"{_name(type(value))} {home}.{reduced}".encode()])
        make, arguments, *rest = reduced
        rest += [None] * (3 - len(rest))
        state, items, pairs = rest[:3]
        parts = [
            _digest("type", [self.of(type(value))]),
            self.of(make),
            self.of(arguments),
            self.of(state),
            self._all(list(items or ())),
            self._all([list(pair) for pair in pairs or ()]),
        ]
        return _digest("object", parts)


def _digest(kind: str, parts: Iterable[bytes]) -> bytes:
    total = hashlib.blake2b(digest_size=16)
    for part in (kind.encode(), *parts):
        total.update(struct.pack("<q", len(part)))
        total.update(part)
    return total.digest()


def _importable(value: Any) -> bool:
    """Whether an object is found again by its name, as cloudpickle looks for it."""
    module = getattr(value, "__module__", None)
    if not isinstance(module, str) or module == "__main__" or module not in sys.modules:
        return False
    found: Any = sys.modules[module]
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is value


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', None)}.{value.__qualname__}"


def _text(value: Any) -> bytes:
    return json.dumps(_ADDRESS.sub("", repr(value))).encode()
