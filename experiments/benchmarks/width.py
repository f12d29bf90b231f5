"""How good is a study's answer, and how long does it take, on 1, 4, 16 and 64 slots?

python experiments/benchmarks/width.py --curves DIR

Studies of 40 configs are carried to their end in simulated time: three seeds, η = 4, three
finalists, hours per epoch log-normal (0.5 between configs, 0.3 between epochs). The race and the
policies are the real ones; only training is looked up. Regret is in % of (best − median config),
its difference to the ladder is paired, ± Monte Carlo error over the repeats.

``RESULTS.md`` has what it was seen to show.
"""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

if __name__ == "__main__":  # run as a file, not as a module
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import peers, restated
from benchmarks.race_method import RaceMethod
from benchmarks.record import made_up
from benchmarks.simulate import Method, draw, play
from benchmarks.small_studies import part
from benchmarks.tables import Table, read_tables

from tune_seeds.core.rungs import build_rungs, milestones
from tune_seeds.policies.adaptive import Adaptive
from tune_seeds.policies.successive_halving import SuccessiveHalving

N_SEEDS, ETA, N_FINALISTS = 3, 4, 3

Shape = tuple[int, int, int]
#: Builds a method for a shape (configs, seeds, epochs), a number of slots, and a generator.
Maker = Callable[[Shape, int, np.random.Generator], Method]


class Ended(NamedTuple):
    """How a study ended: regret, hours, full trainings, and the busy share of its slots."""

    regret: float
    hours: float
    trainings: float
    utilisation: float


def methods(patiences: Sequence[float]) -> dict[str, Maker]:
    """What is compared: the ladder, the default with each patience, and the peers that end."""

    def ladder(shape: Shape, n_slots: int, rng: np.random.Generator) -> Method:
        rungs = build_rungs(milestones(shape[2], 1, ETA), N_SEEDS, "ladder")
        return RaceMethod(shape, SuccessiveHalving(rungs, ETA, N_FINALISTS), n_slots=n_slots)

    def adaptive(
        shape: Shape, n_slots: int, rng: np.random.Generator, *, patience: float
    ) -> Method:
        epochs = milestones(shape[2], 1, ETA)
        policy = Adaptive(epochs, shape[1], ETA, N_FINALISTS, patience=patience)
        return RaceMethod(shape, policy, policy.leader, n_slots=n_slots)

    return {
        "ladder": ladder,
        **{f"patience {p:g}": partial(adaptive, patience=p) for p in patiences},
        "ASHA fixed seed": lambda s, n, rng: peers.RayAsha(s, seed=0, rng=rng, eta=ETA),
        "ASHA random seed": lambda s, n, rng: peers.RayAsha(s, seed=None, rng=rng, eta=ETA),
        "SH on means": lambda s, n, rng: restated.halving_on_means(s, ETA),
        "seed searched": lambda s, n, rng: restated.SeedAsHyperparameter(s, rng=rng),
        "Repeater": lambda s, n, rng: peers.RayRepeater(s),
    }


def study(table: Table, make: Maker, n_slots: int, seed: int) -> Ended:
    """Carry one study over all configs of a table to its end.

    Args:
        table: every config is tried; the seeds that the search does not see are for the regret.
        make: the method.
        n_slots: runs that train at a time.
        seed: of the order of configs, the choice of seeds, and the hours of epochs.
    """
    drawn = draw(table, N_SEEDS, rng=np.random.default_rng(seed))
    n_configs, _, n_epochs = drawn.curves.shape
    rng = np.random.default_rng((7, seed))
    of_config, of_epoch = rng.normal(size=(n_configs, 1, 1)), rng.normal(size=drawn.curves.shape)
    hours = np.exp(0.5 * of_config + 0.3 * of_epoch)
    method = make(drawn.curves.shape, n_slots, np.random.default_rng((8, seed)))
    (last,) = deque(play(method, drawn.curves, n_slots, hours), maxlen=1)
    best = method.best()
    return Ended(
        regret=100.0 if best is None else float(drawn.regret[best]),
        hours=last.now,
        trainings=last.spent / n_epochs,
        utilisation=last.busy / last.now / n_slots,
    )


def main(argv: list[str] | None = None) -> None:
    """Print one row per number of slots and method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=Path, help="folder of recorded curves")
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--patience", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    parser.add_argument("--configs", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=16)
    args = parser.parse_args(argv)
    found = (
        read_tables(args.curves)
        if args.curves
        else [made_up(args.configs, 8, 9, rng=np.random.default_rng(0))]
    )
    tables = [t for t in found if t.n_seeds >= 5 and t.n_configs >= args.configs]
    if not tables:
        parser.error("no table has that many configs and five seeds")
    print(f"{len(tables)} tables, {args.configs} configs, {args.repeats} repeats")
    print("slots  method            regret  against the ladder  hours  trainings  utilisation")
    for n_slots in args.slots:
        ladder = np.zeros((len(tables), args.repeats))
        for name, make in methods(args.patience).items():
            rows = np.array(
                [
                    [
                        study(part(t, args.configs, t.n_epochs, seed), make, n_slots, seed)
                        for seed in range(args.repeats)
                    ]
                    for t in tables
                ]
            )
            regret, hours, trainings, utilisation = rows.mean(axis=(0, 1))
            gap = ""
            if name == "ladder":
                ladder = rows[:, :, 0]
            elif args.repeats > 1:
                paired = rows[:, :, 0] - ladder
                variances = paired.var(axis=1, ddof=1) / args.repeats
                gap = f"{paired.mean():+.2f} ± {np.sqrt(variances.sum()) / len(tables):.2f}"
            print(
                f"{n_slots:5}  {name:16} {regret:7.2f}  {gap:>18}  {hours:5.0f}  {trainings:9.1f}"
                f"  {utilisation:11.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
