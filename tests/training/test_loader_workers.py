"""A paused run leaves no worker of its data loaders behind."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Generator

import pytest
import torch
from benchmarks import exact_models, exact_runs
from torch.utils.data import DataLoader, TensorDataset

from tune_seeds._compat.torch_loaders import ended_workers


@pytest.fixture
def no_collection() -> Generator[None]:
    """What only the garbage collector would find is still there."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    gc.collect()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize(
    "name",
    [
        "augmentation, 2 workers",
        "augmentation, 2 persistent workers",
        "loaders made anew each epoch",
        "iterable dataset, 2 persistent workers",
    ],
)
def test_no_process_is_left_by_a_run_that_was_paused_at_each_epoch(name: str):
    before = set(multiprocessing.active_children())
    case = exact_runs.CASES[name]
    assert case.config.get("workers", 1) > 0
    exact_runs.retrained(case, tuple(range(1, exact_models.EPOCHS)))
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.parametrize("persistent", [False, True])
def test_a_loader_can_be_iterated_again_after_its_workers_were_ended(persistent: bool):
    data = TensorDataset(torch.arange(6))
    loader = DataLoader(data, num_workers=1, persistent_workers=persistent)
    outside = iter(loader) if not persistent else None
    with ended_workers():
        inside = iter(loader)
        next(inside)
    assert not multiprocessing.active_children() or outside is not None
    if outside is not None:
        assert len(list(outside)) == 6, "what was begun outside goes on"
    assert [int(batch[0]) for batch in loader] == list(range(6))
