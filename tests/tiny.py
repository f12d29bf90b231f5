"""Small real trainings for tests: a Lightning regression and plain Ray Tune functions."""

from __future__ import annotations

import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from ray import tune

from tune_seeds import load_rng_state, save_rng_state, should_checkpoint

SEEDS = [47, 881, 123456789]


def __getattr__(name: str) -> Any:
    """The Lightning training; processes that train a function need not import Lightning."""
    if name not in ("TinyModule", "TinyData"):
        raise AttributeError(name)
    import tiny_lightning

    return getattr(tiny_lightning, name)


def walk(config: dict[str, Any]) -> None:
    """A plain function: a random walk towards ``config["x"]``, resumable, steps in "t"."""
    position, start = 0.0, 1
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            state = json.loads((Path(directory) / "state.json").read_text())
            position, start = state["position"], state["t"] + 1
            load_rng_state(directory)
    for t in range(start, config.get("steps", 4) + 1):
        position += config["x"] + random.random() / 10
        metrics = {"t": t, "score": position}
        if config.get("fail_on") == config["seed"] and t == 2:
            raise RuntimeError("planted failure")
        if config.get("nan_on") == config["seed"] and t == 2:
            metrics["score"] = float("nan")
        if not should_checkpoint(t):
            tune.report(metrics)
            continue
        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "state.json").write_text(json.dumps({"position": position, "t": t}))
            save_rng_state(directory)
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(directory))


def slow_walk(config: dict[str, Any]) -> None:
    """``walk`` at a pace at which a kill falls into the middle of it."""
    report = tune.report

    def paced(*args: Any, **kwargs: Any) -> None:
        time.sleep(0.1)
        report(*args, **kwargs)

    tune.report = paced
    try:
        walk(config)
    finally:
        tune.report = report


def walked(x: float, seed: int, steps: int) -> list[float]:
    """What ``walk`` reports without Ray."""
    generator = random.Random(seed)
    position, positions = 0.0, []
    for _ in range(steps):
        position += x + generator.random() / 10
        positions.append(position)
    return positions
