from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import tiny
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from tune_seeds import LightningTrainer, SeedTuner
from tune_seeds.cli import audit as audit_command
from tune_seeds.cli.verify import add_parser
from tune_seeds.reproduce.verify import first_difference
from tune_seeds.store.journal import JOURNAL


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    add_parser(subparsers)
    audit_command.add_parser(subparsers)
    parsed = parser.parse_args(arguments)
    return parsed.func(parsed)


@pytest.fixture(scope="module")
def experiments(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Lightning study and a plain one, both with pauses."""
    storage = tmp_path_factory.mktemp("verify")
    common: dict[str, Any] = {"n_finalists": 1}
    SeedTuner(
        LightningTrainer(tiny.TinyModule, tiny.TinyData, trainer_kwargs={"max_epochs": 4}),
        param_space={"lr": tune.grid_search([0.05, 0.01])},
        tune_config=tune.TuneConfig(
            metric="val/loss", mode="min", scheduler=ASHAScheduler(max_t=4, reduction_factor=2)
        ),
        run_config=tune.RunConfig(name="lightning", storage_path=str(storage)),
        seeds=[47],
        **common,
    ).fit()
    SeedTuner(
        tiny.walk,
        param_space={"x": tune.grid_search([0.05])},
        tune_config=tune.TuneConfig(metric="score", mode="max"),
        run_config=tune.RunConfig(name="plain", storage_path=str(storage)),
        seeds=[47, 881],
        **common,
    ).fit()
    return storage


def test_the_best_group_is_retrained_bit_for_bit(experiments, capsys):
    assert run("verify", str(experiments / "lightning")) == 0
    assert "seed 47: identical, 2 metrics over 4 epochs" in capsys.readouterr().out


def test_a_plain_function_is_verified_too(experiments, capsys):
    assert run("verify", str(experiments / "plain"), "--run", "g0001/881") == 0
    assert "g0001, seed 881: identical, 2 metrics over 4 epochs" in capsys.readouterr().out


def test_a_changed_record_is_found(experiments, capsys):
    """One recorded value is changed in its last bit, and one entry of the environment."""
    journal = experiments / "plain" / JOURNAL
    original = journal.read_text()
    lines = []
    for line in original.splitlines():
        event = json.loads(line)
        if event["event"] == "Reported" and (event["seed"], event["epoch"]) == (47, 2):
            event["metrics"]["score"] *= 1 + 2**-52
        if event["event"] == "EnvironmentRecorded":
            event["environment"]["packages"]["torch"] = "0.4"
        lines.append(json.dumps(event))
    journal.write_text("\n".join(lines) + "\n")
    try:
        assert run("verify", str(experiments / "plain"), "--run", "g0001/47") == 1
    finally:
        journal.write_text(original)
    out = capsys.readouterr().out
    assert "differs first at epoch 2 in score: was" in out
    assert "packages/torch: was '0.4'" in out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["plain", "--run", "nix"], "no run 'nix'"),
        (["plain", "--group", "g0099"], "no group 'g0099'"),
        (["nothing"], "is not the directory of an experiment"),
    ],
)
def test_what_cannot_be_run_is_status_2(experiments, capsys, arguments, reason):
    path, *rest = arguments
    assert run("verify", str(experiments / path), *rest) == 2
    assert reason in capsys.readouterr().err


def test_without_the_trainable_nothing_is_run(experiments, capsys):
    kept = experiments / "plain" / "trainable.pkl"
    moved = kept.rename(kept.with_suffix(".moved"))
    try:
        assert run("verify", str(experiments / "plain"), "--run", "g0001/47") == 2
    finally:
        moved.rename(kept)
    assert "the trainable was not kept" in capsys.readouterr().err


def test_audit_of_an_experiment(experiments, capsys):
    assert run("audit", str(experiments / "lightning"), "--epochs", "1", "--batches", "1") == 0
    assert "reproducible" in capsys.readouterr().out
    assert run("audit", str(experiments / "plain")) == 2
    assert "plain function" in capsys.readouterr().err


def test_the_first_difference_is_by_epoch_and_nan_is_equal_to_nan():
    nan = float("nan")
    recorded = {1: {"a": 1.0, "b": nan}, 2: {"a": 2.0}}
    assert first_difference(recorded, {1: {"a": 1.0, "b": nan}, 2: {"a": 2.0, "c": 3.0}}) is None
    assert first_difference(recorded, {1: {"a": 1.0, "b": 0.0}}) is not None
    assert first_difference(recorded, {1: {"a": 1.0, "b": nan}}) == (2, "a", 2.0, None)
