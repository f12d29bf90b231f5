"""The objects of a run as one pickle, in which whatever outlives the run is only named.

A run's state is a graph: an optimizer's groups hold the module's parameters, a hook holds the list
it appends to, two attributes hold one tensor. Pickled as a whole it comes back with every such
alias. Three kinds of objects are written as an *address* instead of by value, and are looked up
again when the pickle is read: the run's own objects that are built anew before it goes on (modules,
parameters, optimizers, the trainer), what several runs share (classes, functions, their globals,
objects of a module), and large arrays that training has not changed.

Tensors lie beside the pickle, as plain storages: ``torch.save`` then writes those that the
Lightning checkpoint holds too only once, and the file stays loadable with ``weights_only=True``.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import enum
import io
import pickle
import sys
import threading
import types
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import cloudpickle
import numpy as np
import torch
from torch import nn

from tune_seeds._compat.lightning_modules import forget_metric_names
from tune_seeds._compat.torch_objects import (
    Uninitialized,
    is_wrapper,
    set_tensor_state,
    tensor_state,
)

#: Classes that pickle themselves in part only, or not at all.
RAW = (
    nn.Module,
    torch.optim.Optimizer,
    torch.optim.lr_scheduler.LRScheduler,
    torch.amp.GradScaler,
)

#: Where an object is found again when a run goes on.
Address = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Pickled:
    """What ``dumps`` makes of an object.

    Attributes:
        data: the pickle; reading it runs code, as with any pickle.
        tensors: the contents of its tensors, without anything to run.
    """

    data: bytes
    tensors: list[torch.Tensor]


class UnpicklableError(TypeError):
    """An object can't travel: neither by value nor by a name that another process knows."""


def dumps(value: Any, addresses: Mapping[int, Address]) -> Pickled:
    """Pickle a part of a run.

    Args:
        value: what is pickled.
        addresses: ``id`` of an object → where it is found again; the objects must be alive.

    Raises:
        Exception: something in it can't be pickled; whatever its own pickling raises.
    """
    file = io.BytesIO()
    pickler = _Pickler(file, addresses)
    pickler.dump(value)
    return Pickled(file.getvalue(), pickler.tensors)


def loads(
    pickled: Pickled, find: Callable[[Address], Any], device: torch.device | None = None
) -> Any:
    """Read what ``dumps`` wrote.

    Args:
        pickled: from ``dumps``; its tensors become those of the result.
        find: an address → the object that is there now.
        device: where tensors go that did not lie in main memory.

    Raises:
        Exception: an address is not there any more, or whatever unpickling raises.
    """
    return _Unpickler(io.BytesIO(pickled.data), pickled.tensors, find, device).load()


class _Content:
    """Stands for a tensor of the list beside the pickle."""

    def __init__(self, index: int, on_device: bool) -> None:
        self.address = ("content", index, on_device)


