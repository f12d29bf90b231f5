# pyright: reportPrivateUsage=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""Private names of torch's data loaders (seen in torch 2.6 … 2.13).

A loader with persistent workers offers no way to see how far they are or to end them
(pytorch#127561 tracks state of loaders), so its iterator is asked.
"""

from __future__ import annotations

import weakref
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

from torch.utils.data import DataLoader


@contextmanager
def ended_workers() -> Generator[None]:
    """End, on the way out, the worker processes of every loader that was iterated inside.

    A fit that ends by an exception, as a pause is one, leaves iterators with live workers in
    reference cycles. When the garbage collector finds one, the queue by which it would tell its
    workers to end is closed already, and torch waits five seconds for each of them (pytorch's
    ``_MultiProcessingDataLoaderIter._shutdown_workers``, seen in torch 2.13).
    """
    loaders: Any = DataLoader
    make = loaders._get_iterator
    made: list[tuple[weakref.ref[Any], weakref.ref[Any]]] = []

    def noted(loader: DataLoader[Any]) -> Any:
        iterator = make(loader)
        made.append((weakref.ref(loader), weakref.ref(iterator)))
        return iterator

    loaders._get_iterator = noted
    try:
        yield
    finally:
        loaders._get_iterator = make
        for of_loader, of_iterator in made:
            loader, iterator = of_loader(), of_iterator()
            if hasattr(iterator, "_shutdown_workers"):
                cast(Any, iterator)._shutdown_workers()
                if getattr(loader, "_iterator", None) is iterator:
                    cast(Any, loader)._iterator = None  # it would be taken to live on


def has_iterator(loader: Any) -> bool:
    """Whether a loader keeps an iterator with workers that live on."""
    return getattr(loader, "_iterator", None) is not None


def end_workers(loader: DataLoader[Any]) -> None:
    """End the workers that live on, as if the loader had not been iterated."""
    iterator: Any = loader._iterator
    if iterator is not None:
        iterator._shutdown_workers()
        loader._iterator = None


def batches_asked(loader: DataLoader[Any]) -> int:
    """How many batches the workers were asked for since the last ``iter`` of the loader."""
    iterator: Any = loader._iterator
    return 0 if iterator is None else int(iterator._send_idx)


def has_unfinished_workers(loader: DataLoader[Any]) -> bool:
    """Whether a worker has more of an iterable data set to give."""
    iterator: Any = loader._iterator
    return iterator is not None and any(iterator._workers_status)


def loader_attributes(loader: DataLoader[Any]) -> dict[str, Any]:
    """The attributes of a loader that belong to the run.

    Its iterator belongs to the process, which has workers of its own. So do the attributes that the
    class ``DataLoader`` hides by name mangling: how its workers are started, and that it is built.
    """
    return {
        name: value
        for name, value in vars(loader).items()
        if name != "_iterator" and not name.startswith("_DataLoader__")
    }
