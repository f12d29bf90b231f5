"""What a Lightning run asks of the cluster."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from ray.tune import PlacementGroupFactory

from tune_seeds import LightningTrainer
from tune_seeds.training.trainable import SeededTrainable


def trainer(**kwargs: Any) -> LightningTrainer:
    trainer_kwargs = {"max_epochs": 2, **kwargs.pop("trainer_kwargs", {})}
    return LightningTrainer(tiny.TinyModule, tiny.TinyData, trainer_kwargs=trainer_kwargs, **kwargs)


def on(n_gpus: float, **kwargs: Any) -> SeededTrainable:
    unknown = trainer(**kwargs).as_trainable(None)
    assert unknown.on_gpus is not None
    return unknown.on_gpus(n_gpus)


def bundles(trainable: SeededTrainable) -> list[dict[str, float]]:
    assert isinstance(trainable.resources, PlacementGroupFactory)
    assert trainable.resources.head_bundle_is_empty
    return trainable.resources.bundles


@pytest.mark.parametrize("n_gpus", [0, 1])
def test_by_default_a_run_takes_a_gpu_where_the_cluster_has_any(n_gpus: int):
    alone = on(n_gpus, cpus=2)
    assert alone.resources == {"cpu": 2, "gpu": n_gpus} and alone.on_gpus is None
    assert alone.train.__self__.accelerator == ("gpu" if n_gpus else "cpu")
    ddp = on(n_gpus, num_workers=3)
    assert bundles(ddp) == [{"CPU": 1, **({"GPU": 1.0} if n_gpus else {})}] * 3


def test_outside_of_a_cluster_this_machine_decides():
    assert trainer().accelerator == ("gpu" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("gpus", [0, 0.25, 1, 2])
def test_a_number_of_gpus_is_taken_as_it_is(gpus: float):
    made = trainer(gpus=gpus).as_trainable(None)
    assert made.resources == {"cpu": 1, "gpu": gpus} and made.on_gpus is None


def test_other_resources_are_asked_for_too():
    extra = {"accelerator_type:A100": 0.01, "memory": 2e9, "custom": 1}
    assert on(1, resources=extra).resources == {"cpu": 1, "gpu": 1, **extra}
    ddp = on(1, resources=extra, num_workers=2)
    assert bundles(ddp) == [{"CPU": 1, "GPU": 1.0, **extra}] * 2


@pytest.mark.parametrize(
    ("kwargs", "why"),
    [
        ({"gpus": -1}, "between 0 and 1 per worker, a whole number"),
        ({"gpus": 2.5}, "a whole number"),
        ({"gpus": "all"}, "gpus"),
        ({"gpus": True}, "gpus"),
        ({"gpus": 2, "num_workers": 2}, "each worker drives one GPU"),
        ({"gpus": 0.5, "num_workers": 2}, "DDP needs a GPU for each worker"),
        ({"resources": {"GPU": 1}}, r"give gpus=\.\.\."),
        ({"resources": {"num_cpus": 1}}, r"give cpus=\.\.\."),
        ({"resources": {"custom": 0}}, "custom"),
        ({"resources": {"custom": "1"}}, "custom"),
        ({"resources": ["custom"]}, "resources"),
        ({"gpus": 0, "trainer_kwargs": {"accelerator": "gpu"}}, "a run has no GPU"),
    ],
)
def test_what_can_not_be_is_refused(kwargs: dict[str, Any], why: str):
    with pytest.raises(ValueError, match=why):
        trainer(**kwargs)


def test_a_gpu_that_the_cluster_does_not_have_is_refused_when_it_is_known():
    asks = {"trainer_kwargs": {"accelerator": "gpu"}}
    assert on(1, **asks).resources == {"cpu": 1, "gpu": 1}
    with pytest.raises(ValueError, match="a run has no GPU"):
        on(0, **asks)