class _Pickler(cloudpickle.Pickler):
    def __init__(self, file: io.BytesIO, addresses: Mapping[int, Address]) -> None:
        super().__init__(file, protocol=5)
        self.tensors: list[torch.Tensor] = []
        self._addresses = addresses
        self._contents: dict[tuple[Any, ...], _Content] = {}
        self._kept: list[Any] = []

    def persistent_id(self, obj: Any) -> Address | None:
        if type(obj) is int:
            # A user's table may be keyed by id(parameter), which is another one in a new process.
            address = self._addresses.get(obj) if obj > 2**20 else None
            return None if address is None else ("id", address)
        if type(obj) is _Content or type(obj) is _Large:
            return obj.address
        address = self._addresses.get(id(obj))
        if address is None and type(obj) is dict:
            name = cast(Any, obj).get("__name__")
            module = sys.modules.get(name) if type(name) is str else None
            if module is not None and vars(module) is obj:
                return ("globals", name)
        return address

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type):
            return _class(obj) or super().reducer_override(obj)
        for kind, reduce in _REDUCERS:
            if isinstance(obj, kind):
                return reduce(obj)
        if isinstance(obj, torch.Tensor):
            return self._tensor(obj)
        if isinstance(obj, np.ndarray):
            return _array(cast(Any, obj))
        return NotImplemented

    def _tensor(self, tensor: torch.Tensor) -> Any:
        kind = type(tensor)
        if is_wrapper(tensor):
            return NotImplemented
        leaf = tensor.is_leaf
        if isinstance(tensor, Uninitialized):
            made = (_uninitialized, (kind, tensor.requires_grad))
        else:
            needed = tensor.requires_grad and leaf  # the graph that made another one is gone
            made = (_made, (kind, *self._plain(tensor), needed))
        state = tensor_state(tensor)
        return (*made, state, None, None, set_tensor_state) if state else made

    def _plain(self, tensor: torch.Tensor) -> tuple[Any, ...]:
        plain = tensor.detach()
        if type(plain) is not torch.Tensor:
            plain = plain.as_subclass(torch.Tensor)
        simple = (
            plain.layout is torch.strided
            and plain.device.type != "meta"
            and not (plain.is_nested or plain.is_quantized or plain.is_conj() or plain.is_neg())
        )
        if not simple:
            return (self._content(("tensor", id(tensor)), plain, tensor), None)
        storage = plain.untyped_storage()
        pointer = storage.data_ptr()
        key = ("storage", str(plain.device), pointer) if pointer else ("tensor", id(tensor))
        address = self._addresses.get(-pointer) if pointer else None
        where = (plain.dtype, plain.storage_offset(), tuple(plain.shape), plain.stride())
        if address is not None:
            return (_Large(address), where)
        whole = torch.empty(0, dtype=plain.dtype, device=plain.device)
        n_items = storage.nbytes() // plain.element_size()
        whole.set_(cast(Any, storage), 0, (n_items,), (1,))
        return (self._content(key, whole, tensor), where)

    def _content(self, key: tuple[Any, ...], plain: torch.Tensor, owner: Any) -> _Content:
        if key not in self._contents:
            self._contents[key] = _Content(
                len(self.tensors), plain.device.type not in ("cpu", "meta")
            )
            self.tensors.append(plain)
            self._kept.append(owner)  # its id is a key
        return self._contents[key]


class _Large:
    """Stands for a large tensor that is where it was when training began."""

    def __init__(self, address: Address) -> None:
        self.address = address


class _Unpickler(pickle.Unpickler):
    def __init__(
        self,
        file: io.BytesIO,
        tensors: list[torch.Tensor],
        find: Callable[[Address], Any],
        device: torch.device | None,
    ) -> None:
        super().__init__(file)
        self._tensors = tensors
        self._find = find
        self._device = device

    def persistent_load(self, pid: Any) -> Any:
        match pid:
            case ("content", index, on_device):
                tensor = self._tensors[index]
                if on_device and self._device is not None and tensor.device != self._device:
                    tensor = self._tensors[index] = tensor.to(self._device)
                return tensor
            case ("id", address):
                return id(self._find(address))
            case ("globals", name):
                return vars(sys.modules[name])
            case _:
                return self._find(pid)


def _made(kind: type, content: torch.Tensor, where: Any, requires_grad: bool) -> torch.Tensor:
    plain = content
    if where is not None:
        dtype, offset, shape, stride = where
        plain = torch.empty(0, dtype=dtype, device=content.device)
        plain.set_(cast(Any, content.untyped_storage()), offset, shape, stride)
    if issubclass(kind, nn.Parameter):
        made = nn.Parameter(plain, requires_grad=False)
        made = made if type(made) is kind else made.as_subclass(kind)
    else:
        made = plain if kind is torch.Tensor else plain.as_subclass(kind)
    return made.requires_grad_() if requires_grad else made


def _uninitialized(kind: Any, requires_grad: bool) -> Any:
    return kind(requires_grad=requires_grad)


def _array(array: np.ndarray[Any, Any]) -> Any:
    if isinstance(array, np.memmap):
        mode = "r+" if array.mode == "w+" else array.mode  # "w+" would empty the file
        place = (array.filename, array.dtype, mode, array.offset, array.shape)
        whole = not isinstance(array.base, np.memmap)
        return (np.memmap, place) if whole and array.flags.c_contiguous else NotImplemented
    owner: Any = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if owner is array or type(array) is not np.ndarray or array.dtype.hasobject:
        return NotImplemented
    if owner.dtype.hasobject or not owner.flags.c_contiguous:
        return NotImplemented
    offset = array.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
    return _view, (owner, array.dtype, array.shape, offset, array.strides, array.flags.writeable)


