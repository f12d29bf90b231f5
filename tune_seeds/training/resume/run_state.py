"""The state of a run between two epochs: taken before a pause, put back after it, and compared."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelSummary, ProgressBar
from torch import nn
from torch.utils.data import DataLoader

from tune_seeds._compat.lightning_loops import PROCESS_ATTRIBUTES, is_infrastructure
from tune_seeds._compat.torch_dynamo import has_compiled
from tune_seeds._compat.torch_loaders import loader_attributes
from tune_seeds._compat.torch_objects import (
    Uninitialized,
    next_hook,
    set_next_hook,
    set_tensor_state,
    tensor_state,
    tensors_of,
)
from tune_seeds.training.resume.loader_workers import own_functions, set_own_functions
from tune_seeds.training.resume.run_pickle import (
    RAW,
    Address,
    Pickled,
    dumps,
    loads,
    raw_state,
)
from tune_seeds.training.resume.shared_objects import find_shared, shared_addresses
from tune_seeds.training.resume.shared_state import SharedState
from tune_seeds.training.resume.state_digest import Digests, Large, digests
from tune_seeds.training.seeding import set_switches, switches

_STRATEGY = "trainer.strategy"

Loaders = Callable[[], Mapping[str, Any]]


class RunState:
    """Takes and puts back the state of a run. Make it when all start hooks have run.

    The objects that are there now are built anew before the run goes on, in the same way, so they
    keep their identity then and get their state back; what was made later travels as a whole.

    Args:
        trainer: of the run.
        loaders: the data loaders as they are when the state is taken or put back, by name.
        pauses: whether states will be taken or put back at all.
    """

    def __init__(self, trainer: Trainer, loaders: Loaders, pauses: bool) -> None:
        self._trainer = trainer
        self._loaders = loaders
        self._own = dict(_own_objects(trainer))
        self._named = dict(_machinery(trainer, {id(value) for value in self._own.values()}))
        self._large: dict[str, Large] = {}
        self._shared: SharedState | None = None
        self._switches = switches()
        if pauses:
            objects = {**self._own, **loaders()}
            found = self._digests(self._states(objects), objects)
            self._large = found.large
            self._shared = SharedState(objects, found.kinds)

    def take(self) -> dict[str, Any]:
        """The state, as tensors and plain types.

        Where something in it can't travel, its only entry is ``lost``, with what and why.
        """
        if has_compiled():
            return {"lost": ["code compiled by torch.compile, which another process compiles anew"]}
        objects = {**self._own, **self._loaders()}
        states = self._states(objects)
        found = self._digests(states, objects)
        addresses, kept = self._addresses(objects, found)
        try:
            pickled = dumps(states, addresses)
        except Exception as error:
            return {"lost": _culprits(states, addresses) or [f"the run ({_reason(error)})"]}
        finally:
            del kept
        data = torch.frombuffer(bytearray(pickled.data), dtype=torch.uint8)
        now = switches()
        return {
            "pickle": data,
            "tensors": pickled.tensors,
            "digests": found.attributes,
            "shared": {} if self._shared is None else self._shared.changed(),
            "next_hook": next_hook(),
            "switches": {k: v for k, v in now.items() if v != self._switches[k]},
        }

    def attributes(self) -> dict[str, str]:
        """A hash of each attribute, by its name."""
        objects = {**self._own, **self._loaders()}
        return self._digests(self._states(objects), objects).attributes

    def put_back(self, state: Mapping[str, Any]) -> list[str]:
        """Put back what ``take`` returned.

        Returns:
            What is not as it was then, by name; nothing where the run may go on.
        """
        objects = {**self._own, **self._loaders()}
        device = self._trainer.strategy.root_device
        pickled = Pickled(
            state["pickle"].cpu().numpy().tobytes(),
            # Lightning has given the loaded ones to whoever restored a part of its checkpoint.
            [tensor.clone() for tensor in state["tensors"]],
        )
        everything = {**objects, **self._named}

        def find(address: Address) -> Any:
            kind, path, *rest = address
            if kind == "shared":
                return find_shared(address, everything)
            if kind == "own":
                return everything[path]
            large = self._large[path]
            if large.digest != rest[0]:
                raise LookupError(f"{path} is not what it was when training began")
            return large.value

        try:
            states = loads(pickled, find, device)
            for path, values in states.items():
                _put(everything[path], values, device)
        except Exception as error:
            return [f"the run's objects, which differ in this process ({_reason(error)})"]
        set_switches(state["switches"])
        set_next_hook(state["next_hook"])
        after = self._digests(self._states(objects), objects)
        lost = after.differences(state["digests"])
        return lost if self._shared is None else [*lost, *self._shared.lost(state["shared"])]

    def _states(self, objects: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        machinery = {id(value) for value in self._named.values()}
        states = {path: _state(value) for path, value in objects.items()}
        strategy = self._trainer.strategy
        states[_STRATEGY] = {
            "optimizers": list(strategy.optimizers),
            "lr_scheduler_configs": list(strategy.lr_scheduler_configs),
        }
        states["trainer"] = {
            name: value
            for name, value in vars(self._trainer).items()
            if id(value) not in machinery and name not in PROCESS_ATTRIBUTES
        }
        return states

    def _digests(self, states: Mapping[str, Any], objects: Mapping[str, Any]) -> Digests:
        everything = {**objects, **self._named}
        return digests(states, {id(value): path for path, value in everything.items()})

    def _addresses(
        self, objects: Mapping[str, Any], found: Digests
    ) -> tuple[dict[int, Address], list[Any]]:
        everything = {**objects, **self._named}
        addresses, kept = shared_addresses(everything, found.kinds)
        for path, large in found.large.items():
            known = self._large.get(path)
            if known is not None and known.digest == large.digest:
                value = large.value
                tensor = isinstance(value, torch.Tensor)
                key = -value.untyped_storage().data_ptr() if tensor else id(value)
                addresses[key] = ("large", path, large.digest)
        addresses.update({id(value): ("own", path) for path, value in everything.items()})
        return addresses, kept


def _own_objects(trainer: Trainer) -> Iterator[tuple[str, Any]]:
    """The run's own objects, each once, by paths that are the same in every process."""
    seen: set[int] = set()
    candidates: list[tuple[str, Any]] = []
    module = trainer.lightning_module
    for name, part in module.named_modules():
        path = f"model.{name}" if name else "model"
        candidates.append((path, part))
        candidates.extend((f"{path}.{key}", tensor) for key, tensor in tensors_of(part))
    candidates.append(("data", cast(Any, trainer).datamodule))
    for i, optimizer in enumerate(trainer.optimizers):
        candidates.append((f"optimizers[{i}]", optimizer))
    for i, callback in enumerate(cast(Any, trainer).callbacks):
        if not isinstance(callback, (Checkpoint, ModelSummary, ProgressBar)):
            candidates.append((f"callbacks[{i}] {type(callback).__name__}", callback))
    for path, value in candidates:
        if value is not None and id(value) not in seen:
            seen.add(id(value))
            yield path, value


