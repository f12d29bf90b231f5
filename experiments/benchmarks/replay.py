"""Replay search methods on recorded learning curves: what does a budget buy?

python experiments/benchmarks/replay.py --curves DIR    # recorded curves, a folder per source
python experiments/benchmarks/replay.py                 # a table that it records itself

``RESULTS.md`` has what it was seen to show.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from jaxtyping import Float

if __name__ == "__main__":  # run as a file, not as a module
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import funnels, peers, report, restated, wide
from benchmarks.race_method import RaceMethod
from benchmarks.record import cache_folder, made_up, recorded_digits
from benchmarks.simulate import Draw, Method, draw, simulate
from benchmarks.tables import Table, read_tables

from tune_seeds.core.rungs import build_rungs, milestones
from tune_seeds.policies.adaptive import Adaptive
from tune_seeds.policies.successive_halving import SuccessiveHalving

Shape = tuple[int, int, int]
ETA = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """A method in the replay.

    Attributes:
        make: builds it for a shape, a budget, a number of slots and a generator.
        ours: whether it is one of this package's policies.
        knows_budget: it plans with its budget, so it is run once for each.
    """

    make: Callable[[Shape, float, int, np.random.Generator], Method]
    ours: bool = False
    knows_budget: bool = False


@dataclass(frozen=True)
class Cell:
    """Results on one table with one number of seeds.

    Attributes:
        by_seed: method → regret in % of (best − median config) on each seed of the table, NaN on
            those that the search saw.
        bound: regret of the config that is best on every epoch of all the search's seeds.
        halved: regret of successive halving with ``report.CLAIM_BUDGET`` full trainings, for each
            of ``funnels.SPLITS``.
    """

    table: str
    n_seeds: int
    by_seed: dict[str, Float[np.ndarray, "repeat budget table_seed"]]
    bound: Float[np.ndarray, " repeat"]
    halved: funnels.Reached

    @cached_property
    def regret(self) -> dict[str, Float[np.ndarray, "repeat budget"]]:
        """Method → its regret on the seeds that the search never saw."""
        return {name: np.nanmean(x, axis=2) for name, x in self.by_seed.items()}


def fixed(kind: str, shape: Shape, budget: float, n_slots: int, rng: np.random.Generator) -> Method:
    """Asynchronous halving over given rungs; every group is a finalist, so it uses any budget."""
    n_configs, n_seeds, n_epochs = shape
    rungs = build_rungs(milestones(n_epochs, 1, ETA), n_seeds, kind)
    return RaceMethod(shape, SuccessiveHalving(rungs, ETA, n_configs), n_slots=n_slots)


def adaptive(shape: Shape, budget: float, n_slots: int, rng: np.random.Generator) -> Method:
    """The default; every group is a finalist, so it uses any budget."""
    n_configs, n_seeds, n_epochs = shape
    policy = Adaptive(milestones(n_epochs, 1, ETA), n_seeds, ETA, n_configs)
    return RaceMethod(shape, policy, policy.leader, n_slots)


def methods() -> dict[str, Entry]:
    """Every method by name, the default first."""
    found = {
        "adaptive": Entry(adaptive, ours=True),
        "ladder": Entry(partial(fixed, "ladder"), ours=True),
        "all seeds": Entry(partial(fixed, "all"), ours=True),
        "ASHA random seed": Entry(lambda s, b, n, rng: peers.RayAsha(s, seed=None, rng=rng)),
        "ASHA fixed seed": Entry(lambda s, b, n, rng: peers.RayAsha(s, seed=0, rng=rng)),
        "Repeater": Entry(lambda s, b, n, rng: peers.RayRepeater(s)),
        "seed searched": Entry(lambda s, b, n, rng: restated.SeedAsHyperparameter(s, rng=rng)),
        "SH on means": Entry(lambda s, b, n, rng: restated.halving_on_means(s)),
        "Optuna Wilcoxon": Entry(lambda s, b, n, rng: peers.OptunaWilcoxon(s, rng=rng)),
        "HB + top 10": Entry(
            lambda s, b, n, rng: restated.hyperband_then_top_ten(s, b), knows_budget=True
        ),
    }
    if find_spec("smac") is None:
        print("SMAC3 is not installed and is left out; pip install smac brings it in")
    else:
        found["SMAC3 racing"] = Entry(lambda s, b, n, rng: peers.SmacRacing(s, rng=rng))
    return found


def replay_once(
    draw_: Draw,
    entry: Entry,
    budgets: tuple[float, ...],
    n_workers: int,
    seed: tuple[int, int],
    *,
    by_time: bool = False,
) -> Float[np.ndarray, "budget table_seed"]:
    """Regret of one method on one draw at each budget; 100 while it has no answer."""

    def answers(budgets: tuple[float, ...]) -> list[int | None]:
        rng = np.random.default_rng((*seed, 1))
        method = entry.make(draw_.curves.shape, budgets[-1], n_workers, rng)
        return simulate(method, draw_.curves, budgets, n_workers, by_time=by_time)

    if entry.knows_budget:
        configs = [answers((budget,))[0] for budget in budgets]
    else:
        configs = answers(budgets)
    nothing = np.where(np.isnan(draw_.by_seed[0]), np.nan, 100.0)
    return np.array([nothing if config is None else draw_.by_seed[config] for config in configs])


def replay_chunk(
    table: Table, n_seeds: int, budgets: tuple[float, ...], n_workers: int, repeats: range
) -> Cell:
    """Replay every method on the same draws."""
    entries = methods()
    rows: dict[str, list[np.ndarray]] = {name: [] for name in entries}
    bound: list[float] = []
    halved: list[funnels.Reached] = []
    levels = milestones(table.n_epochs, 1, ETA)
    shapes = [
        funnels.shape(split, table.n_configs, levels, report.CLAIM_BUDGET)
        for split in funnels.SPLITS
    ]
    for repeat in repeats:
        draw_ = draw(table, n_seeds, rng=np.random.default_rng((0, repeat)))
        last = draw_.curves[:, :, -1].mean(axis=1)
        bound.append(float(draw_.regret[int(np.nanargmax(last))]))
        halved.append(funnels.halve(draw_, levels, shapes))
        for name, entry in entries.items():
            rows[name].append(replay_once(draw_, entry, budgets, n_workers, (0, repeat)))
    by_seed = {name: np.array(row) for name, row in rows.items()}
    return Cell(table.name, n_seeds, by_seed, np.array(bound), _stacked(halved, np.stack))


def replay(
    tables: list[Table],
    seed_counts: tuple[int, ...],
    budgets: tuple[float, ...],
    n_repeats: int,
    n_workers: int = 1,
    n_processes: int = 1,
) -> list[Cell]:
    """Replay every method on every table that has enough seeds, two more than the search uses.

    Tables with fewer than 10 configs are left out: their median is next to their best.
    """
    pairs = [
        (table, k)
        for table in tables
        for k in seed_counts
        if table.n_configs >= 10 and table.n_seeds >= k + 2
    ]
    size = max(1, min(25, n_repeats))
    chunks = [range(i, min(n_repeats, i + size)) for i in range(0, n_repeats, size)]
    tasks = [(t, k, budgets, n_workers, chunk) for t, k in pairs for chunk in chunks]
    if n_processes == 1:
        parts = [_run(task) for task in tasks]
    else:
        with get_context("spawn").Pool(n_processes) as pool:
            parts = pool.map(_run, tasks, chunksize=1)
    per_cell = len(chunks)
    return [_joined(parts[i : i + per_cell]) for i in range(0, len(parts), per_cell)]


def _run(task: tuple[Table, int, tuple[float, ...], int, range]) -> Cell:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peers' own
        return replay_chunk(*task)


def _joined(parts: list[Cell]) -> Cell:
    by_seed = {n: np.concatenate([p.by_seed[n] for p in parts]) for n in parts[0].by_seed}
    bound = np.concatenate([p.bound for p in parts])
    halved = _stacked([p.halved for p in parts], np.concatenate)
    return Cell(parts[0].table, parts[0].n_seeds, by_seed, bound, halved)


def _stacked(parts: list[funnels.Reached], join: Callable[..., np.ndarray]) -> funnels.Reached:
    return funnels.Reached(*(join(arrays) for arrays in zip(*parts, strict=True)))


def main(argv: list[str] | None = None) -> None:
    """Replay, print the table, write the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=Path, help="folder of recorded curves")
    parser.add_argument("--small", action="store_true", help="seconds, on made-up curves")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1, help="runs trained at once")
    parser.add_argument(
        "--slots", type=int, nargs="+", help="compare at these numbers of slots instead"
    )
    parser.add_argument("--processes", type=int, default=2, help="of this replay")
    parser.add_argument("--plot", type=Path, default=Path("replay.png"))
    args = parser.parse_args(argv)

    start = time.perf_counter()
    seed_counts, budgets, n_repeats = (3, 5), (5, 8, 10, 20, 40, 80), args.repeats
    if args.small:
        tables = [made_up(20, 5, 9, rng=np.random.default_rng(0))]
        seed_counts, budgets, n_repeats = (3,), (5, 8, 10, 20), min(n_repeats, 4)
    elif args.curves is not None:
        try:
            tables = read_tables(args.curves)
        except (FileNotFoundError, ValueError) as error:
            parser.error(str(error))
    else:
        tables = [recorded_digits(cache_folder())]
    if args.slots:
        wide.show(tables, seed_counts[0], args.slots, n_repeats, args.processes)
        return
    cells = replay(tables, seed_counts, budgets, n_repeats, args.workers, args.processes)
    ours = [name for name, entry in methods().items() if entry.ours]
    report.show(cells, budgets, ours)
    report.plot(cells, budgets, ours, args.plot)
    print(f"{time.perf_counter() - start:.0f} s; plot in {args.plot}")


if __name__ == "__main__":
    main()
