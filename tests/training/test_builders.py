"""Modules as people write them, and what is refused of them before a study."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import lightning
import numpy as np
import pytest
import tiny
import torch
from lightning.pytorch import callbacks
from ray import tune
from ray.tune.integration.pytorch_lightning import TuneReportCheckpointCallback
from ray.tune.schedulers import ASHAScheduler

from tune_seeds import LightningTrainer, SeedTuner
from tune_seeds.training.trainable import Plan

KWARGS = {"max_epochs": 2}


class OneConfig(tiny.TinyModule):
    def __init__(self, config):
        super().__init__(lr=config["lr"])
        self.given = config


class Hparams(tiny.TinyModule):
    def __init__(self, hparams):
        super().__init__(lr=hparams.lr)
        self.save_hyperparameters(hparams)


class TakesSeed(tiny.TinyModule):
    def __init__(self, seed, lr, optimizer="sgd"):
        super().__init__(lr=lr)
        self.seed = seed


class Writes(tiny.TinyModule):
    def on_train_start(self):
        self.logger.experiment.add_text("hello", "world")
        self.logger.log_metrics({"a": 1.0})
        assert self.trainer.log_dir == self.trainer.default_root_dir


def trained(module: Any, config: dict[str, Any], **kwargs: Any) -> lightning.Trainer:
    trainer = LightningTrainer(module, tiny.TinyData, trainer_kwargs={**KWARGS, **kwargs})
    return trainer.retrain(config, Plan(frozenset(), 2), lambda *report: None)


def check(module: Any, space: dict[str, Any], **kwargs: Any) -> None:
    """What a study checks before anything starts."""
    SeedTuner(
        LightningTrainer(module, tiny.TinyData, trainer_kwargs={**KWARGS, **kwargs}),
        seeds=[1],
        param_space=space,
        tune_config=tune.TuneConfig(metric="val/loss", mode="min"),
        run_config=tune.RunConfig(name="never_run", storage_path="/nowhere"),
    )


SPACE = {"lr": tune.grid_search([0.1, 0.2])}


def test_a_module_may_take_the_whole_config():
    config = {"lr": 0.5, "batch_size": 16, "anything": "else", "seed": 3}
    module, data, _ = LightningTrainer(OneConfig, tiny.TinyData, trainer_kwargs=KWARGS).build(
        config
    )
    assert module.given == config and module.lr == 0.5
    assert data["datamodule"].batch_size == 16
    assert trained(OneConfig, config).current_epoch == 2
    check(OneConfig, SPACE)
    assert trained(Hparams, config).lightning_module.hparams.lr == 0.5


def test_a_module_may_take_its_seed():
    config = {"lr": 0.5, "seed": 881}
    module, _, _ = LightningTrainer(TakesSeed, tiny.TinyData, trainer_kwargs=KWARGS).build(config)
    assert (module.seed, module.lr) == (881, 0.5)
    check(TakesSeed, SPACE)
    with pytest.raises(ValueError, match="TakesSeed needs 'lr'"):
        check(TakesSeed, {"optimizer": tune.grid_search(["sgd", "adam"])})
    with pytest.raises(ValueError, match="'seed' is in param_space"):
        check(TakesSeed, {**SPACE, "seed": 1})


@pytest.mark.parametrize("kwargs", [{}, {"logger": False}, {"logger": None}])
def test_a_module_may_write_to_a_logger_that_nobody_gave(kwargs: dict[str, Any]):
    assert trained(Writes, {"seed": 1}, **kwargs).current_epoch == 2


def test_modules_of_the_other_lightning_package_are_refused_with_the_reason():
    script = (
        "import pytorch_lightning as pl\n"
        "from tune_seeds import LightningTrainer\n"
        "class Net(pl.LightningModule): pass\n"
        "class Data(pl.LightningDataModule): pass\n"
        "import tiny\n"
        "for given in ((Net,), (tiny.TinyModule, Data), (Net(),)):\n"
        "    try: LightningTrainer(*given, trainer_kwargs={'max_epochs': 1})\n"
        "    except ValueError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    assert all("`import lightning as L`" in line for line in lines[:2])


class EarlyStops(tiny.TinyModule):
    def configure_callbacks(self):
        return [callbacks.EarlyStopping("val/loss")]


class Stops(tiny.TinyModule):
    def on_train_epoch_end(self):
        if self.current_epoch > 3:
            self.trainer.should_stop = True


class GoesOn(tiny.TinyModule):
    def on_train_epoch_end(self):
        self.trainer.should_stop = False


class StopCallback(lightning.Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch > 3


def make_stops(lr=0.1):
    return Stops(lr=lr)


@pytest.mark.parametrize(
    ("module", "kwargs", "message"),
    [
        (EarlyStops, {}, "EarlyStopping ends the seeds"),
        (Stops, {}, "Stops.on_train_epoch_end sets trainer.should_stop"),
        (make_stops, {}, "Stops.on_train_epoch_end sets trainer.should_stop"),
        (tiny.TinyModule, {"callbacks": StopCallback()}, "StopCallback.on_train_epoch_end sets"),
        (tiny.TinyModule, {"callbacks": [callbacks.Timer("00:00:10:00")]}, "Timer counts seconds"),
        (tiny.TinyModule, {"callbacks": [callbacks.LearningRateFinder()]}, "LearningRateFinder"),
        (tiny.TinyModule, {"callbacks": [callbacks.BatchSizeFinder()]}, "BatchSizeFinder runs"),
        (tiny.TinyModule, {"callbacks": [callbacks.ModelCheckpoint]}, "the class ModelCheckpoint"),
        (tiny.TinyModule, {"callbacks": [TuneReportCheckpointCallback()]}, "leave it out"),
        (tiny.TinyModule, {"callbacks": ["x"]}, "no Callback"),
        (tiny.TinyModule, {"precision": "bogus"}, "lightning.Trainer refuses .*[Pp]recision"),
        (tiny.TinyModule, {"max_epochs": 2.5}, "whole number"),
        (tiny.TinyModule, {"gradient_clip_algorithm": "bogus"}, "lightning.Trainer refuses"),
        (tiny.TinyModule, {"limit_val_batches": 0}, "limit_val_batches=0 in trainer_kwargs"),
        (tiny.TinyModule, {"min_epochs": 2, "max_epochs": 4}, "min_epochs=2 in trainer_kwargs"),
        (tiny.TinyModule, {"min_steps": 9, "max_epochs": 4}, "min_steps=9 in trainer_kwargs"),
        (tiny.TinyModule, {"val_check_interval": 3}, "val_check_interval=3 in trainer_kwargs"),
        (tiny.TinyModule, {"val_check_interval": 0.4}, "no validation at the end"),
        (tiny.TinyModule, {"check_val_every_n_epoch": None}, "check_val_every_n_epoch"),
        (tiny.TinyModule, {"check_val_every_n_epoch": 0}, "at least 1"),
        (tiny.TinyModule, {"check_val_every_n_epoch": 2, "max_epochs": 4}, "epoch 1 has no metric"),
    ],
)
def test_what_a_run_cannot_do_is_refused_before_the_study(module, kwargs, message: str):
    with pytest.raises(ValueError, match=message):
        SeedTuner(
            LightningTrainer(module, tiny.TinyData, trainer_kwargs={**KWARGS, **kwargs}),
            seeds=[1],
            param_space=SPACE,
            tune_config=tune.TuneConfig(
                metric="val/loss", mode="min", scheduler=ASHAScheduler(max_t=2, reduction_factor=2)
            ),
        )


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"reload_dataloaders_every_n_epochs": 2}, "0 or 1, got 2 in param_space"),
        ({"trainer.reload_dataloaders_every_n_epochs": tune.choice([1, 3])}, "in param_space"),
        (
            {"check_val_every_n_epoch": tune.choice([1, 2])},
            "every_n_epoch=2 in param_space",
        ),
        ({"check_val_every_n_epoch": tune.randint(1, 3)}, "as a constant, tune.choice"),
        ({"limit_val_batches": tune.grid_search([0, 1.0])}, "limit_val_batches=0 in param_space"),
        ({"trainer": {"val_check_interval": 5}}, "val_check_interval=5 in param_space"),
        ({"min_epochs": 3}, "'min_epochs' can't be in param_space"),
        ({"trainer.min_steps": 3}, "'min_steps' can't be in param_space"),
        ({"accelerator": "gpu"}, "'accelerator' can't be in param_space"),
    ],
)
def test_trainer_arguments_in_the_space_are_checked_too(space, message: str):
    with pytest.raises(ValueError, match=message):
        check(tiny.TinyModule, {**SPACE, **space})


def test_what_is_fine_is_taken():
    check(GoesOn, SPACE, val_check_interval=0.5, callbacks=[callbacks.ModelCheckpoint()])
    check(tiny.TinyModule, {**SPACE, "gradient_clip_val": tune.choice([0.5, 1.0])})
    check(tiny.TinyModule, {**SPACE, "limit_val_batches": tune.choice([0.5, 1.0])})


def test_the_build_before_a_study_draws_no_number(caplog: pytest.LogCaptureFixture):
    def states():
        return (
            random.getstate(),
            np.random.get_state()[1].tolist(),
            torch.get_rng_state().tolist(),
        )

    before = states()
    check(tiny.TinyModule, SPACE)
    assert states() == before

    def only_there(lr=0.1):
        raise FileNotFoundError("/data of the workers")

    check(only_there, SPACE)
    assert "/data of the workers" in caplog.text


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"max_epochs": 2}, r"trainer_kwargs=\{'max_epochs': 2\}"),
        ({"trainer_kwarg": {}}, "did you mean 'trainer_kwargs'"),
        ({"trainer_kwargs": [1]}, "trainer_kwargs must be a dict"),
        ({"cpus": "4"}, "cpus must be a finite number"),
        ({"cpus": float("nan")}, "cpus must be a finite number"),
        (
            {"gpus": 0, "trainer_kwargs": {"max_epochs": 2, "accelerator": "gpu"}},
            "a run has no GPU",
        ),
        ({"gpus": None}, "gpus must be a finite number"),
        ({"num_workers": 1.5}, "num_workers must be a whole number"),
        ({"val_dataloaders": [1]}, "either datamodule or val_dataloaders"),
    ],
)
def test_wrong_arguments_of_the_trainer(kwargs, message: str):
    with pytest.raises(ValueError, match=message):
        LightningTrainer(tiny.TinyModule, tiny.TinyData, **kwargs)
