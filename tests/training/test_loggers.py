from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import own_logger
import pytest
import tiny
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import DummyLogger
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from tune_seeds import LightningTrainer, RunInfo, SeedTuner, run_info
from tune_seeds.training.loggers import factories, made

RUN = RunInfo("cifar", "g0003", 47, "1400fa1f")


def test_a_run_says_where_it_belongs():
    assert (RUN.group_in_project, RUN.name) == ("cifar/g0003", "g0003 seed=47")
    assert RUN.tags == {"experiment": "cifar", "group": "g0003", "seed": 47, "kind": "run"}
    config = RunInfo("cifar", "g0003", None, "cifar-g0003")
    assert config.name == "g0003"
    assert config.tags == {"experiment": "cifar", "group": "g0003", "kind": "config"}
    assert RunInfo("cifar", "g0003", 5, "x", fresh=True).tags["kind"] == "run on a fresh seed"


def test_there_is_no_run_outside_of_a_trial():
    assert run_info() is None


def test_loggers_are_made_where_they_are_functions_and_left_where_not(tmp_path):
    own = CSVLogger(str(tmp_path))
    factory = partial(own_logger.LineLogger, str(tmp_path))
    assert factories([own, factory]) == [factory]
    for plain in (own, [own], True, False, None):
        assert made(plain, RUN) is plain
    first, second = made([own, factory], RUN)
    assert first is own and second.version == "1400fa1f"
    (only,) = made(factory, None)
    assert type(only) is DummyLogger


@pytest.mark.usefixtures("ray_session")
def test_a_lightning_logger_of_each_run_and_of_each_config(tmp_path: Path):
    logs = tmp_path / "logs"
    logs.mkdir()
    results = SeedTuner(
        LightningTrainer(
            own_logger.LoggingModule,
            tiny.TinyData,
            trainer_kwargs={
                "max_epochs": 2,
                "log_every_n_steps": 1,
                "logger": [lambda run: own_logger.LineLogger(str(logs), run)],
            },
        ),
        seeds=[47, 881],
        param_space={"lr": tune.grid_search([0.1, 0.01]), "width": 4},
        tune_config=tune.TuneConfig(
            metric="val/loss",
            mode="min",
            scheduler=ASHAScheduler(max_t=2, reduction_factor=2),
        ),
        run_config=tune.RunConfig(name="study", storage_path=str(tmp_path)),
        n_finalists=1,
    ).fit()
    told = {file.stem: _lines(file) for file in logs.iterdir()}
    runs = results.runs.set_index("trial_id")
    assert set(told) == {*runs.index, "study-g0001", "study-g0002"}
    for trial_id, run in runs.iterrows():
        lines = told[trial_id]
        tags = [line["made"] for line in lines if "made" in line]
        for one in tags:
            assert one["experiment"] == "study"
            assert one["group"] == run["group"] and one["seed"] == run["seed"]
        # A run that was paused has gone on under the same id; each time it was closed.
        assert sum("finished" in line for line in lines) == len(tags)
        assert "finished" in lines[-1]
        assert {"lr": run["config/lr"], "width": 4} in [line.get("params") for line in lines]
        losses = [line["metrics"]["val/loss"] for line in lines if "val/loss" in str(line)]
        assert losses[-1] == run["val/loss"]
    groups = results.groups.set_index("group")
    for name, group in groups.iterrows():
        start, params, metrics, end = told[f"study-{name}"]
        assert start["made"]["kind"] == "config" and "seed" not in start["made"]
        assert params["params"] == {"lr": group["config/lr"], "width": 4}
        assert metrics["metrics"]["score"] == group["score"]
        assert metrics["metrics"]["seeds"] == group["n_seeds"]
        assert end == {"finished": True}


@pytest.mark.usefixtures("ray_session")
def test_a_function_may_ask_where_it_belongs(tmp_path: Path):
    def train(config: dict[str, Any]) -> None:
        run = run_info()
        assert run is not None
        tune.report({"score": config["x"], "told": run.seed, "n": int(run.group[1:])})

    results = SeedTuner(
        train,
        seeds=[47, 881],
        param_space={"x": tune.grid_search([1, 2])},
        tune_config=tune.TuneConfig(metric="score", mode="max"),
        run_config=tune.RunConfig(name="study", storage_path=str(tmp_path)),
    ).fit()
    for key, run in results.ledger.items():
        assert run.reports[1]["told"] == key.seed
        assert run.reports[1]["n"] == int(key.group[1:])


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]
