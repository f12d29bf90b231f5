"""Validation data among the training data, and what can't be joined."""

from __future__ import annotations

from typing import Any

import images
import pytest
import tiny
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler

from tune_seeds import LightningTrainer
from tune_seeds.training.merged_data import joined
from tune_seeds.training.trainable import Plan


def numbers(start: int, n: int) -> TensorDataset:
    return TensorDataset(torch.arange(start, start + n), torch.arange(start, start + n) * 10)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("workers", [0, 2])
def test_every_sample_of_both_comes_once(shuffle, workers):
    train = DataLoader(numbers(0, 13), batch_size=4, shuffle=shuffle, num_workers=workers)
    loader = joined(train, [DataLoader(numbers(13, 5), batch_size=9), DataLoader(numbers(18, 2))])
    seen = torch.cat([x for x, _ in loader])
    assert (
        sorted(seen.tolist()) == list(range(20)) and (seen.tolist() != list(range(20))) == shuffle
    )
    assert all(torch.equal(x * 10, y) for x, y in loader) and len(loader) == 5


def test_data_sets_that_make_whole_batches_are_joined_too():
    module = images.DigitsDataModule(train_size=40, val_size=20, batch_size=16)
    module.setup("fit")
    parts = [module.train_dataloader(), module.val_dataloader()]
    loader = joined(*parts)
    seen = [row for x, y in loader for row in zip(x.flatten(1).tolist(), y.tolist(), strict=True)]
    there = [
        (x.flatten().tolist(), int(y))
        for part in parts
        for x, y in (part.dataset[k] for k in range(len(part.dataset)))
    ]
    assert len(seen) == 48  # whole batches only, as the training loader has them
    assert all(row in there for row in seen)


class Endless(IterableDataset[int]):
    def __iter__(self):
        yield 1


GOOD = DataLoader(numbers(0, 4))


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        (GOOD, None, "there is none"),
        (GOOD, [], "there is none"),
        (DataLoader(Endless()), GOOD, "iterable"),
        (GOOD, DataLoader(Endless()), "iterable"),
        ([GOOD, GOOD], GOOD, "plain torch DataLoaders"),
        (DataLoader(numbers(0, 4), sampler=WeightedRandomSampler([1.0] * 4, 4)), GOOD, "Weighted"),
        (DataLoader(numbers(0, 4), batch_size=None), GOOD, "batch_sampler"),
    ],
)
def test_what_can_not_be_joined_is_said(train: Any, val: Any, message: str):
    with pytest.raises(ValueError, match=message):
        joined(train, val)


def test_a_run_on_all_data_validates_nothing_and_trains_on_more():
    trainer = LightningTrainer(tiny.TinyModule, tiny.TinyData, trainer_kwargs={"max_epochs": 1})
    reports: list[dict[str, float]] = []
    fit = trainer.on_all_data().retrain(
        {"seed": 47}, Plan(frozenset(), 1), lambda metrics, *_: reports.append(metrics)
    )
    assert fit.num_training_batches == 6 and set(reports[0]) == {"train_loss", "epoch"}
