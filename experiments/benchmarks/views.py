"""How the views bear 2,000 runs: seconds, megabytes, lines. Curves are made up, views are real.

Usage: python experiments/benchmarks/views.py [--configs 667]
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from benchmarks.made_up import MadeUp, steps
from pictures import browser
from pictures.board import board
from ray import tune
from rich.console import Console

from tune_seeds import SeedResults
from tune_seeds.views.terminal import Progress

SPACE = {
    "lr": tune.loguniform(1e-4, 1e-1),
    "weight_decay": tune.loguniform(1e-6, 1e-2),
    "optimizer": tune.choice(["sgd", "adam", "adamw"]),
    "width": tune.choice([32, 64, 128]),
    "dropout": tune.uniform(0, 0.5),
}


def main() -> None:
    """Make a study, look at it in every way, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", type=int, default=667, help="3 runs each")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    configs = [
        {
            "lr": float(10 ** rng.uniform(-4, -1)),
            "weight_decay": float(10 ** rng.uniform(-6, -2)),
            "optimizer": str(rng.choice(["sgd", "adam", "adamw"])),
            "width": int(rng.choice([32, 64, 128])),
            "dropout": float(rng.uniform(0, 0.5)),
        }
        for _ in range(arguments.configs)
    ]
    made = MadeUp(configs, space=SPACE, seeds_per_rung="all", max_t=27, n_slots=8)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "study"
        _progress(path, made)
        _results(path)
        _board(path, len(configs))


def _progress(path: Path, made: MadeUp) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    progress, heights, seconds = None, [], []
    start = time.perf_counter()
    for n, study in enumerate(steps(path, made)):
        progress = progress or Progress(study, len(made.configs), console=console)
        if n % 100 == 0:
            begin = time.perf_counter()
            progress.on_step_end(n, [])
            screen = Console(file=io.StringIO(), width=80, height=24)
            screen.print(progress.render())
            seconds.append(time.perf_counter() - begin)
            heights.append(len(screen.file.getvalue().splitlines()))
    n_reports = sum(len(run.reports) for run in study.race.ledger.values())
    print(f"made {len(study.keys)} runs, {n_reports} reports: {time.perf_counter() - start:.1f} s")
    print(f"progress: at most {max(heights)} of 24 lines, ", end="")
    print(f"{1000 * statistics.median(seconds):.0f} ms a picture, at most {max(seconds):.2f} s")


def _results(path: Path) -> None:
    start = time.perf_counter()
    results = SeedResults(str(path))
    print(f"results: read in {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    report = results.report(path.parent / "report.html")
    took, size = time.perf_counter() - start, report.stat().st_size / 1e6
    print(f"report: {size:.2f} MB, written in {took:.1f} s", end="")
    if browser.executable() is None:
        print("; not opened, chromium is not installed")
        return
    with browser.browser(1200, 900) as page:
        start = time.perf_counter()
        page.open(f"file://{report}")
        page.wait_for("document.querySelectorAll('figure .main-svg').length >= 5")
        print(f", drawn in chromium in {time.perf_counter() - start:.1f} s", end="")
        start = time.perf_counter()
        page.evaluate("document.querySelectorAll('.key input')[8].click()")
        print(f", a click on a curve {time.perf_counter() - start:.2f} s")


def _board(path: Path, n_configs: int) -> None:
    n_files = sum(1 for _ in path.rglob("*tfevents*"))
    start = time.perf_counter()
    with board(str(path)) as server:
        started = time.perf_counter() - start
        while True:
            rows = server.rows()
            complete = sum(row["metrics"].get("seeds", 0) == 3 for row in rows)
            if complete == n_configs:
                break
            if time.perf_counter() - start > 300:
                raise TimeoutError(f"{complete} of {n_configs} rows after 300 s")
            time.sleep(0.5)
        took = time.perf_counter() - start
        print(f"TensorBoard: {n_files} event files; it answers after {started:.1f} s, ", end="")
        print(f"all {len(rows)} rows are there, with 3 seeds, after {took:.1f} s")
        start = time.perf_counter()
        server.rows()
        print(f"the rows once more: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
