# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""The callback that takes a run's trace."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, Subset, get_worker_info

from tune_seeds._compat.lightning_loops import train_loaders
from tune_seeds._compat.torch_objects import DIFFERS_IN_TRAINING
from tune_seeds.reproduce.audit.generators import generator_paths
from tune_seeds.reproduce.audit.trace import BEFORE_TRAINING, Point, Stage, Trace
from tune_seeds.training.fingerprint import fingerprint
from tune_seeds.training.seeding import rng_state

_LOGGER_METHODS = ("log_metrics", "log_hyperparams", "save")


class Tracer(Callback):
    """Notes what a run computes. Put it first among the callbacks.

    Args:
        trace: what it appends to.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._epoch = BEFORE_TRAINING
        self._batch = -1
        self._counts: dict[tuple[int, int, Stage], int] = {}
        self._validating = False
        self._rows: torch.Tensor | None = None
        self._handles: list[Any] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the initial weights, and listen to layers, hooks and loggers."""
        tensors = [*pl_module.named_parameters(), *pl_module.named_buffers()]
        for name, tensor in tensors:
            point = self._note(Stage.INITIAL_WEIGHTS, name, tensor)
            if bool((tensor == tensor.flatten()[:1]).all()):
                self._trace.constant.add(point)
        for name, module in pl_module.named_modules():
            if name and not any(module.children()):
                self._handles.append(
                    module.register_forward_hook(functools.partial(self._after_layer, name))
                )
        for owner in (pl_module, *cast(Any, trainer).callbacks):
            if owner is not self and not type(owner).__module__.startswith("tune_seeds."):
                self._listen(owner, [name for name in dir(type(owner)) if name.startswith("on_")])
        for logger in trainer.loggers:
            self._listen(logger, _LOGGER_METHODS)

    def attach(self, loaders: list[Any]) -> None:
        """Note splits, and listen to samplers and workers, before loaders are first iterated."""
        for i, loader in enumerate(loaders):
            if not isinstance(loader, DataLoader):
                continue
            self._note_split(i, loader)
            sampler = loader.batch_sampler
            if sampler is not None:
                # DataLoader refuses a new sampler; it is the same one, with an ear.
                object.__setattr__(loader, "batch_sampler", _HeardSampler(sampler, self._order))
            if loader.num_workers > 0:
                self._rows = torch.zeros(loader.num_workers, 3, dtype=torch.int64).share_memory_()
                loader.worker_init_fn = _HeardInit(loader.worker_init_fn, self._rows)
                found = generator_paths(loader.dataset)
                self._trace.copied_generators.extend(found)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count."""
        self._epoch, self._batch = trainer.current_epoch, -1

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the batch."""
        self._batch = batch_idx
        loader = next(iter(train_loaders(trainer.fit_loop)), None)
        n_workers = getattr(loader, "num_workers", 0)
        name = f"made by loader worker {batch_idx % n_workers}" if n_workers else ""
        self._note(Stage.BATCH_CONTENT, name, batch)

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor
    ) -> None:
        """Note the loss."""
        self._note(Stage.LOSS, "", loss)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        """Note the gradients."""
        for name, parameter in pl_module.named_parameters():
            if parameter.grad is not None:
                self._note(Stage.GRADIENT, name, parameter.grad)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note what the optimizer made of it."""
        for i, optimizer in enumerate(trainer.optimizers):
            states = [(p, optimizer.state.get(p, {})) for p in _parameters(optimizer)]
            names = {id(p): name for name, p in pl_module.named_parameters()}
            for parameter, state in states:
                name = names.get(id(parameter), f"optimizer {i}")
                self._note(Stage.OPTIMIZER, name, [parameter, dict(state)])

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on a layer in train mode is a mistake."""
        self._validating = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Until here."""
        self._validating = False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read what the loader workers wrote, and stop listening."""
        for handle in self._handles:
            handle.remove()
        if self._rows is not None:
            names = ("python", "numpy", "torch")
            self._trace.workers = [
                {name: str(value) for name, value in zip(names, row, strict=True)}
                for row in cast(list[list[int]], self._rows.tolist())
            ]

    def _note(self, stage: Stage, name: str, value: Any) -> Point:
        key = (self._epoch, self._batch, stage)
        self._counts[key] = self._counts.get(key, 0) + 1
        point = Point(*key, self._counts[key], name)
        self._trace.digests[point] = fingerprint(value)
        return point

    def _after_layer(self, name: str, layer: nn.Module, args: Any, output: Any) -> None:
        if self._validating:
            if layer.training and isinstance(layer, DIFFERS_IN_TRAINING):
                text = f"{name} ({type(layer).__name__})"
                if text not in self._trace.active_in_validation:
                    self._trace.active_in_validation.append(text)
            return
        self._note(Stage.FORWARD, f"{name}: {type(layer).__name__}", output)

    def _order(self, count: int, indices: Any) -> None:
        # The loader asks for batches ahead of their use, so they are counted by themselves.
        epoch = max(self._epoch, 0)
        point = Point(epoch, count, Stage.BATCH_ORDER, 0, "")
        while point in self._trace.digests:
            epoch += 1
            point = Point(epoch, count, Stage.BATCH_ORDER, 0, "")
        self._trace.digests[point] = repr(list(indices))
        # A stream has no indices: its loader asks for as many items of None.
        if None in indices or list(indices) == sorted(indices):
            self._trace.constant.add(point)

    def _note_split(self, i: int, loader: DataLoader[Any]) -> None:
        dataset = loader.dataset
        while isinstance(dataset, Subset):
            indices = [int(index) for index in dataset.indices]
            point = Point(BEFORE_TRAINING, -1, Stage.SPLIT, i, f"of loader {i}" if i else "")
            self._trace.digests.setdefault(point, repr(indices))
            if indices == sorted(indices):
                self._trace.constant.add(point)
            dataset = dataset.dataset

    def _listen(self, owner: Any, names: Any) -> None:
        for name in names:
            method = getattr(owner, name, None)
            if not callable(method):
                continue
            defined = getattr(type(owner), name, None)
            if getattr(defined, "__module__", "").startswith(("lightning.", "torch.")):
                continue
            title = f"{type(owner).__name__}.{name}"
            setattr(owner, name, self._heard(method, title))

    def _heard(self, method: Callable[..., Any], title: str) -> Callable[..., Any]:
        @functools.wraps(method)
        def heard(*args: Any, **kwargs: Any) -> Any:
            before = fingerprint(rng_state())
            result = method(*args, **kwargs)
            after = fingerprint(rng_state())
            # A hook that draws nothing says nothing about the state that it found.
            self._note(Stage.HOOK, title, after if after != before else "draws nothing")
            return result

        return heard


