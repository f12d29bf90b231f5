"""What a run does to its process harms no other run: each has a defined end."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray import tune

from tune_seeds import SeedTuner
from tune_seeds.core.ledger import RunKey

#: What a run does after its first report, and how it ends then.
KINDS = {
    "changes the directory": "complete",
    "floods stdout": "complete",
    "leaves a thread behind": "complete",
    "seeds itself": "complete",
    "changes variables": "complete",
    "closes stdout": "complete",
    "turns gradients off": "complete",
    "exits by sys.exit": "failed",
    "is killed by a segmentation fault": "failed",
    "raises KeyboardInterrupt": "failed",
}


def misbehave(kind: str, beside: Path) -> None:
    match kind:
        case "changes the directory":
            os.chdir("/")
        case "floods stdout":
            for _ in range(2000):
                print("x" * 5000)
        case "leaves a thread behind":
            threading.Thread(target=lambda: time.sleep(3600), daemon=True).start()
        case "seeds itself":
            random.seed(0)
            np.random.seed(0)
            torch.manual_seed(0)
        case "changes variables":
            os.environ["PYTHONHASHSEED"] = "123"
            os.environ["HOME"] = str(beside)
        case "closes stdout":
            sys.stdout.close()
        case "turns gradients off":
            torch.set_grad_enabled(False)
            torch.set_default_dtype(torch.float64)
        case "exits by sys.exit":
            sys.exit("enough")
        case "is killed by a segmentation fault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "raises KeyboardInterrupt":
            raise KeyboardInterrupt
        case _:
            pass


@pytest.mark.usefixtures("ray_session")
def test_each_has_an_end_of_its_own_and_the_others_are_as_ever(storage: str):
    def train(config: dict[str, Any]) -> None:
        drawn = [random.random(), float(np.random.rand()), float(torch.rand(()))]
        alike = torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32
        tune.report({"score": config["x"], "drawn": sum(drawn), "alike": alike})
        misbehave(config["kind"], Path(storage).parent)
        tune.report({"score": config["x"] + 1})

    kinds = [kind for bad in KINDS for kind in (bad, f"good after: {bad}")]
    results = SeedTuner(
        train,
        seeds=[47],
        param_space={"kind": tune.grid_search(kinds), "x": 0.5},
        tune_config=tune.TuneConfig(metric="score", mode="max", max_concurrent_trials=1),
        run_config=tune.RunConfig(name="misbehave", storage_path=storage),
    ).fit()
    states = dict(zip(results.groups["group"], results.groups["state"], strict=True))
    found = {config["kind"]: states[g] for g, config in results.ledger.configs.items()}
    assert {kind: found[kind] for kind in KINDS} == KINDS
    assert {found[kind] for kind in kinds if kind not in KINDS} == {"complete"}
    # Whatever was done before in the process, each run draws what its seed says.
    runs = [results.ledger[RunKey(group, 47)] for group in results.ledger.configs]
    assert len({run.reports[1]["drawn"] for run in runs}) == 1
    assert all(run.reports[1]["alike"] for run in runs)
    errors = {
        config["kind"]: results.ledger[RunKey(group, 47)].error
        for group, config in results.ledger.configs.items()
    }
    assert "process died: Worker exits unexpectedly" in str(errors["exits by sys.exit"])
    assert "process died" in str(errors["is killed by a segmentation fault"])