def _machinery(trainer: Trainer, own: set[int]) -> Iterator[tuple[str, Any]]:
    """The trainer and its parts, which each process builds anew; they hold no state of a run."""
    waiting: list[tuple[str, Any]] = [("trainer", trainer), (_STRATEGY, trainer.strategy)]
    wrapped = trainer.strategy.model
    if isinstance(wrapped, nn.Module):
        waiting.append(("trainer.strategy.model", wrapped))
    waiting.extend((f"trainer.loggers[{i}]", logger) for i, logger in enumerate(trainer.loggers))
    waiting.extend(
        (f"trainer.callbacks[{i}]", callback)
        for i, callback in enumerate(cast(Any, trainer).callbacks)
    )
    seen = set(own)
    while waiting:
        path, value = waiting.pop(0)
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield path, value
        if not is_infrastructure(value) or not hasattr(value, "__dict__"):
            continue
        for name, item in vars(value).items():
            items = cast(list[Any], item) if isinstance(item, (list, tuple)) else [item]
            waiting.extend(
                (f"{path}.{name}[{i}]" if items is item else f"{path}.{name}", part)
                for i, part in enumerate(items)
                if is_infrastructure(part)
                and not isinstance(part, type)
                # Such a configuration is a run's own; it travels by value.
                and name != "lr_scheduler_configs"
            )


def _state(owner: Any) -> dict[str, Any]:
    """The attributes of one of the run's objects."""
    if isinstance(owner, torch.Tensor):
        if isinstance(owner, Uninitialized):
            return {"requires_grad": owner.requires_grad}
        plain = owner.detach()
        if isinstance(owner, nn.Parameter) and type(plain) is not torch.Tensor:
            plain = plain.as_subclass(torch.Tensor)
        return {"": plain, "requires_grad": owner.requires_grad, **tensor_state(owner)}
    if isinstance(owner, DataLoader):
        loader: DataLoader[Any] = cast(Any, owner)
        return {**loader_attributes(loader), **own_functions(loader)}
    if isinstance(owner, RAW):
        return {**raw_state(owner), "__class__": type(owner)}
    return dict(vars(owner)) if hasattr(owner, "__dict__") else {}


def _put(owner: Any, state: dict[str, Any], device: torch.device) -> None:
    if isinstance(owner, torch.Tensor):
        _put_tensor(owner, state)
    elif isinstance(owner, Trainer):
        vars(owner).update(state)
    elif "lr_scheduler_configs" in state and hasattr(owner, "lr_scheduler_configs"):
        if any(a is not b for a, b in _pairs(owner.optimizers, state["optimizers"])):
            owner.optimizers = state["optimizers"]
        owner.lr_scheduler_configs = state["lr_scheduler_configs"]
    elif isinstance(owner, DataLoader):
        functions = {name: state.pop(name) for name in ("collate_fn", "worker_init_fn")}
        vars(owner).update(state)
        set_own_functions(cast(Any, owner), functions)
    else:
        kind = state.pop("__class__", type(owner))
        if kind is not type(owner):  # a lazy layer, say, is of another class once it was called
            owner.__class__ = kind
        kept = {"step"} if isinstance(owner, torch.optim.Optimizer) else set[str]()
        for name in set(vars(owner)) - set(state) - kept:
            del vars(owner)[name]
        vars(owner).update(state)


def _pairs(a: list[Any], b: list[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(a, b, strict=True) if len(a) == len(b) else iter([(None, a)])


def _put_tensor(owner: torch.Tensor, state: dict[str, Any]) -> None:
    needed = state.pop("requires_grad")
    if "" in state:
        plain = state.pop("")
        if isinstance(owner, Uninitialized):
            cast(Any, owner).materialize(tuple(plain.shape), plain.device, plain.dtype)
        owner.grad = None
        owner.requires_grad_(False)
        owner.data = plain
        set_tensor_state(owner, state)
    owner.requires_grad_(needed)


def _culprits(
    states: Mapping[str, Mapping[str, Any]], addresses: Mapping[int, Address]
) -> list[str]:
    """The attributes that can't be pickled, with the reason."""
    found: list[str] = []
    for path, state in states.items():
        for name, value in state.items():
            try:
                dumps(value, addresses)
            except Exception as error:
                found.append(f"{path}.{name} ({_reason(error)})")
    return found


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
