"""Training on everything: the validation data joins the training data."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)

_KEPT = (
    "batch_size",
    "drop_last",
    "num_workers",
    "collate_fn",
    "pin_memory",
    "timeout",
    "worker_init_fn",
    "multiprocessing_context",
    "generator",
    "prefetch_factor",
    "persistent_workers",
)


def without_validation(
    data: Mapping[str, Any], kwargs: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The data arguments of ``Trainer.fit`` and the trainer's, with nothing held back.

    Args:
        data: of one run, made for it alone.
        kwargs: of its trainer.

    Raises:
        ValueError: the loaders can't be joined; the message says why.
    """
    trainer = {**kwargs, "limit_val_batches": 0, "num_sanity_val_steps": 0}
    if "datamodule" not in data:
        train, val = data["train_dataloaders"], data.get("val_dataloaders")
        return {"train_dataloaders": joined(train, val)}, trainer
    module = data["datamodule"]
    train, val = module.train_dataloader, module.val_dataloader
    # Lightning asks for loaders after it has called setup, so they are joined when it does.
    module.train_dataloader = lambda: joined(train(), val())
    return {"datamodule": module}, trainer


def joined(train: Any, val: Any) -> DataLoader[Any]:
    """A loader like ``train`` whose data are those of both.

    Validation samples come as their own data set makes them: without augmentation, where only
    training's has it.

    Raises:
        ValueError: there is no validation data, or a loader that is more than a data set in an
            order: batches of its own, a sampler of its own, an iterable data set, several loaders.
    """
    vals = list(cast(Sequence[Any], val)) if isinstance(val, (list, tuple)) else [val]
    if not vals or val is None:
        raise ValueError("train_on='all' needs validation data, and there is none: use 'train'")
    for loader in (train, *vals):
        if not isinstance(loader, DataLoader):
            raise ValueError(
                f"train_on='all' joins plain torch DataLoaders, got a {type(loader).__name__}; use "
                "train_on='train', or hold nothing back in a data module of its own"
            )
        if isinstance(loader.dataset, IterableDataset) or loader.batch_size is None:
            raise ValueError(
                "train_on='all' can't join iterable data sets or loaders with a batch_sampler of "
                "their own; use train_on='train', or hold nothing back in a data module of its own"
            )
    sampler = train.sampler
    if type(sampler) not in (RandomSampler, SequentialSampler) or (
        isinstance(sampler, RandomSampler)
        and (sampler.replacement or len(sampler) != len(train.dataset))
    ):
        raise ValueError(
            f"train_on='all' does not know how {type(sampler).__name__} of the training loader "
            "would order other data; use train_on='train', or hold nothing back in a data module "
            "of its own"
        )
    together = Joined([train.dataset, *(loader.dataset for loader in vals)])
    kept = {name: getattr(train, name) for name in _KEPT}
    return DataLoader(together, shuffle=isinstance(sampler, RandomSampler), **kept)


class Joined(ConcatDataset[Any]):
    """Data sets one after the other, batches included where each makes whole batches itself."""

    def __init__(self, datasets: Sequence[Dataset[Any]]) -> None:
        super().__init__(datasets)
        if all(hasattr(dataset, "__getitems__") for dataset in datasets):
            self.__getitems__ = self._batch

    def _batch(self, indices: Sequence[int]) -> Any:
        starts = [0, *self.cumulative_sizes]
        places: list[int] = []
        parts: list[Any] = []
        for dataset, start, end in zip(self.datasets, starts, starts[1:], strict=False):
            inside = [k for k, index in enumerate(indices) if start <= index < end]
            if inside:
                places.extend(inside)
                parts.append(cast(Any, dataset).__getitems__([indices[k] - start for k in inside]))
        back = sorted(range(len(places)), key=places.__getitem__)
        if all(isinstance(part, list) for part in parts):
            samples = [sample for part in parts for sample in part]
            return [samples[k] for k in back]
        if all(isinstance(part, tuple) for part in parts):
            columns = zip(*parts, strict=True)
            return tuple(torch.cat(list(column))[back] for column in columns)
        raise ValueError(
            f"train_on='all' can't join the batches that {type(self.datasets[0]).__name__} makes: "
            "it knows lists of samples and tuples of tensors"
        )
