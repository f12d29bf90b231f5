"""Large loaders and closures reach the trials through the object store."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from ray import tune
from torch.utils.data import DataLoader, TensorDataset

from tune_seeds import LightningTrainer, SeedTuner
from tune_seeds.core.ledger import Outcome, RunKey
from tune_seeds.training.function import from_function
from tune_seeds.training.shipping import shipped
from tune_seeds.training.trainable import Plan

#: More than Ray takes for a function.
N_ROWS = 33_000_000


class Mean(lightning.LightningModule):
    def __init__(self, lr=0.1):
        super().__init__()
        self.lr = lr
        self.level = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch, batch_index):
        loss = (batch[0].mean() - self.level).square()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


@pytest.mark.usefixtures("ray_session")
def test_a_loader_of_130_megabytes_and_a_closure_of_as_much(storage: str):
    loader = DataLoader(TensorDataset(torch.ones(N_ROWS)), batch_size=64)
    tuner = SeedTuner(
        LightningTrainer(
            Mean,
            train_dataloaders=loader,
            trainer_kwargs={"max_epochs": 1, "limit_train_batches": 2},
        ),
        seeds=[1],
        param_space={"lr": tune.grid_search([0.1, 0.2])},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(name="loader", storage_path=storage),
    )
    results = tuner.fit()
    assert results.best.config == {"lr": 0.2}
    confirmed = SeedTuner.confirm(results.path, [2], top=1)
    assert confirmed.ledger[RunKey(results.best.group, 2)].outcome is Outcome.COMPLETED

    data = np.ones(N_ROWS, np.float32)

    def train(config: dict[str, Any]) -> None:
        data[0] = config["x"]  # of this process, and so not read-only
        tune.report({"score": float(data[:2].sum())})

    results = SeedTuner(
        train,
        seeds=[1],
        param_space={"x": tune.grid_search([2.0, 3.0])},
        tune_config=tune.TuneConfig(metric="score", mode="max"),
        run_config=tune.RunConfig(name="closure", storage_path=storage),
    ).fit()
    assert results.best.mean == 4.0

    def given(config: dict[str, Any], data: Any) -> None:
        tune.report({"score": config["x"] * float(data[:2].sum())})

    results = SeedTuner(
        tune.with_parameters(given, data=np.ones(N_ROWS, np.float32)),
        seeds=[1],
        param_space={"x": tune.grid_search([2.0, 3.0])},
        tune_config=tune.TuneConfig(metric="score", mode="max"),
        run_config=tune.RunConfig(name="parameters", storage_path=storage),
    ).fit()
    assert results.best.mean == 6.0
    assert max(file.stat().st_size for file in Path(storage).rglob("experiment_state*")) < 1e6


@pytest.mark.usefixtures("ray_session")
def test_what_cannot_be_pickled_is_named():
    lock = threading.Lock()

    def train(config: dict[str, Any]) -> None:
        with lock:
            tune.report({"score": 1})

    with pytest.raises(ValueError, match=r"the trainable train can't be pickled.*lock"):
        shipped(from_function(train, "t"), Plan(frozenset(), 1))
