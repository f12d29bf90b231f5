"""Runs that count steps: a stream without epochs, validated every so many batches."""

from __future__ import annotations

from typing import Any

import lightning
import pytest
import tiny
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from torch.utils.data import DataLoader, IterableDataset

from tune_seeds import LightningTrainer, SeedTuner
from tune_seeds.reproduce.audit.process import traced
from tune_seeds.training.trainable import Plan

KWARGS = {"max_steps": 12, "val_check_interval": 3, "check_val_every_n_epoch": None}
VALIDATED = [3, 6, 9, 12]


class Stream(IterableDataset):
    """Never ends."""

    def __iter__(self):
        while True:
            x = torch.randn(3)
            yield x, x.sum()


class Streamed(tiny.TinyData):
    def train_dataloader(self):
        return DataLoader(Stream(), batch_size=self.batch_size)


def trained(data: Any, last: int = 12, seed: int = 3, **kwargs: Any) -> list[dict[str, float]]:
    reports: list[dict[str, float]] = []
    trainer = LightningTrainer(
        tiny.TinyModule, data, trainer_kwargs={**KWARGS, **kwargs}, pause="never"
    )
    run = trainer.as_trainable(last)
    assert run.time_attr == "step" and not run.pauses
    run.train.__self__.retrain(
        {"seed": seed},
        Plan(frozenset(), last),
        lambda metrics, save, prints: reports.append(dict(metrics)),
    )
    return reports


class Losses(lightning.Callback):
    def __init__(self):
        self.losses = []

    def on_validation_end(self, trainer, module):
        if not trainer.sanity_checking:
            self.losses.append(float(trainer.callback_metrics["val/loss"]))


@pytest.mark.parametrize("data", [tiny.TinyData, Streamed])
def test_reports_are_those_of_a_plain_script(data: Any):
    reports = trained(data)
    assert [report["step"] for report in reports] == VALIDATED
    assert trained(data) == reports
    lightning.seed_everything(3, workers=True, verbose=False)
    losses = Losses()
    module, made = tiny.TinyModule(), data()
    lightning.Trainer(
        **KWARGS,
        callbacks=[losses],
        accelerator="cpu",
        deterministic=True,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, made)
    assert [report["val/loss"] for report in reports] == losses.losses


def test_a_run_ends_at_the_plans_last_step():
    assert trained(Streamed, last=6) == trained(Streamed)[:2]
    steps = [report["step"] for report in trained(Streamed, last=6, val_check_interval=6)]
    assert steps == [6]


def test_accumulated_batches_are_one_step():
    kwargs = {"accumulate_grad_batches": 3, "val_check_interval": 6, "max_steps": 4}
    assert [r["step"] for r in trained(Streamed, last=4, **kwargs)] == [2, 4]


def check(
    kwargs: dict[str, Any],
    space: dict[str, Any] | None = None,
    scheduler: Any = None,
    **arguments: Any,
):
    return SeedTuner(
        LightningTrainer(
            tiny.TinyModule, Streamed, trainer_kwargs={**KWARGS, **kwargs}, **arguments
        ),
        seeds=[1],
        param_space={"lr": tune.uniform(0, 1), **(space or {})},
        tune_config=tune.TuneConfig(metric="val/loss", mode="min", scheduler=scheduler),
        run_config=tune.RunConfig(name="never_run", storage_path="/nowhere"),
    )


NEVER = {"pause": "never"}


@pytest.mark.parametrize(
    ("kwargs", "space", "arguments", "message"),
    [
        ({}, {}, {}, "can't be paused exactly.*pause='never'"),
        ({}, {}, {**NEVER, "num_workers": 2}, "max_steps with num_workers=2"),
        ({"max_epochs": 3}, {}, NEVER, "max_steps and max_epochs"),
        ({"val_check_interval": None}, {}, NEVER, "give val_check_interval=N"),
        ({"val_check_interval": 0.5}, {}, NEVER, "val_check_interval` should be an integer"),
        ({"check_val_every_n_epoch": 1}, {}, NEVER, "needs check_val_every_n_epoch=None"),
        ({"max_steps": 13}, {}, NEVER, "no validation at its end"),
        ({"max_steps": 2.5}, {}, NEVER, "max_steps"),
        ({"accumulate_grad_batches": 2}, {}, NEVER, "no multiple of accumulate_grad_batches=2"),
        ({"limit_val_batches": 0}, {}, NEVER, "limit_val_batches=0 leaves out"),
        ({}, {"val_check_interval": 4}, NEVER, "val_check_interval in param_space"),
        ({}, {"accumulate_grad_batches": tune.choice([1, 2])}, NEVER, "in param_space"),
        ({}, {"max_steps": 3}, NEVER, "'max_steps' can't be in param_space"),
    ],
)
def test_what_does_not_go_together(kwargs, space, arguments, message: str):
    with pytest.raises(ValueError, match=message):
        check(kwargs, space, **arguments)


def test_rungs_are_validations():
    def asha(grace_period: int, max_t: int = 12, **kwargs: Any) -> ASHAScheduler:
        return ASHAScheduler(grace_period=grace_period, max_t=max_t, reduction_factor=2, **kwargs)

    check({}, scheduler=asha(3), **NEVER)
    check({}, scheduler=asha(3, time_attr="step"), **NEVER)
    with pytest.raises(ValueError, match=r"the rung at step 2 has no metric.*every 3 steps"):
        check({}, scheduler=asha(2), **NEVER)
    with pytest.raises(ValueError, match="above the trainer's max_steps=12"):
        check({}, scheduler=asha(3, 24), **NEVER)
    with pytest.raises(ValueError, match="time_attr='epoch'"):
        check({}, scheduler=asha(3, time_attr="epoch"), **NEVER)


def test_an_audit_looks_at_short_epochs():
    trainer = LightningTrainer(tiny.TinyModule, Streamed, trainer_kwargs=KWARGS, pause="never")
    trace = traced(trainer, {}, seed=3, n_epochs=2, n_batches=3)
    assert len(trace.digests) > 10


@pytest.mark.usefixtures("ray_session")
def test_a_study_over_steps(storage: str):
    results = SeedTuner(
        LightningTrainer(tiny.TinyModule, Streamed, trainer_kwargs=KWARGS, pause="never"),
        seeds=[1, 2],
        param_space={"lr": tune.grid_search([0.01, 0.1])},
        tune_config=tune.TuneConfig(
            metric="val/loss",
            mode="min",
            scheduler=ASHAScheduler(grace_period=6, max_t=12, reduction_factor=2),
        ),
        run_config=tune.RunConfig(name="steps", storage_path=storage),
        seeds_per_rung="all",
        n_finalists=1,
    ).fit()
    best = results.best
    assert best.complete and best.rung.epochs == 12
    for seed in (1, 2):
        alone = LightningTrainer(tiny.TinyModule, Streamed, trainer_kwargs=KWARGS, pause="never")
        losses: list[float] = []
        alone.retrain(
            {**best.config, "seed": seed},
            Plan(frozenset(), 12),
            lambda metrics, save, prints, to=losses: to.append(metrics["val/loss"]),
        )
        assert best.scores[seed] == losses[-1]
