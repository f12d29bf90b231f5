from __future__ import annotations

from pathlib import Path

import lightning
import pytest
import tiny
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from ray import tune
from torch.utils.data import DataLoader, TensorDataset

from tune_seeds import LightningTrainer, SeedTuner


def make_data() -> tuple[TensorDataset, TensorDataset]:
    data = tiny.TinyData()
    return TensorDataset(data.x[:32], data.y[:32]), TensorDataset(data.x[32:], data.y[32:])


def train_loader(batch_size: int = 8) -> DataLoader:
    return DataLoader(make_data()[0], batch_size=batch_size, shuffle=True)


def val_loader(batch_size: int = 8, unused: int = 0) -> DataLoader:
    return DataLoader(make_data()[1], batch_size=batch_size)


def test_functions_that_return_loaders_take_config_keys():
    trainer = LightningTrainer(
        tiny.TinyModule,
        train_dataloaders=train_loader,
        val_dataloaders=val_loader,
        trainer_kwargs={"max_epochs": 2},
    )
    module, data, kwargs = trainer.build({"batch_size": 4, "lr": 0.5, "unused": 3, "seed": 1})
    assert module.lr == 0.5
    assert data["train_dataloaders"].batch_size == data["val_dataloaders"].batch_size == 4
    assert kwargs["max_epochs"] == 2
    with pytest.raises(ValueError, match="did you mean 'batch_size'"):
        trainer.check({"batchsize": tune.choice([4, 8])})


def test_loaders_callbacks_and_loggers_are_copied_for_each_run():
    loader, callback = train_loader(), ModelCheckpoint()
    trainer = LightningTrainer(
        tiny.TinyModule,
        train_dataloaders=loader,
        trainer_kwargs={"max_epochs": 2, "callbacks": [callback]},
    )
    first, second = (trainer.build({"seed": 1}) for _ in range(2))
    loaders = [loader, first[1]["train_dataloaders"], second[1]["train_dataloaders"]]
    callbacks = [callback, first[2]["callbacks"][0], second[2]["callbacks"][0]]
    assert len({id(x) for x in loaders}) == len({id(x) for x in callbacks}) == 3


@pytest.mark.usefixtures("ray_session")
def test_loaders_callbacks_and_a_logger_in_a_study(storage: str, tmp_path: Path):
    class Mark(lightning.Callback):
        """Leaves a file for each fit that came to its end."""

        def on_fit_end(self, trainer, module):
            batch_size = trainer.train_dataloader.batch_size
            (tmp_path / f"{torch.initial_seed()}-{batch_size}").touch()

    results = SeedTuner(
        LightningTrainer(
            tiny.TinyModule,
            train_dataloaders=train_loader,
            val_dataloaders=DataLoader(make_data()[1], batch_size=16),
            trainer_kwargs={
                "max_epochs": 2,
                "callbacks": [Mark()],
                "logger": CSVLogger(str(tmp_path / "logs")),
            },
        ),
        seeds=[1, 2],
        param_space={"batch_size": tune.grid_search([4, 8]), "lr": 0.01},
        tune_config=tune.TuneConfig(metric="val/loss", mode="min"),
        run_config=tune.RunConfig(name="loaders", storage_path=storage),
    ).fit()
    assert (results.groups["state"] == "complete").all()
    marks = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert marks == {"1-4", "2-4", "1-8", "2-8"}
    assert list((tmp_path / "logs").rglob("metrics.csv"))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"module": tiny.TinyModule()}, "module must be a LightningModule class"),
        ({"datamodule": tiny.TinyData()}, "datamodule must be a LightningDataModule class"),
        ({"datamodule": tiny.TinyData, "train_dataloaders": train_loader}, "not both"),
        ({"cpus": 0}, "cpus must be above 0"),
        ({"gpus": 1.5}, "gpus must be between 0 and 1"),
        ({"trainer_kwargs": {"devices": 2}}, "must not hold 'devices'"),
        ({"trainer_kwargs": {"max_epoch": 2}}, "did you mean 'max_epochs'"),
        ({"trainer_kwargs": {"callbacks": [EarlyStopping("val/loss")]}}, "EarlyStopping ends"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_arguments(kwargs, message: str):
    arguments = {"module": tiny.TinyModule, **kwargs}
    with pytest.raises(ValueError, match=message):
        LightningTrainer(arguments.pop("module"), **arguments)


def test_a_parameter_without_a_default_must_be_in_the_space():
    class Needs(lightning.LightningModule):
        def __init__(self, width: int, lr: float = 0.1):
            super().__init__()
            self.layer = torch.nn.Linear(width, 1)

    trainer = LightningTrainer(Needs, tiny.TinyData, trainer_kwargs={"max_epochs": 1})
    with pytest.raises(ValueError, match="Needs needs 'width'"):
        trainer.check({"lr": tune.uniform(0, 1)})
    trainer.check({"lr": tune.uniform(0, 1), "width": 3})
