"""The best config in other tools' words: JSON, YAML, and LightningCLI's config, which trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint
from made_study import make_study

from tune_seeds import LightningTrainer, SeedResults
from tune_seeds.cli.main import main
from tune_seeds.store.blueprint_file import write_blueprint
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.training.trainable import Plan

CONFIGS: list[dict[str, Any]] = [
    {"lr": 0.01, "width": 4, "data.batch_size": 8, "trainer.gradient_clip_val": 0.5},
    {"lr": 0.02, "width": 8, "data.batch_size": 16, "trainer.gradient_clip_val": 1.0},
]
TRAINER = LightningTrainer(
    tiny.TinyModule, tiny.TinyData, trainer_kwargs={"max_epochs": 2, "logger": False}
)


def study(path: Path, configs: list[dict[str, Any]], trainer: Any = TRAINER) -> str:
    made = make_study(path, configs, lambda config, seed, epoch: seed % 9 + len(str(config)))
    if trainer is not None:
        write_blueprint(ExperimentDir.at(made), trainer.blueprint())
    return made


def best(path: str, capsys: Any, *arguments: str) -> str:
    assert main(["best", path, *arguments]) == 0
    return capsys.readouterr().out


def test_json_and_yaml_say_the_same(tmp_path, capsys):
    path = study(tmp_path / "s", CONFIGS)
    document = json.loads(best(path, capsys))
    assert yaml.safe_load(best(path, capsys, "--format", "yaml")) == document
    found = SeedResults(path).best
    assert json.loads(found.to_json()) == yaml.safe_load(found.to_yaml()) == found.to_dict()
    assert document == {**found.to_dict(), "study": document["study"]}
    other = json.loads(best(path, capsys, "--group", "g0001"))
    assert other["config"] == CONFIGS[0]


def test_lightning_cli_trains_what_the_study_trained(tmp_path, capsys):
    path = study(tmp_path / "s", CONFIGS)
    text = best(path, capsys, "--format", "lightning-cli", "--seed", "881")
    (tmp_path / "best.yaml").write_text(text)
    config = SeedResults(path).best.config
    reports: list[dict[str, float]] = []
    TRAINER.retrain(
        {**config, "seed": 881}, Plan(frozenset(), 2), lambda metrics, *_: reports.append(metrics)
    )
    main_file = Path(__file__).with_name("cli_main.py")
    done = subprocess.run(
        [sys.executable, str(main_file), "fit", "--config", str(tmp_path / "best.yaml")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    logged = json.loads(done.stdout.splitlines()[-1])
    assert logged == {k: v for k, v in reports[-1].items() if k != "epoch"}


def test_the_file_says_what_it_left_out(tmp_path):
    callback = ModelCheckpoint(monitor="val/loss")
    trainer = LightningTrainer(
        tiny.TinyModule, tiny.TinyData, trainer_kwargs={"max_epochs": 2, "callbacks": [callback]}
    )
    text = SeedResults(study(tmp_path / "s", CONFIGS, trainer)).best.to_lightning_cli()
    assert "# left out of the trainer: callbacks" in text
    found = yaml.safe_load(text)["trainer"]
    assert found.pop("gradient_clip_val") in (0.5, 1.0)
    assert found == {
        "accelerator": "cpu",
        "devices": 1,
        "deterministic": True,
        "max_epochs": 2,
    }


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (np.float64(1e-5), 1e-5),
        (np.int64(3), 3),
        ((3, np.float32(0.5)), [3, 0.5]),
        ({"a": {"b": (1,)}}, {"a": {"b": [1]}}),
        ("1e-5", "1e-5"),
        ("yes", "yes"),
        (None, None),
        (True, True),
    ],
)
def test_values_of_searchers_keep_their_types(tmp_path, capsys, value, written):
    path = study(tmp_path / "s", [{"lr": value}])
    found = yaml.safe_load(best(path, capsys, "--format", "lightning-cli"))["model"]["lr"]
    assert found == written and type(found) is type(written)


def test_objects_are_never_written_as_their_repr(tmp_path, capsys):
    path = study(tmp_path / "s", [{"lr": np.mean}])
    assert main(["best", path, "--format", "lightning-cli"]) == 2
    assert "--unpickle" in capsys.readouterr().err
    text = best(path, capsys, "--format", "lightning-cli", "--unpickle")
    assert yaml.safe_load(text)["model"]["lr"] == "numpy.mean"
    path = study(tmp_path / "o", [{"lr": object()}])
    assert main(["best", path, "--format", "lightning-cli", "--unpickle"]) == 2
    assert "no config file can hold" in capsys.readouterr().err


def test_what_has_no_lightning_config_says_so(tmp_path, capsys):
    path = study(tmp_path / "s", CONFIGS, trainer=None)
    assert main(["best", path, "--format", "lightning-cli"]) == 2
    assert "plain function" in capsys.readouterr().err
    assert main(["best", path, "--seed", "47"]) == 2
    assert main(["best", path, "--group", "g9"]) == 2
    assert "no group 'g9'" in capsys.readouterr().err
    (tmp_path / "s" / "training.json").write_text("[]")
    assert main(["best", path, "--format", "lightning-cli"]) == 2
    assert "is damaged" in capsys.readouterr().err
