"""Does a long study leak? A thousand tiny runs in one study, beside plain Ray Tune.

python experiments/benchmarks/soak.py --runs 1000

Each of the two is a process of its own with its own Ray. Printed are the driver's memory, open
files and threads when a tenth, a half and all of the runs have ended, and what each run cost.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune

from tune_seeds import SeedTuner

_MARK = "SOAK "


def train(config: dict[str, Any]) -> None:
    """Two epochs of nothing."""
    for epoch in (1, 2):
        tune.report({"epoch": epoch, "score": config["x"] * epoch})


def standing() -> dict[str, float]:
    """What this process holds now: MB of memory, open files, threads."""
    status = Path("/proc/self/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return {
        "rss_mb": int(fields["VmRSS"].split()[0]) / 1024,
        "files": len(os.listdir("/proc/self/fd")),
        "threads": int(fields["Threads"]),
    }


class Watch(tune.Callback):
    """Notes how the driver stands whenever another tenth of the runs has ended."""

    def __init__(self, n_runs: int) -> None:
        self.n_runs, self.n_ended = n_runs, 0
        self.seen: dict[int, dict[str, float]] = {}
        self._start = time.monotonic()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Count a run."""
        self.n_ended += 1
        tenth = 10 * self.n_ended // self.n_runs
        if tenth not in self.seen:
            self.seen[tenth] = {**standing(), "s": time.monotonic() - self._start}


def ours(n_runs: int, storage: str, watch: Watch) -> None:
    """A study of two seeds."""
    SeedTuner(
        train,
        seeds=[47, 881],
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(metric="score", mode="max", num_samples=n_runs // 2),
        run_config=tune.RunConfig(name="soak", storage_path=storage, callbacks=[watch]),
    ).fit()


def plain(n_runs: int, storage: str, watch: Watch) -> None:
    """Ray Tune, with its processes reused."""
    tune.Tuner(
        train,
        param_space={"x": tune.uniform(0, 1), "seed": tune.grid_search([47, 881])},
        tune_config=tune.TuneConfig(
            metric="score", mode="max", num_samples=n_runs // 2, reuse_actors=True
        ),
        run_config=tune.RunConfig(name="soak", storage_path=storage, callbacks=[watch], verbose=0),
    ).fit()


METHODS = {"tune_seeds": ours, "Ray Tune": plain}


def one(method: str, n_runs: int) -> None:
    """Run one method in this process, and print what was seen as JSON."""
    os.environ.setdefault("RAY_worker_niceness", "0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    watch = Watch(n_runs)
    with tempfile.TemporaryDirectory() as storage:
        METHODS[method](n_runs, storage, watch)
    ray.shutdown()
    print(_MARK + json.dumps(watch.seen), flush=True)


def main(argv: list[str] | None = None) -> None:
    """Print a row per method and moment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000, help="an even number, at least 20")
    parser.add_argument("--method", choices=list(METHODS), help="this one only, in this process")
    args = parser.parse_args(argv)
    if args.runs < 20 or args.runs % 2:
        parser.error("--runs must be an even number of at least 20")
    if args.method:
        one(args.method, args.runs)
        return
    print(f"{'':12}{'runs':>8}{'memory, MB':>12}{'open files':>12}{'threads':>9}{'ms per run':>12}")
    for method in METHODS:
        command = [sys.executable, __file__, "--method", method, "--runs", str(args.runs)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        line = next(line for line in output.splitlines() if line.startswith(_MARK))
        seen: dict[str, dict[str, float]] = json.loads(line.removeprefix(_MARK))
        before = {"s": 0.0, "n": 0.0}
        for tenth in ("1", "5", "10"):
            now = seen[tenth]
            n = int(tenth) * args.runs // 10
            ms = 1000 * (now["s"] - before["s"]) / (n - before["n"])
            print(
                f"{method:12}{n:8}{now['rss_mb']:12.0f}{now['files']:12.0f}{now['threads']:9.0f}"
                f"{ms:12.1f}",
                flush=True,
            )
            before = {"s": now["s"], "n": float(n)}


if __name__ == "__main__":
    main()
