"""Wrong calls of ``SeedTuner`` end in a ValueError that names the argument, before any run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from tune_seeds import SeedTuner
from tune_seeds.engine.study_arguments import check_run_config, check_tune_config
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.study_spec import Header


def train(config):
    tune.report({"loss": 1.0})


TUNE = {"metric": "loss", "mode": "min"}
ITSELF: dict[str, Any] = {"lr": tune.uniform(0, 1)}
ITSELF["again"] = ITSELF


def construct(trainable: Any = train, space: Any = None, tune_config: Any = None, **kwargs: Any):
    return SeedTuner(
        trainable,
        param_space={"lr": tune.uniform(0, 1)} if space is None else space,
        tune_config=tune_config or tune.TuneConfig(**{**TUNE, **kwargs.pop("tuning", {})}),
        **{"seeds": [1, 2], **kwargs},
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_samples", 2.5),
        ("num_samples", 0),
        ("num_samples", True),
        ("max_concurrent_trials", 2.5),
        ("max_concurrent_trials", -1),
        ("time_budget_s", "1h"),
        ("time_budget_s", -5),
        ("time_budget_s", math.nan),
        ("scheduler", ASHAScheduler),
        ("metric", ["loss", "acc"]),
        ("mode", ["min", "max"]),
        ("metric", 3),
    ],
)
def test_tune_config(name, value):
    with pytest.raises(ValueError, match=name):
        construct(tuning={name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_finalists", 2.5),
        ("n_finalists", 0),
        ("confirm_top", "2"),
        ("confirm_seeds", -1),
        ("confirm_seeds", "12"),
        ("on_seed_failure", "ignore"),
        ("aggregate", lambda: 0.0),
        ("reuse_actors", "yes"),
        ("seeds_per_rung", 3),
        ("seeds", {1, 2}),
        ("seeds", 2.5),
        ("seeds", None),
        ("run_config", tune.TuneConfig()),
        ("run_config", tune.RunConfig(name="../up")),
        ("run_config", tune.RunConfig(storage_path="")),
        ("tune_config", {"metric": "loss"}),
    ],
)
def test_arguments(name, value):
    with pytest.raises(ValueError, match=rf"{name}|RunConfig"):
        construct(**{name: value})


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ([("lr", 1)], "param_space must be a dict"),
        ({3: tune.uniform(0, 1)}, "keys must be text"),
        ({"a": {("x", 1): 2, "y": 3}, "lr": tune.uniform(0, 1)}, "keys must all be text"),
        ({"lr": tune.uniform(1, 0)}, "lower bound"),
        ({"n": tune.randint(3, 3)}, "lower bound"),
        ({"lr": tune.choice([])}, "at least one value"),
        ({"lr": {"grid_search": []}}, "list of values"),
        (ITSELF, "contains itself"),
    ],
)
def test_spaces(space, message):
    with pytest.raises(ValueError, match=message):
        construct(space=space)


@pytest.mark.parametrize(
    "trainable",
    [
        torch.nn.Linear(1, 1),
        lightning.LightningModule,
        lambda: None,
        lambda config, data: None,
        3,
        None,
    ],
)
def test_trainables(trainable):
    with pytest.raises(ValueError):
        construct(trainable)


@pytest.mark.parametrize("value", [-0.1, 1.5, math.nan, "0.5", True, [0.5]])
def test_patience_is_a_share(value):
    with pytest.raises(ValueError, match="patience must be"):
        construct(tuning={"scheduler": ASHAScheduler(max_t=9)}, patience=value)


@pytest.mark.parametrize("seeds_per_rung", ["all", "ladder", None])
def test_only_the_adaptive_policy_has_patience(seeds_per_rung: str | None):
    scheduler = None if seeds_per_rung is None else ASHAScheduler(max_t=9)
    given = {} if seeds_per_rung is None else {"seeds_per_rung": seeds_per_rung}
    with pytest.raises(ValueError, match="seeds_per_rung='adaptive'"):
        construct(tuning={"scheduler": scheduler}, patience=0.5, **given)


@pytest.mark.parametrize(
    ("given", "kept"), [({}, 0.5), ({"patience": 0}, 0.0), ({"patience": 1}, 1.0)]
)
def test_patience_is_on_record(tmp_path: Path, given: dict[str, Any], kept: float):
    header = construct(
        tuning={"scheduler": ASHAScheduler(max_t=9)},
        run_config=tune.RunConfig(storage_path=str(tmp_path)),
        **given,
    )._launch.header
    header.write(ExperimentDir.at(str(tmp_path)))
    again = Header.read(ExperimentDir.at(str(tmp_path)))
    assert again.patience == kept
    # What shows a difference: on many slots one waits where the other sends a group on.
    policy = again.make_policy()
    for k in range(8):
        policy.promoted(f"g{k}", policy.first())
    policy.scored("g0", policy.first(), [0.5], 0.5)
    assert (policy.propose(exhausted=True, n_slots=8, n_busy=7) is None) == (kept > 0)


def test_an_older_header_has_the_default_patience(tmp_path: Path):
    header = construct(run_config=tune.RunConfig(storage_path=str(tmp_path)))._launch.header
    header.write(ExperimentDir.at(str(tmp_path)))
    text = json.loads((tmp_path / "study.json").read_text())
    del text["patience"]
    (tmp_path / "study.json").write_text(json.dumps(text))
    assert Header.read(ExperimentDir.at(str(tmp_path))).patience == 0.5


@pytest.mark.parametrize("n", [0, -1, 2.5, True])
def test_num_samples(n):
    with pytest.raises(ValueError, match="num_samples counts configs"):
        check_tune_config(tune.TuneConfig(num_samples=n))


@pytest.mark.parametrize(
    "run_config",
    [
        tune.RunConfig(stop={"acc": 1}),
        tune.RunConfig(checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1)),
        tune.RunConfig(checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True)),
    ],
)
def test_run_configs_that_end_runs_elsewhere(run_config: tune.RunConfig):
    with pytest.raises(ValueError):
        check_run_config(run_config)
