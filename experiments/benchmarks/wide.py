"""Compare methods on many slots: at equal work, and at equal time.

Called by ``replay.py --slots 1 4 16 64``. An epoch takes one unit of time here; ``width.py`` has
the end of whole studies, with epochs of random length.
"""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing import get_context

import numpy as np
from benchmarks import replay
from benchmarks.report import area, standard_error
from benchmarks.simulate import draw
from benchmarks.tables import Table
from jaxtyping import Float

#: In full trainings of all slots together.
BUDGETS = (5, 10, 20, 40, 80)
#: In full trainings, one after the other on one slot.
TIMES = (2, 4, 8, 16)

Task = tuple[Table, int, int, int, bool]


def show(
    tables: Sequence[Table],
    n_seeds: int,
    slots: Sequence[int],
    n_repeats: int,
    n_processes: int = 1,
) -> None:
    """Print two tables: the area under regret of each method on each number of slots.

    Methods that plan with their budget are left out of equal time: they have no notion of it.
    """
    fitting = [t for t in tables if t.n_configs >= 10 and t.n_seeds >= n_seeds + 2]
    for by_time, what in ((False, "work"), (True, "time")):
        tasks = [(t, n_seeds, n, n_repeats, by_time) for n in slots for t in fitting]
        if n_processes == 1:
            done = [areas(task) for task in tasks]
        else:
            with get_context("spawn").Pool(n_processes) as pool:
                done = pool.map(areas, tasks, chunksize=1)
        unit = "full trainings" if what == "work" else "times of a full training"
        budgets = ", ".join(f"{b:g}" for b in (TIMES if by_time else BUDGETS))
        print(f"\nat equal {what}: area under regret, % of (best − median config), over budgets of")
        print(f"{budgets} {unit}; {len(fitting)} tables, {n_repeats} repeats; after ± the error of")
        print("the difference to the default")
        print("method".ljust(18) + "".join(f"{n} slots".rjust(16) for n in slots))
        for name in done[0]:
            row = name.ljust(18)
            for k, _ in enumerate(slots):
                found = done[k * len(fitting) : (k + 1) * len(fitting)]
                mean = np.mean([one[name].mean() for one in found])
                gaps = [one[name] - one[DEFAULT] for one in found]
                error = np.sqrt(np.sum([standard_error(gap) ** 2 for gap in gaps])) / len(gaps)
                said = f"{mean:7.2f}" + (" " * 7 if name == DEFAULT else f" ±{error:5.2f}")
                row += said.rjust(16)
            print(row, flush=True)


#: The default among the methods of the replay.
DEFAULT = "adaptive"


def areas(task: Task) -> dict[str, Float[np.ndarray, " repeat"]]:
    """Area under regret of each repeat, by method."""
    table, n_seeds, n_slots, n_repeats, by_time = task
    budgets = TIMES if by_time else BUDGETS
    found: dict[str, list[float]] = {}
    for repeat in range(n_repeats):
        drawn = draw(table, n_seeds, rng=np.random.default_rng((0, repeat)))
        for name, entry in replay.methods().items():
            if by_time and entry.knows_budget:
                continue
            by_seed = replay.replay_once(
                drawn, entry, budgets, n_slots, (0, repeat), by_time=by_time
            )
            regret = np.nanmean(by_seed, axis=1)[None]
            found.setdefault(name, []).append(area(regret, budgets))
    return {name: np.array(row) for name, row in found.items()}
