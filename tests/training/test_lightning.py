from __future__ import annotations

import pytest
import tiny
import torch
from benchmarks import exactness
from benchmarks.exact_models import CASES, EPOCHS

from tune_seeds import LightningTrainer
from tune_seeds.training.trainable import Plan


def train(plan: Plan, **kwargs):
    reported = []
    trainer = LightningTrainer(
        tiny.TinyModule, tiny.TinyData, trainer_kwargs={"max_epochs": 4, **kwargs}
    )

    def report(metrics, save, fingerprints):
        reported.append((metrics, save is not None, dict(fingerprints)))

    fitted = trainer.retrain({"seed": 5}, plan, report)
    return reported, fitted


def test_every_epoch_is_reported_and_rungs_can_be_saved():
    reported, _ = train(Plan(frozenset({2}), 4))
    assert [metrics["epoch"] for metrics, _, _ in reported] == [1, 2, 3, 4]
    assert [saves for _, saves, _ in reported] == [False, True, False, True]
    assert all(set(prints) == {"initial_weights", "first_batch"} for _, _, prints in reported)


def test_a_run_ends_at_the_plans_last_epoch():
    reported, fitted = train(Plan(frozenset(), 2))
    assert len(reported) == 2
    assert fitted.current_epoch == 2


def test_a_stale_validation_metric_is_not_reported_again():
    reported, _ = train(Plan(frozenset(), 4), check_val_every_n_epoch=2)
    assert ["val/loss" in metrics for metrics, _, _ in reported] == [False, True, False, True]


@pytest.mark.parametrize(("given", "flag"), [(None, True), ("warn", "warn"), (False, False)])
def test_determinism_is_on_unless_turned_off_by_name(given, flag):
    from tune_seeds.training import environment

    train(Plan(frozenset(), 1), **({} if given is None else {"deterministic": given}))
    assert environment.flags()["deterministic"] == flag


def test_loaders_that_cannot_be_made_again_are_refused():
    with pytest.raises(ValueError, match="reload_dataloaders_every_n_epochs must be 0 or 1"):
        LightningTrainer(
            tiny.TinyModule,
            tiny.TinyData,
            trainer_kwargs={"max_epochs": 4, "reload_dataloaders_every_n_epochs": 2},
        )


def test_a_checkpoint_is_loaded_safely(tmp_path):
    """Everything that this package puts into a checkpoint passes ``weights_only=True``."""
    case = CASES["everything at once"]
    saved = []

    def report(metrics, save, fingerprints):
        if save is not None:
            (tmp_path / str(metrics["epoch"])).mkdir()
            save(tmp_path / str(metrics["epoch"]))
            saved.append(metrics["epoch"])

    config = {**case.config, "seed": 1}
    exactness.trainer_of(case).retrain(config, Plan(frozenset({2}), EPOCHS), report)
    assert saved == [2, EPOCHS]
    torch.load(tmp_path / str(EPOCHS) / "checkpoint.ckpt", weights_only=True)
    checkpoint = torch.load(tmp_path / "2" / "checkpoint.ckpt", weights_only=True)
    (rank,) = checkpoint["loops"]["fit_loop"]["state_dict"]["tune_seeds"]
    assert {"rng", "pickle", "tensors", "workers", "metrics"} <= set(rank)
