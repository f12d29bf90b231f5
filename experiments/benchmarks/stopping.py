"""What ``SeedTuner(stop_when=...)`` saves, and what it gives up, on recorded or made-up curves.

python experiments/benchmarks/stopping.py --curves DIR    # recorded curves
python experiments/benchmarks/stopping.py                 # made-up curves only

Studies of up to 400 configs on three seeds, one run at a time, each carried to its end with and
without the rule. ``stop_when`` is given in hundredths of the distance from the best to the median
config of a table, and so is regret: how far the config that was chosen is from the best one, on
seeds that the search did not see. If the rule keeps its word, each training that it saves would
have lowered regret by ``stop_when`` or less.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

if __name__ == "__main__":  # run as a file, not as a module
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.race_method import RaceMethod
from benchmarks.record import made_up
from benchmarks.report import standard_error
from benchmarks.simulate import Job, draw, simulate
from benchmarks.tables import Table, read_tables, thin

from tune_seeds.core.rungs import milestones
from tune_seeds.policies.adaptive import Adaptive

#: Smaller tables have no config to spare.
LEAST_CONFIGS = 100
N_SEEDS, ETA, N_FINALISTS, N_CONFIGS = 3, 4, 3, 400
PERCENT = (5.0, 2.0, 1.0, 0.5)


def study(table: Table, percent: float | None, seed: int) -> tuple[int, float, float]:
    """Carry one study to its end.

    Args:
        table: at most ``N_CONFIGS`` of its configs are tried.
        percent: ``stop_when``, in hundredths of the distance from the best to the median config.
        seed: of the order of configs and the choice of seeds.

    Returns:
        Configs that were tried, cost in full trainings, regret as in ``simulate.draw``.
    """
    drawn = draw(table, N_SEEDS, rng=np.random.default_rng(seed))
    curves = drawn.curves[:N_CONFIGS]
    last = np.nan_to_num(table.curves[:, :, -1], nan=np.nanmin(table.curves[:, :, -1]))
    means = last.mean(axis=1)
    unit = (means.max() - np.median(means)) / 100
    epochs = milestones(table.n_epochs, 1, ETA)
    stop_when = None if percent is None else float(percent * unit)
    policy = Adaptive(epochs, N_SEEDS, ETA, N_FINALISTS, stop_when=stop_when)
    trained = 0

    class Counted(RaceMethod):
        def tell(self, job: Job, values: Sequence[float]) -> None:
            nonlocal trained
            trained += len(values)
            super().tell(job, values)

    method = Counted(curves.shape, policy)
    (answer,) = simulate(method, curves, (math.inf,))
    assert answer is not None
    return len(method.race.groups), trained / table.n_epochs, float(drawn.regret[answer])


def main(argv: list[str] | None = None) -> None:
    """Print a row per table and value of ``stop_when``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=Path, help="folder of recorded curves")
    parser.add_argument("--repeats", type=int, default=50)
    args = parser.parse_args(argv)
    tables: list[Table] = []
    if args.curves is not None:
        try:
            tables = [
                table
                for table in read_tables(args.curves)
                if table.n_seeds >= N_SEEDS + 2 and table.n_configs >= LEAST_CONFIGS
            ]
        except FileNotFoundError as error:
            parser.error(str(error))
    print(f"{'table':28}stop_when  configs  trainings  saved   regret   given up    per training")
    for table in (None, *tables):
        whole = np.array([study(_piece(table, k), None, k) for k in range(args.repeats)])
        name = "made up" if table is None else table.name
        print(f"{name:28}{'-':>9}{whole[:, 0].mean():9.1f}{whole[:, 1].mean():11.1f}", end="")
        print(f"{'':7}{whole[:, 2].mean():9.2f}", flush=True)
        for percent in PERCENT:
            rows = [study(_piece(table, k), percent, k) for k in range(args.repeats)]
            found = np.array(rows)
            saved, given_up = whole[:, 1] - found[:, 1], found[:, 2] - whole[:, 2]
            each = given_up.mean() / max(saved.mean(), 1e-9)
            print(
                f"{'':28}{percent:9g}{found[:, 0].mean():9.1f}{found[:, 1].mean():11.1f}"
                f"{saved.mean():7.1f}{found[:, 2].mean():9.2f}{given_up.mean():8.2f} ±"
                f"{standard_error(given_up):5.2f}{each:8.2f}",
                flush=True,
            )


def _piece(table: Table | None, seed: int) -> Table:
    if table is None:
        return made_up(N_CONFIGS, 8, 27, rng=np.random.default_rng((2, seed)))
    return Table(table.name, thin(table.curves, 27)) if table.n_epochs > 27 else table


if __name__ == "__main__":
    main()
