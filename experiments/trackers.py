"""One study in four trackers at once, offline, and what each says when asked by config.

Usage: pip install "tune-seeds[trackers]"; python experiments/trackers.py [FOLDER]
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.update(
    WANDB_MODE="offline",
    WANDB_SILENT="true",
    COMET_API_KEY="offline",
    COMET_LOGGING_CONSOLE="error",
    # MLflow 3 has put its store of plain files into maintenance, and asks to be told.
    MLFLOW_ALLOW_FILE_STORE="true",
)

from ray import tune
from ray.air.integrations.comet import CometLoggerCallback
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.air.integrations.wandb import WandbLoggerCallback
from ray.tune.logger.aim import AimLoggerCallback
from ray.tune.schedulers import ASHAScheduler

from tune_seeds import SeedResults, SeedTuner


def train(config: dict) -> None:
    """A run of three steps towards ``x``; one seed of one config fails."""
    if config["x"] == 3 and config["seed"] == 881:
        raise RuntimeError("planted")
    for t in range(1, 4):
        tune.report({"score": config["x"] * t + config["seed"] / 1e4, "t": t})


def main() -> None:
    """Run it and read back what was written."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_DIR"] = str(folder)
    results = SeedTuner(
        train,
        seeds=[47, 881],
        param_space={"x": tune.grid_search([1, 2, 3])},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=1,
            scheduler=ASHAScheduler(time_attr="t", max_t=3, reduction_factor=3),
        ),
        run_config=tune.RunConfig(
            name="tracked",
            storage_path=str(folder),
            callbacks=[
                WandbLoggerCallback(project="seeds", dir=str(folder), mode="offline"),
                MLflowLoggerCallback(
                    tracking_uri=f"file://{folder}/mlruns", experiment_name="seeds"
                ),
                AimLoggerCallback(repo=str(folder), experiment_name="seeds"),
                CometLoggerCallback(online=False, offline_directory=str(folder / "comet")),
            ],
        ),
        seeds_per_rung="all",
    ).fit()
    print(results)
    for ask in (mlflow_says, aim_says, wandb_says, comet_says):
        print(f"\n{ask.__name__.split('_')[0]}:")
        print("\n".join(ask(folder, results)))


def mlflow_says(folder: Path, results: SeedResults) -> list[str]:
    """MLflow's own search: the configs, then the runs below each."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"file://{folder}/mlruns")
    ids = [client.get_experiment_by_name("seeds").experiment_id]
    lines = []
    for parent in client.search_runs(ids, "tags.kind = 'config'"):
        query = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
        seeds = sorted(run.data.tags["seed"] for run in client.search_runs(ids, query))
        lines.append(
            f"{parent.data.tags['group']} {parent.data.params} score "
            f"{parent.data.metrics.get('score')} runs of the seeds {', '.join(seeds)}"
        )
    return lines


def aim_says(folder: Path, results: SeedResults) -> list[str]:
    """Aim's own query, once its index is up to date, as `aim up` keeps it."""
    from aim import Repo

    index = ["aim", "storage", "--repo", str(folder), "reindex", "-y"]
    subprocess.run(index, check=True, capture_output=True)
    repo = Repo(str(folder))
    lines = []
    for group in results.groups["group"]:
        query = repo.query_runs(f"run.group == '{group}'", report_mode=0)
        runs = [collection.run for collection in query.iter_runs()]
        seeds = sorted(run["seed"] for run in runs if run["kind"] == "run")
        (own,) = [run for run in runs if run["kind"] == "config"]
        lines.append(
            f"{own['group']} {own['hparams']} score {own['aggregate'].get('score')} "
            f"runs of the seeds {', '.join(map(str, seeds))}"
        )
    return lines


def wandb_says(folder: Path, results: SeedResults) -> list[str]:
    """W&B has no query offline; its files hold what ``wandb sync`` would send."""
    found: dict[str, list[str]] = {}
    for file in folder.rglob("*.wandb"):
        group, kind, score = "", "", None
        config: dict[str, str] = {}
        for record in wandb_records(file.read_bytes()):
            group = record.run.run_group or group
            kind = record.run.job_type or kind
            config |= {item.key: item.value_json for item in record.run.config.update}
            for item in record.summary.update:
                score = item.value_json if item.key == "score" else score
        what = f"config, score {score}" if kind == "config" else f"seed {config['seed']}"
        found.setdefault(group, []).append(what)
    return [f"{group}: {', '.join(sorted(what))}" for group, what in sorted(found.items())]


def wandb_records(data: bytes) -> Iterator[Any]:
    """The records of a .wandb file: LevelDB's log format, after a header of seven bytes."""
    from wandb.proto import wandb_internal_pb2

    position, parts = 7, b""
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        length, kind = struct.unpack("<HB", data[position + 4 : position + 7])
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def comet_says(folder: Path, results: SeedResults) -> list[str]:
    """Comet has no query offline; its archives hold what ``comet upload`` would send."""
    found: dict[str, list[str]] = {}
    for archive in (folder / "comet").glob("*.zip"):
        with zipfile.ZipFile(archive) as content:
            lines = content.read("messages.json").decode().splitlines()
        payloads = [json.loads(line)["payload"] for line in lines]
        params = {
            item["param"]["paramName"]: item["param"]["paramValue"]
            for item in payloads
            if item.get("param")
        }
        scores = [
            item["metric"]["metricValue"]
            for item in payloads
            if item.get("metric") and item["metric"]["metricName"] == "score"
        ]
        what = f"seed {params['seed']}" if "seed" in params else f"config, score {scores[-1:]}"
        found.setdefault(params["group"], []).append(what)
    return [f"{group}: {', '.join(sorted(what))}" for group, what in sorted(found.items())]


if __name__ == "__main__":
    main()
