"""Studies of 12 and 40 configs, carried to their end: what do they cost and what do they choose?

python experiments/benchmarks/small_studies.py --curves DIR    # recorded curves
python experiments/benchmarks/small_studies.py                 # made-up curves only

``replay.py`` asks what a budget buys when configs never run out; most studies are given a number of
configs and end by themselves. Here are three seeds, η = 4, three finalists, two runs at a time, as
``SeedTuner`` would have it.

``RESULTS.md`` has what it was seen to show.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

if __name__ == "__main__":  # run as a file, not as a module
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.race_method import RaceMethod
from benchmarks.record import made_up
from benchmarks.report import standard_error
from benchmarks.simulate import Job, draw, simulate
from benchmarks.tables import Table, read_tables, thin

from tune_seeds.core.rungs import build_rungs, milestones
from tune_seeds.policies.adaptive import Adaptive
from tune_seeds.policies.base import Policy
from tune_seeds.policies.successive_halving import SuccessiveHalving

N_SEEDS, ETA, N_FINALISTS, N_SLOTS = 3, 4, 3, 2
SIZES = ((12, 9), (12, 27), (40, 9), (40, 27))
POLICIES = ("ladder", "adaptive")


class Ended(NamedTuple):
    """How a study ended: its cost in full trainings, and its regret as in ``simulate.draw``."""

    cost: float
    regret: float


def study(table: Table, kind: str, seed: int) -> Ended:
    """Carry one study over all configs of a table to its end.

    Args:
        table: every config is tried; the seeds that the search does not see are for the regret.
        kind: one of ``POLICIES``.
        seed: of the order of configs and the choice of seeds.
    """
    drawn = draw(table, N_SEEDS, rng=np.random.default_rng(seed))
    epochs = milestones(table.n_epochs, 1, ETA)
    policy: Policy = (
        Adaptive(epochs, N_SEEDS, ETA, N_FINALISTS)
        if kind == "adaptive"
        else SuccessiveHalving(build_rungs(epochs, N_SEEDS, kind), ETA, N_FINALISTS)
    )
    trained = 0

    class Counted(RaceMethod):
        def tell(self, job: Job, values: list[float]) -> None:
            nonlocal trained
            trained += len(values)
            super().tell(job, values)

    method = Counted(drawn.curves.shape, policy)
    (answer,) = simulate(method, drawn.curves, (math.inf,), N_SLOTS)
    assert answer is not None
    return Ended(trained / table.n_epochs, float(drawn.regret[answer]))


def part(table: Table, n_configs: int, n_epochs: int, seed: int) -> Table | None:
    """So many configs and epochs of a table; None if it has fewer."""
    if table.n_configs < n_configs or table.n_epochs < n_epochs:
        return None
    chosen = np.random.default_rng((1, seed)).permutation(table.n_configs)[:n_configs]
    return Table(table.name, thin(table.curves[chosen], n_epochs))


def main(argv: list[str] | None = None) -> None:
    """Print a row per table and size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=Path, help="folder of recorded curves")
    parser.add_argument("--repeats", type=int, default=200)
    args = parser.parse_args(argv)
    tables: list[Table] = []
    if args.curves is not None:
        try:
            tables = [t for t in read_tables(args.curves) if t.n_seeds >= N_SEEDS + 2]
        except FileNotFoundError as error:
            parser.error(str(error))
    print(f"{'':30}cost, full trainings    regret, % of (best − median config)")
    print(f"{'table, configs, epochs':30}{'ladder  adaptive':>20}    ladder  adaptive  difference")
    for n_configs, n_epochs in SIZES:
        for table in (None, *tables):
            rows: list[list[Ended]] = []
            for repeat in range(args.repeats):
                rng = np.random.default_rng((2, repeat))
                whole = table or made_up(n_configs, 8, n_epochs, rng=rng)
                piece = part(whole, n_configs, n_epochs, repeat)
                if piece is not None:
                    rows.append([study(piece, kind, repeat) for kind in POLICIES])
            if not rows:
                continue
            found = np.array(rows)
            (cost, regret), ahead = found.mean(axis=0).T, found[:, 1, 1] - found[:, 0, 1]
            name = f"{table.name if table else 'made up'}, {n_configs}, {n_epochs}"
            print(
                f"{name:30}{cost[0]:10.2f}{cost[1]:10.2f}{regret[0]:10.2f}{regret[1]:10.2f}"
                f"{ahead.mean():8.2f} ±{standard_error(ahead):5.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
