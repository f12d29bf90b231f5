"""How long a decision takes as groups grow: the live core and the default policy, no training.

python experiments/benchmarks/overhead.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

if __name__ == "__main__":  # run as a file, not as a module
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.race_method import RaceMethod
from benchmarks.record import made_up

from tune_seeds.core.rungs import milestones
from tune_seeds.policies.adaptive import Adaptive

N_EPOCHS, N_SEEDS, ETA = 27, 3, 3


def microseconds_per_decision(n_groups: int) -> tuple[float, float]:
    """Mean time of one ask and tell over a race with so many groups, and over its last tenth."""
    shape = (n_groups, N_SEEDS, N_EPOCHS)
    curves = made_up(*shape, rng=np.random.default_rng(0)).curves
    policy = Adaptive(milestones(N_EPOCHS, 1, ETA), N_SEEDS, ETA, n_finalists=3)
    method = RaceMethod(shape, policy, policy.leader)
    times = []
    while True:
        start = time.perf_counter()
        job = method.ask()
        if job is None:
            break
        method.tell(job, curves[job.config, job.seed, job.start : job.stop].tolist())
        times.append(time.perf_counter() - start)
    tail = times[-max(1, len(times) // 10) :]
    return 1e6 * float(np.mean(times)), 1e6 * float(np.mean(tail))


def main() -> None:
    """Print the growth."""
    print("groups   µs per decision   in the last tenth   times that of the row above")
    before = None
    for n_groups in (10, 100, 1_000, 10_000):
        mean, tail = microseconds_per_decision(n_groups)
        growth = "" if before is None else f"{mean / before:29.2f}"
        print(f"{n_groups:6d}   {mean:15.0f}   {tail:17.0f}{growth}", flush=True)
        before = mean


if __name__ == "__main__":
    main()