class _HeardSampler:
    def __init__(self, sampler: Any, hear: Callable[[int, Any], None]) -> None:
        self._sampler = sampler
        self._hear = hear

    def __iter__(self) -> Any:
        for count, indices in enumerate(self._sampler):
            self._hear(count, indices)
            yield indices

    def __len__(self) -> int:
        return len(self._sampler)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_sampler"], name)


class _HeardInit:
    """Notes each worker's generators when it has started, after the user's own init."""

    def __init__(self, init: Callable[[int], None] | None, rows: torch.Tensor) -> None:
        self._init = init
        self._rows = rows

    def __call__(self, worker_id: int) -> None:
        if self._init is not None:
            self._init(worker_id)
        info = get_worker_info()
        if info is not None:
            state = rng_state()
            hashes = [int(fingerprint(state[k])[:15], 16) for k in ("python", "numpy", "torch")]
            self._rows[info.id] = torch.tensor(hashes)


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def nondeterministic_ops(caught: list[warnings.WarningMessage]) -> list[str]:
    """The ops that torch warned of, each once."""
    found: list[str] = []
    for warning in caught:
        text = str(warning.message)
        if "does not have a deterministic implementation" in text:
            name = text.partition(" does not have")[0].strip()
            if name not in found:
                found.append(name)
    return found