def _view(owner: Any, dtype: Any, shape: Any, offset: int, strides: Any, writeable: bool) -> Any:
    view = np.ndarray(shape, dtype, owner, offset, strides)
    view.flags.writeable = writeable
    return view


def _class(kind: type) -> Any:
    """None where the class can be imported; a class of nowhere must have an address."""
    if kind.__module__ == "builtins" or cloudpickle_finds(kind):
        return None
    raise UnpicklableError(
        f"the class {kind.__qualname__} can't be found again: it was made while the run trained"
    )


def cloudpickle_finds(value: Any) -> bool:
    """Whether a class or function is what its module and name say."""
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    found: Any = module
    for name in getattr(value, "__qualname__", "").split("."):
        found = getattr(found, name, None)
    return found is value


def _function(function: types.FunctionType) -> Any:
    if cloudpickle_finds(function):
        return NotImplemented
    made = (function.__code__, function.__globals__, function.__name__, function.__closure__)
    state = {
        "__defaults__": function.__defaults__,
        "__kwdefaults__": function.__kwdefaults__,
        "__qualname__": function.__qualname__,
        "__module__": function.__module__,
        "__doc__": function.__doc__,
    }
    return _new_function, made, (state, vars(function)), None, None, _set_function


def _new_function(code: Any, scope: dict[str, Any], name: str, closure: Any) -> Any:
    return types.FunctionType(code, scope, name, None, closure)


def _set_function(function: Any, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    for name, value in state[0].items():
        setattr(function, name, value)
    vars(function).update(state[1])


def _cell(cell: types.CellType) -> Any:
    # The content follows as state, so that a function may refer to itself, and functions that
    # share a variable share it again.
    try:
        return types.CellType, (), cell.cell_contents, None, None, _fill_cell
    except ValueError:
        return types.CellType, ()


def _fill_cell(cell: types.CellType, content: Any) -> None:
    cell.cell_contents = content


def _member(member: enum.Enum) -> Any:
    if isinstance(member, enum.Flag):
        return type(member), (member.value,)
    return getattr, (type(member), member.name)


def _generator(generator: torch.Generator) -> Any:
    state = generator.get_state()
    return torch.Generator, (generator.device,), state.cpu(), None, None, _set_generator


def _set_generator(generator: torch.Generator, state: torch.Tensor) -> None:
    generator.set_state(state)


def _raw(owner: Any) -> Any:
    """By all attributes: ``__getstate__`` of torch's classes leaves some out, or refuses."""
    return _new, (type(owner),), raw_state(owner), None, None, _set_raw


def _new(kind: type) -> Any:
    return cast(Any, kind).__new__(kind)


def raw_state(owner: Any) -> dict[str, Any]:
    """All attributes of a module, optimizer or scheduler that can be put back."""
    state = dict(vars(owner))
    if isinstance(owner, torch.optim.Optimizer):
        state.pop("step", None)  # wrapped by a scheduler, to warn of a wrong order of calls
    if isinstance(owner, nn.Module):
        forget_metric_names(state)
    return state


def _set_raw(owner: Any, state: dict[str, Any]) -> None:
    vars(owner).update(state)


def _weak(reference: weakref.ref[Any]) -> Any:
    return weakref.ref, (reference(),) if reference() is not None else (_Gone(),)


class _Gone:
    """What a dead weak reference referred to."""


def _weak_keys(table: weakref.WeakKeyDictionary[Any, Any]) -> Any:
    return weakref.WeakKeyDictionary, (), None, None, iter(list(table.items()))


def _weak_values(table: weakref.WeakValueDictionary[Any, Any]) -> Any:
    return weakref.WeakValueDictionary, (), None, None, iter(list(table.items()))


def _maker(kind: Callable[[], Any]) -> Callable[[Any], Any]:
    return lambda _: (kind, ())


_REDUCERS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (types.FunctionType, _function),
    (types.CellType, _cell),
    (enum.Enum, _member),
    (torch.Generator, _generator),
    (RAW, _raw),
    (weakref.WeakKeyDictionary, _weak_keys),
    (weakref.WeakValueDictionary, _weak_values),
    (weakref.ReferenceType, _weak),
    (type(threading.Lock()), _maker(threading.Lock)),
    (type(threading.RLock()), _maker(threading.RLock)),
)
