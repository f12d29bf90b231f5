from __future__ import annotations

from typing import Any

import pytest
import torch
from ray import tune

from tune_seeds import SeedTuner, should_checkpoint
from tune_seeds.training.fingerprint import FirstForward
from tune_seeds.training.function import from_function
from tune_seeds.training.trainable import Plan, set_plan


def train(config: dict[str, Any]) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    x = torch.rand(8, 3) * config["scale"]
    with torch.no_grad():
        net(torch.zeros(1, 3))  # an evaluation before training is not the first batch
    loss = net(x).square().mean()
    tune.report({"loss": float(loss)})


def test_a_plan_checkpoints_at_rungs_and_at_the_end():
    plan = Plan(frozenset({1, 3}), 9)
    assert [epoch for epoch in range(1, 10) if plan.checkpoint_at(epoch)] == [1, 3, 9]
    set_plan(plan)
    assert [should_checkpoint(epoch) for epoch in (1, 2, 3)] == [True, False, True]


@pytest.mark.parametrize(
    ("function", "time_attr", "message"),
    [
        (3, "t", "must be a LightningTrainer or a function"),
        (tune.Trainable, "t", "write it as a function"),
        (train, "time_total_s", "counts seconds"),
    ],
)
def test_what_is_no_trainable(function: Any, time_attr: str, message: str):
    with pytest.raises(ValueError, match=message):
        from_function(function, time_attr)


def test_the_first_forward_pass_in_training_is_noted():
    torch.manual_seed(0)
    net, batch = torch.nn.Linear(3, 1), torch.rand(2, 3)
    first = FirstForward()
    net.eval()(torch.zeros(1, 3))
    assert not first.fingerprints
    net.train()(batch)
    noted = dict(first.fingerprints)
    assert set(noted) == {"initial_weights", "first_batch"}
    with torch.no_grad():
        net.weight += 1
    net(batch + 1)
    assert first.fingerprints == noted  # and only the first
    again = FirstForward()
    net(batch)
    assert again.fingerprints["first_batch"] == noted["first_batch"]
    assert again.fingerprints["initial_weights"] != noted["initial_weights"]
    closed = FirstForward()
    closed.close()
    net(batch)
    assert not closed.fingerprints


@pytest.mark.usefixtures("ray_session")
def test_a_plain_function_records_what_its_bits_depend_on(storage: str):
    """Configs start from the same weights; what differs between them is the first batch."""
    results = SeedTuner(
        train,
        seeds=[47, 881],
        param_space={"scale": tune.grid_search([1.0, 2.0])},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(name="plain", storage_path=storage),
    ).fit()
    found = {(key.group, key.seed): run.environment or {} for key, run in results.ledger.items()}
    weights = {key: record["initial_weights"] for key, record in found.items()}
    batches = {key: record["first_batch"] for key, record in found.items()}
    first, second = results.ledger.configs
    assert weights[first, 47] == weights[second, 47] != weights[first, 881]
    assert len(set(batches.values())) == 4
    assert not results.environment_differences
