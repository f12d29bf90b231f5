"""How much choosing the best of many flatters it, on recorded curves.

Each repeat draws configs and seeds, races them, and compares the winner's mean over the tuning
seeds, and its mean over fresh seeds, with its mean over seeds that neither has seen. The first is
too high on average; the second must not be.

python experiments/benchmarks/flattery.py --curves DIR
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import fmean

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.tables import Table, read_tables

from tune_seeds.core.ledger import Ledger
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import build_rungs, milestones
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.race import Race
from tune_seeds.statistics.confirmation import confirmation
from tune_seeds.testing.driver import Driver


def winner(curves: np.ndarray, seeds_per_rung: str) -> int:
    """The best config of a race to its end, judged on every tuning seed."""
    n_epochs, n_seeds = curves.shape[2], curves.shape[1]
    rungs = build_rungs(milestones(n_epochs, 1, 3), n_seeds, seeds_per_rung)
    race = Race(
        Ledger(range(n_seeds), Metric("value", "max")), SuccessiveHalving(rungs, 3, 3), fmean
    )
    configs = [{"config": config} for config in range(len(curves))]
    Driver(race, configs, lambda c, seed, epoch: float(curves[c["config"], seed, epoch - 1])).run()
    complete = [name for name, group in race.groups.items() if rungs[-1] in group.scores]
    best = max(complete, key=lambda name: race.groups[name].scores[rungs[-1]])
    return int(race.ledger.configs[best]["config"])


def repeat(
    table: Table, n_configs: int, n_seeds: int, n_fresh: int, policy: str, rng: np.random.Generator
) -> tuple[float, float]:
    """One winner: search mean − held-out mean, and confirmed mean − held-out mean."""
    configs = rng.choice(table.n_configs, n_configs, replace=False)
    seeds = rng.permutation(table.n_seeds)
    curves = table.curves[configs][:, seeds]
    chosen = winner(curves[:, :n_seeds], policy)
    last = curves[chosen, :, -1]
    search, fresh = last[:n_seeds], last[n_seeds : n_seeds + n_fresh]
    held_out = last[n_seeds + n_fresh :].mean()
    found = confirmation(search[None], fresh[None]).configs[0]
    return found.search_score - held_out, found.confirmed_score - held_out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--curves", type=Path, required=True, help="folder of recorded curves")
    parser.add_argument("--configs", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fresh", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=1000)
    args = parser.parse_args()
    needed = args.seeds + args.fresh + 2
    tables = [
        table
        for table in read_tables(args.curves)
        if table.n_seeds >= needed
        and table.n_configs >= args.configs
        and not np.isnan(table.curves).any()
    ]
    if not tables:
        raise SystemExit(
            f"no table under {args.curves} has {needed} seeds and {args.configs} configs"
        )
    print(f"{args.configs} configs, {args.seeds} seeds, {args.fresh} fresh, {args.repeats} repeats")
    print("bias of the winner's mean ± Monte Carlo standard error, in units of the metric")
    for table in tables:
        for policy in ("all", "ladder"):
            rng = np.random.default_rng(0)
            rows = np.array(
                [
                    repeat(table, args.configs, args.seeds, args.fresh, policy, rng)
                    for _ in range(args.repeats)
                ]
            )
            mean = rows.mean(axis=0)
            error = rows.std(axis=0, ddof=1) / len(rows) ** 0.5
            print(
                f"{table.name:24} {policy:7} search {mean[0]:+.5f} ± {error[0]:.5f}   "
                f"confirmed {mean[1]:+.5f} ± {error[1]:.5f}"
            )


if __name__ == "__main__":
    main()
