"""The random states of persistent data-loader workers, which live on from epoch to epoch.

A loader with ``persistent_workers=True`` seeds its worker processes once; their generators then run
through all epochs. After a pause the workers are new, so their states have to travel: each worker
writes them into shared memory after every batch, and a resumed worker starts from them.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from tune_seeds._compat.torch_loaders import batches_asked, end_workers, has_unfinished_workers

logger = logging.getLogger(__name__)

_PYTHON = 625
_NUMPY = 624
_TORCH = 5056 // 8
# Batches made; Python's version, whether and what Gauss, and words; NumPy's position, whether and
# what Gauss, and words; torch's bytes.
_LENGTH = 1 + 3 + _PYTHON + 3 + _NUMPY + _TORCH

_DRAIN_TIMEOUT_S = 60.0


class WorkerStates:
    """Follows the workers of one persistent loader; attach it before the loader is first iterated.

    Args:
        loader: with ``persistent_workers=True``.
        saved: from ``state`` of the run before the pause, a row per worker, or None.
    """

    def __init__(self, loader: DataLoader[Any], saved: torch.Tensor | None) -> None:
        self._loader = loader
        self._rows = torch.zeros(loader.num_workers, _LENGTH, dtype=torch.int64).share_memory_()
        self._n_sent = 0
        self._warned = False
        self._saved = saved
        # The loader's own attributes are the only place that its worker processes read.
        loader.collate_fn = _Noting(cast(Any, loader.collate_fn), self._rows)
        if saved is not None:
            loader.worker_init_fn = _Restoring(loader.worker_init_fn, saved)

    def restart(self) -> None:
        """End the workers that were started too early, at the first ``iter`` of a resumed fit."""
        end_workers(self._loader)
        self._n_sent = 0
        self._rows.zero_()
        if self._saved is not None:
            # A worker that makes no batch until the next pause must not forget where it was.
            self._rows[:, 1:] = self._saved[:, 1:]

    def end_iteration(self) -> None:
        """Note how many batches were asked of the workers since the last ``iter`` of the loader."""
        self._n_sent += batches_asked(self._loader)

    def state(self) -> torch.Tensor:
        """The workers' states once they have made all batches that were asked of them.

        With ``limit_train_batches`` workers make batches that nobody takes; those draw too. An
        iterable dataset is asked for batches beyond its end, and draws none for them.

        Raises:
            TimeoutError: a worker is stuck.
        """
        if isinstance(self._loader.dataset, IterableDataset):
            self._check_exhausted()
            return self._rows.clone()
        deadline = time.monotonic() + _DRAIN_TIMEOUT_S
        while int(self._rows[:, 0].sum()) < self._n_sent:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"data-loader workers did not finish their batches in {_DRAIN_TIMEOUT_S:g} s"
                )
            time.sleep(0.001)
        return self._rows.clone()

    def _check_exhausted(self) -> None:
        if has_unfinished_workers(self._loader) and not self._warned:
            self._warned = True
            logger.warning(
                "an iterable dataset was not read to its end by persistent workers, so what they "
                "have drawn is not known; a paused run may differ from an uninterrupted one, "
                "unless persistent_workers is False"
            )


def own_functions(loader: DataLoader[Any]) -> dict[str, Any]:
    """A loader's ``collate_fn`` and ``worker_init_fn`` as the user has given them."""
    collate, init = cast(Any, loader.collate_fn), cast(Any, loader.worker_init_fn)
    return {
        "collate_fn": collate.inner if isinstance(collate, _Noting) else collate,
        "worker_init_fn": init.inner if isinstance(init, _Restoring) else init,
    }


def set_own_functions(loader: DataLoader[Any], functions: dict[str, Any]) -> None:
    """Put back what ``own_functions`` returned, below what follows the workers."""
    for name, function in functions.items():
        wrapper = getattr(loader, name)
        if isinstance(wrapper, (_Noting, _Restoring)):
            wrapper.inner = function
        else:
            setattr(loader, name, function)


class _Noting:
    """A ``collate_fn`` that notes the worker's random states after each batch."""

    def __init__(self, collate: Callable[[Any], Any], rows: torch.Tensor) -> None:
        self.inner = collate
        self._rows = rows

    def __call__(self, samples: Any) -> Any:
        batch = self.inner(samples)
        info = get_worker_info()
        if info is not None:
            row = self._rows[info.id]
            row[1:] = _pack()
            row[0] += 1
        return batch


class _Restoring:
    """A ``worker_init_fn`` that puts saved states back after the user's own."""

    def __init__(self, init: Callable[[int], None] | None, saved: torch.Tensor) -> None:
        self.inner = init
        self._saved = saved

    def __call__(self, worker_id: int) -> None:
        if self.inner is not None:
            self.inner(worker_id)
        if bool(self._saved[worker_id, 1:].any()):
            _unpack(self._saved[worker_id, 1:])


def _pack() -> torch.Tensor:
    version, internal, gauss = random.getstate()
    _, keys, position, has_gauss, cached = cast(Any, np.random.get_state(legacy=True))
    return torch.cat(
        [
            torch.tensor([version, gauss is not None, _bits(gauss or 0.0)]),
            torch.tensor(internal),
            torch.tensor([position, has_gauss, _bits(cached)]),
            torch.from_numpy(keys.astype(np.int64)),
            torch.get_rng_state().view(torch.int64),
        ]
    )


def _unpack(packed: torch.Tensor) -> None:
    head, internal, middle, keys, state = packed.cpu().split([3, _PYTHON, 3, _NUMPY, _TORCH])
    version, has, gauss = head.tolist()
    random.setstate((version, tuple(internal.tolist()), _float(gauss) if has else None))
    position, has_gauss, cached = middle.tolist()
    words = keys.numpy().astype(np.uint32)
    np.random.set_state(("MT19937", words, position, has_gauss, _float(cached)))
    # A copy: torch 2.13 crashes on a state that does not start at the start of its storage.
    torch.set_rng_state(state.clone().view(torch.uint8))


def _bits(value: float) -> int:
    return int(np.float64(value).view(np.int64))


def _float(bits: int) -> float:
    return float(np.int64(bits).view(np.float64))
