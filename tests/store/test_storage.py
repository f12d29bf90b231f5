"""Experiments elsewhere than in a local directory: a file system of the user's, and URIs."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pyarrow.fs
import pytest
import tiny
from pictures.board import board
from ray import tune

from tune_seeds import SeedResults, SeedTuner
from tune_seeds.cli.main import main
from tune_seeds.store.directory import joined, split


@pytest.mark.parametrize(
    ("storage", "experiment"),
    [
        ("/results/", "/results/cifar"),
        ("s3://bucket", "s3://bucket/cifar"),
        ("s3://b/r?endpoint_override=h:9", "s3://b/r/cifar?endpoint_override=h:9"),
        ("/what?", "/what?/cifar"),
    ],
)
def test_an_experiment_is_found_in_its_storage(storage, experiment):
    assert joined(storage, "cifar") == experiment
    assert split(experiment) == (storage.rstrip("/"), "cifar")


@pytest.mark.usefixtures("ray_session")
def test_a_study_on_a_file_system_of_the_users(tmp_path: Path, capsys):
    """As on an object store: a journal uploaded whole, files that Ray copies, no local paths."""
    fs = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
    driver = os.getpid()

    def interrupts(config):
        if config["x"] == 0.3 and not (tmp_path / "again").exists():
            (tmp_path / "again").touch()
            os.kill(driver, signal.SIGINT)
        tiny.slow_walk(config)

    def make() -> SeedTuner:
        return SeedTuner(
            interrupts,
            seeds=[1, 2],
            param_space={"x": tune.grid_search([0.1, 0.2, 0.3])},
            tune_config=tune.TuneConfig(metric="score", mode="max", max_concurrent_trials=2),
            run_config=tune.RunConfig(name="study", storage_path="results", storage_filesystem=fs),
        )

    left = make().fit()
    states = set(left.groups["state"])
    assert "unfinished" in states and "complete" in states
    advice = "SeedTuner.restore('results/study', trainable, storage_filesystem=...)"
    assert f"{advice}.fit()" in capsys.readouterr().out
    with pytest.raises(FileExistsError) as error:
        make()
    assert advice in str(error.value)

    assert SeedTuner.can_restore("results/study", fs)
    results = SeedTuner.restore("results/study", interrupts, storage_filesystem=fs).fit()
    assert set(results.groups["state"]) == {"complete"}
    for key, run in results.ledger.items():
        x = results.ledger.configs[key.group]["x"]
        assert list(run.curve.values()) == tiny.walked(x, key.seed, 4)
    assert SeedResults("results/study", fs).best == results.best
    assert main(["best", f"file://{tmp_path}/results/study"]) == 0
    with board(str(tmp_path / "results" / "study")) as server:
        rows = server.wait_for_rows(3)
    for row in rows:
        assert set(row["sessions"].values()) == {"STATUS_SUCCESS"}
        assert row["metrics"]["seeds"] == 2
    assert len(rows) == 3
