"""A study whose nodes come and go, on a Ray cluster of several raylets with made-up GPUs.

``tests/engine/test_lost_node.py`` runs this as a process of its own, which prints what happened as
JSON: Ray allows one cluster in a process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import ray
import tiny
from ray import tune
from ray.cluster_utils import Cluster
from ray.tune.schedulers import ASHAScheduler

from tune_seeds import SeedTuner

STEPS = 16


def walk_and_sign(config: dict[str, Any]) -> None:
    """``walk`` at a slow pace; it leaves a file that says on which node and GPU it was trained."""
    context = ray.get_runtime_context()
    gpus = ",".join(str(gpu) for gpu in context.get_accelerator_ids().get("GPU", []))
    name = f"{context.get_node_id()} {gpus} {os.getpid()} {time.time_ns()}"
    Path(config["signs"], name).touch()
    report = tune.report

    def paced(*args: Any, **kwargs: Any) -> None:
        time.sleep(0.4)
        report(*args, **kwargs)

    tune.report = paced
    try:
        tiny.walk(config)
    finally:
        tune.report = report


def wait_until(holds: Any, timeout_s: float = 120.0) -> None:
    """Look again and again until something holds."""
    end = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.1)


def main(storage: str) -> None:
    """Run the study, add a node in the middle of it, and take the first one away."""
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    # Two runs share each of these GPUs.
    first = cluster.add_node(num_cpus=2, num_gpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    head = ray.get_runtime_context().get_node_id()
    signs = Path(storage, "signs")
    signs.mkdir(parents=True)
    ids: dict[str, str] = {}

    def alive() -> set[str]:
        return {node["NodeID"] for node in ray.nodes() if node["Alive"]} - {head}

    ids["first"] = next(iter(alive()))
    journal = Path(storage, "lost_node", "ledger.jsonl")

    def n_reports() -> int:
        return journal.read_bytes().count(b'"Reported"') if journal.exists() else 0

    def come_and_go() -> None:
        wait_until(lambda: n_reports() >= 8)
        # Ray's own add_node works in the main thread only, which drives the study.
        start = [ray_command, "start", "--block", f"--address={cluster.address}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        options = ["--num-cpus=2", "--num-gpus=1"]
        joined.append(subprocess.Popen([*start, *options], start_new_session=True, **quiet))
        wait_until(lambda: len(alive()) == 2)
        ids["second"] = (alive() - {ids["first"]}).pop()
        wait_until(lambda: any(sign.name.startswith(ids["second"]) for sign in signs.iterdir()))
        before = n_reports()
        wait_until(lambda: n_reports() >= before + 8)
        cluster.remove_node(first, allow_graceful=False)

    joined: list[subprocess.Popen[bytes]] = []
    ray_command = str(Path(sys.executable).with_name("ray"))
    thread = threading.Thread(target=come_and_go, daemon=True)
    thread.start()
    results = SeedTuner(
        tune.with_resources(walk_and_sign, {"cpu": 1, "gpu": 0.5}),
        seeds=[47, 881],
        param_space={
            "x": tune.grid_search([k / 20 for k in range(1, 17)]),
            "steps": STEPS,
            "signs": str(signs),
        },
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            scheduler=ASHAScheduler(time_attr="t", max_t=STEPS, reduction_factor=4),
        ),
        run_config=tune.RunConfig(name="lost_node", storage_path=storage),
        seeds_per_rung="all",
        n_finalists=2,
    ).fit()
    thread.join(10)
    wrong = [
        str(key)
        for key, run in results.ledger.items()
        if list(run.curve.values())
        != tiny.walked(results.ledger.configs[key.group]["x"], key.seed, STEPS)[: len(run.curve)]
    ]
    seen = [sign.name.split() for sign in signs.iterdir()]
    places = {name: sum(node == node_id for node, *_ in seen) for name, node_id in ids.items()}
    report = {
        "finished": results.completeness.finished,
        "came and went": alive() == {ids.get("second")},
        "states": sorted(results.groups["state"]),
        "wrong": wrong,
        "starts on": places,
        "without a GPU": sum(len(words) != 4 for words in seen),
        "best": results.best.config["x"],
    }
    ray.shutdown()
    for process in joined:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
    cluster.shutdown()
    print("FOUND " + json.dumps(report), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
