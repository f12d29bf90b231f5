from __future__ import annotations

import functools
import os
import random
from collections import Counter, deque
from typing import Any

import lightning
import numpy as np
import pytest
import tiny
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tune_seeds import environment
from tune_seeds.carried import Carried
from tune_seeds.seeding import reset_process, rng_state, seed_run, set_rng_state
from tune_seeds.worker_rng import WorkerStates


def draws() -> list[float]:
    return [
        random.random(),
        random.gauss(0, 1),
        float(np.random.rand()),
        float(np.random.normal()),
        float(torch.rand(())),
        float(torch.randn(())),
    ]


def test_what_is_saved_loads_equal_and_safely(tmp_path):
    seed_run(3)
    draws()
    torch.save(rng_state(), tmp_path / "state")
    expected = draws()
    draws()
    set_rng_state(torch.load(tmp_path / "state", weights_only=True))
    assert draws() == expected


def test_a_run_starts_from_the_same_switches():
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = True
    reset_process(1)
    flags = environment.flags()
    assert (flags["default_dtype"], flags["deterministic"]) == ("torch.float32", False)
    assert flags["cudnn_benchmark"] is False
    assert torch.get_num_threads() == 1


def test_start_environment_keeps_what_is_set(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    environment.start_environment()
    assert environment.os.environ["PYTHONHASHSEED"] == "7"
    assert environment.os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_a_random_hash_seed_is_noticed(monkeypatch):
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    assert "PYTHONHASHSEED" in environment.missing_variables()


def test_records_of_a_group_may_differ_in_the_seed_only():
    base = environment.record(1, {"lr": 0.1, "seed": 1}, "cpu", seed_run)
    other = {**base, "seed": 2, "initial_weights": "x", "first_batch": "y"}
    assert environment.unwanted_differences({1: base, 2: other}) == {}
    newer = {**other, "packages": {**base["packages"], "torch": "9"}, "threads": 64}
    found = environment.unwanted_differences({1: base, 2: newer})
    assert found == {
        "packages/torch": {base["packages"]["torch"]: [1], "9": [2]},
        "threads": {base["threads"]: [1], 64: [2]},
    }
    assert environment.differences(base, newer)["threads"] == (base["threads"], 64)


class Stateful(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.mean = 0.0
        self.recent = deque([1, 2], maxlen=2)
        self.names = {"a"}
        self.counts = Counter({"x": 1})
        self.array = np.zeros(2)
        self.generators = [torch.Generator().manual_seed(0), np.random.default_rng(0)]
        self.own = random.Random(0)
        self.old = np.random.RandomState(0)
        self.untouched = torch.ones(3)
        self.register_buffer("hidden", torch.zeros(2), persistent=False)

    def change(self):
        self.mean += 0.5
        self.recent.append(3)
        self.names.add("b")
        self.counts["x"] += 1
        self.array = self.array + 1
        self.hidden += 1
        self.draw()

    def draw(self) -> list[float]:
        a, b = self.generators
        own = [self.own.random(), float(self.old.rand())]
        return [float(torch.rand((), generator=a)), b.random(), *own]


def test_what_changed_travels_and_nothing_else(tmp_path):
    one, other = Stateful(), Stateful()
    carried, waiting = Carried({"model": one}), Carried({"model": other})
    one.change()
    state = carried.state()
    assert "model/mean" in state
    assert "model/untouched" not in state
    torch.save(state, tmp_path / "state")
    loaded = torch.load(tmp_path / "state", weights_only=True)
    assert waiting.restore(loaded) == []
    assert (other.mean, other.recent, other.names) == (0.5, deque([2, 3], maxlen=2), {"a", "b"})
    assert other.counts == Counter({"x": 2})
    assert type(other.counts) is Counter
    assert other.array.tolist() == [1.0, 1.0]
    assert other.hidden.tolist() == [1.0, 1.0]
    assert other.draw() == one.draw()


class Late(lightning.Callback):
    pass


def test_state_without_a_place_is_said():
    callback, fresh = Late(), Late()
    carried = Carried({"callback0": callback})
    callback.average = nn.Linear(1, 1)
    callback.best = 0.5
    state = carried.state()
    # A number is put where it was; what has to be built is not made up.
    assert Carried({"callback0": fresh}).restore(state) == ["callback0/average"]
    assert fresh.best == 0.5
    assert not hasattr(fresh, "average")


class Noise(TensorDataset):
    def __getitem__(self, index):
        return torch.rand(()), random.random(), float(np.random.rand())


def epoch(loader: DataLoader) -> list[list[float]]:
    return [torch.stack([part.double() for part in batch]).flatten().tolist() for batch in loader]


@pytest.mark.parametrize("n_epochs", [1, 2])
def test_persistent_workers_go_on_where_they_were(n_epochs: int):
    def loader() -> DataLoader:
        data = Noise(torch.zeros(12))
        return DataLoader(data, batch_size=2, num_workers=2, persistent_workers=True)

    torch.manual_seed(0)
    first = loader()
    states = WorkerStates(first, None)
    for _ in range(n_epochs):
        epoch(first)
        states.end_iteration()
    saved = states.state()
    expected = epoch(first)
    torch.manual_seed(1)
    second = loader()
    WorkerStates(second, saved)
    assert epoch(second) == expected


def test_the_source_is_found_also_of_a_class_whose_module_is_not_there():
    """As where a module was pickled by value: in the worker, nothing of that name is imported."""
    made: dict[str, Any] = {"__name__": "elsewhere"}
    exec(compile("class Net:\n    def forward(self): ...", "/where/it/was.py", "exec"), made)
    assert environment._directory(made["Net"]) == "/where/it"
    here = os.path.dirname(os.path.abspath(__file__))
    for code in (tiny.TinyModule, tiny.walk, functools.partial(tiny.walk)):
        assert environment._directory(code) == here
    assert environment._directory(len) is None
