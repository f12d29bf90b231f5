"""How long do the commands and imports that only read take? Prints a table.

    python experiments/benchmarks/imports.py [--repeats 9]

Each is started as a process of its own. The quickest of the repeats is shown, in seconds by the
clock and of the processor, and as a ratio to an empty Python and to NumPy with pandas.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

EMPTY, FRAMES = "python -c pass", "import numpy, pandas"
COMMANDS: dict[str, list[str]] = {
    EMPTY: [sys.executable, "-c", "pass"],
    FRAMES: [sys.executable, "-c", "import numpy, pandas"],
    "import tune_seeds": [sys.executable, "-c", "import tune_seeds"],
    "from tune_seeds import SeedResults": [
        sys.executable,
        "-c",
        "from tune_seeds import SeedResults",
    ],
    "tune-seeds --version": [str(Path(sys.executable).with_name("tune-seeds")), "--version"],
}


def measure(command: list[str]) -> tuple[float, float]:
    """Seconds by the clock and of the processor that a command takes."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - start, os.times()
    used = after.children_user + after.children_system
    return seconds, used - before.children_user - before.children_system


def main(argv: list[str] | None = None) -> dict[str, tuple[float, float]]:
    """Measure every command in turn, so that a busy moment does not hit one alone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args(argv).repeats
    runs = [{name: measure(command) for name, command in COMMANDS.items()} for _ in range(repeats)]
    found = {
        name: (min(run[name][0] for run in runs), min(run[name][1] for run in runs))
        for name in COMMANDS
    }
    print(f"{'':36}{'clock s':>9}{'CPU s':>8}{'/ python':>10}{'/ numpy, pandas':>17}")
    for name, (seconds, used) in found.items():
        ratios = f"{seconds / found[EMPTY][0]:10.1f}{seconds / found[FRAMES][0]:17.2f}"
        print(f"{name:36}{seconds:9.2f}{used:8.2f}{ratios}")
    return found


if __name__ == "__main__":
    main()
