from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from made_study import make_study

from tune_seeds import SeedResults
from tune_seeds.store.configs import load_config

CONFIGS = [
    {"optimizer": torch.optim.SGD, "lr": 0.1, "weights": torch.ones(2)},
    {"optimizer": torch.optim.Adam, "lr": 0.2, "weights": torch.zeros(2)},
]


def made(path: Path) -> str:
    return make_study(path, CONFIGS, lambda config, seed, epoch: config["lr"])


def test_the_best_config_is_text_until_it_is_asked_for_as_it_was(tmp_path: Path):
    path = made(tmp_path)
    best = SeedResults(path).best
    assert best.config["optimizer"] == repr(torch.optim.Adam)
    loaded = best.load_config()
    assert loaded["optimizer"] is torch.optim.Adam and torch.equal(
        loaded["weights"], torch.zeros(2)
    )


def test_a_tuners_own_results_hold_what_the_runs_got(tmp_path: Path):
    results = SeedResults(made(tmp_path), unpickle=True)
    assert results.best.config["optimizer"] is torch.optim.Adam
    assert "Adam" in str(results)
    assert "Adam" in json.loads(results.to_json())["best"]["config"]["optimizer"]
    for group, config in zip(("g0001", "g0002"), CONFIGS, strict=True):
        assert load_config(results.directory, group)["optimizer"] is config["optimizer"]
    with pytest.raises(KeyError):
        load_config(results.directory, "g0003")
