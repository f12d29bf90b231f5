from __future__ import annotations

import functools
import os
import random
from typing import Any

import lightning
import numpy as np
import pytest
import tiny
import torch
from torch.utils.data import DataLoader, TensorDataset

from tune_seeds.analysis import environments
from tune_seeds.core import process_variables
from tune_seeds.training import environment
from tune_seeds.training.resume.loader_workers import WorkerStates
from tune_seeds.training.seeding import reset_process, rng_state, seed_run, set_rng_state


def draws() -> list[float]:
    return [
        random.random(),
        random.gauss(0, 1),
        float(np.random.rand()),
        float(np.random.normal()),
        float(torch.rand(())),
        float(torch.randn(())),
    ]


@pytest.mark.parametrize("seed", [0, 47, 2**32 - 1])
def test_a_run_is_seeded_as_a_plain_lightning_script_is(seed, monkeypatch):
    def seeded(function):
        for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
            monkeypatch.delenv(name, raising=False)
        function(seed)
        variables = {k: v for k, v in os.environ.items() if k.startswith("PL_")}
        return variables, torch.initial_seed(), draws()

    assert seeded(seed_run) == seeded(
        lambda seed: lightning.seed_everything(seed, workers=True, verbose=False)
    )


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
    process_variables.start_environment()
    assert process_variables.os.environ["PYTHONHASHSEED"] == "7"
    assert process_variables.os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_a_random_hash_seed_is_noticed(monkeypatch):
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    assert "PYTHONHASHSEED" in environment.missing_variables()


def test_records_of_a_group_may_differ_in_the_seed_only():
    base = environment.record(1, {"lr": 0.1, "seed": 1}, "cpu", seed_run)
    other = {**base, "seed": 2, "initial_weights": "x", "first_batch": "y"}
    assert environments.unwanted_differences({1: base, 2: other}) == {}
    newer = {**other, "packages": {**base["packages"], "torch": "9"}, "threads": 64}
    found = environments.unwanted_differences({1: base, 2: newer})
    assert found == {
        "packages/torch": {base["packages"]["torch"]: [1], "9": [2]},
        "threads": {base["threads"]: [1], 64: [2]},
    }
    assert environments.differences(base, newer)["threads"] == (base["threads"], 64)


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
    here = os.path.dirname(os.path.abspath(tiny.__file__))
    for code in (tiny.TinyModule, tiny.walk, functools.partial(tiny.walk)):
        assert environment._directory(code) == here
    assert environment._directory(len) is None
