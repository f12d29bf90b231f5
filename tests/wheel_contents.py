"""What an installed wheel has to contain; `nox -s wheel` runs it outside of the checkout."""

from __future__ import annotations

import importlib.resources
import json
import subprocess
import sys
from importlib.metadata import metadata, version
from pathlib import Path

import jsonschema
import pytest
from ray import tune

import tune_seeds
from tune_seeds import SeedResults, SeedTuner


def train(config):
    tune.report({"score": config["x"] + config["seed"] % 7})


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> SeedResults:
    return SeedTuner(
        train,
        seeds=[1, 2],
        param_space={"x": tune.grid_search([1, 2])},
        tune_config=tune.TuneConfig(metric="score", mode="max"),
        run_config=tune.RunConfig(name="study", storage_path=str(tmp_path_factory.mktemp("all"))),
    ).fit()


def test_the_wheel_and_not_a_checkout_is_imported():
    assert "site-packages" in str(Path(tune_seeds.__file__))


def test_types_and_licence_are_told():
    assert importlib.resources.files("tune_seeds").joinpath("py.typed").is_file()
    assert metadata("tune-seeds")["License-Expression"] == "Apache-2.0"


def test_the_console_script_runs(results):
    script = Path(sys.executable).with_name("tune-seeds")
    told = subprocess.run([script, "--version"], capture_output=True, text=True, check=True).stdout
    assert told.strip() == version("tune-seeds")
    best = subprocess.run([script, "best", results.path], capture_output=True, check=True).stdout
    assert json.loads(best)["group"] == "g0002"


def test_the_schema_describes_the_results(results):
    schema = importlib.resources.files("tune_seeds").joinpath("results.schema.json").read_text()
    jsonschema.validate(json.loads(results.to_json()), json.loads(schema))


def test_the_report_has_its_style_and_its_charts(results, tmp_path):
    page = results.report(tmp_path / "report.html").read_text()
    assert "<style>" in page and "<script" in page and "plotly" in page.lower()
