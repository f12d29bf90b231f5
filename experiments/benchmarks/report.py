"""What a replay says: one table, the comparison with the best peer, one area per method, a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from benchmarks.replay import Cell

#: Shown for the claim on Repeater only, not a budget of the comparison.
CLAIM_BUDGET = 8


def standard_error(x: Float[np.ndarray, " repeat"]) -> float:
    """Monte Carlo error of a mean over repeats."""
    return float(np.std(x, ddof=1) / np.sqrt(len(x))) if len(x) > 1 else float("nan")


def area(regret: Float[np.ndarray, "repeat budget"], budgets: Sequence[float]) -> float:
    """Mean regret over budgets, each doubling weighing the same: the normalised area under it."""
    mean = regret.mean(axis=0)
    steps = np.diff(np.log2(budgets))
    return float(np.sum(steps * (mean[1:] + mean[:-1]) / 2) / steps.sum())


def lost(
    default: Float[np.ndarray, " repeat"], peer: Float[np.ndarray, " repeat"]
) -> tuple[float, float, bool]:
    """Difference to a peer on the same draws, its standard error, and whether it is above two."""
    difference = default - peer
    error = standard_error(difference)
    return float(difference.mean()), error, bool(difference.mean() > 2 * error + 1e-9)


def over_seeds(
    default: Float[np.ndarray, "repeat table_seed"], peer: Float[np.ndarray, "repeat table_seed"]
) -> float:
    """Standard error of the difference to a peer, the seeds of the table being a sample.

    Repeats draw from the same few seeds, so however many they are, they say how well two methods
    do on those. On other unseen seeds the same answers would differ by as much as the mean
    difference on one of the table's seeds varies from seed to seed.
    """
    return standard_error(np.nanmean(default - peer, axis=0))


def n_lost(cells: Sequence[Cell], picked: Sequence[int], name: str, rivals: Sequence[str]) -> int:
    """Cells where a method is above the best of its rivals by more than two standard errors."""
    count = 0
    for cell in cells:
        for b in picked:
            best = min(rivals, key=lambda rival: cell.regret[rival][:, b].mean())
            count += lost(cell.regret[name][:, b], cell.regret[best][:, b])[2]
    return count


def show(cells: Sequence[Cell], budgets: Sequence[float], ours: Sequence[str]) -> None:
    """Print the table and what follows from it; the first of ``ours`` is the default."""
    names = list(cells[0].by_seed)
    default, rivals = ours[0], [name for name in names if name not in ours]
    compared = [b for b, budget in enumerate(budgets) if budget != CLAIM_BUDGET]
    print("Regret on unseen seeds, % of (best − median config), ± its Monte Carlo error;")
    print("'all known' is the config that is best on every epoch of all the search's seeds.")
    print("* the best peer   ! the default is above it by more than two errors of the difference")
    width = max(len(name) for name in [*names, "all known"]) + 1
    print("table, K, budget".ljust(30) + "".join(n.rjust(max(width, 16)) for n in names), end="")
    print("all known".rjust(16))
    for cell in cells:
        for b in compared:
            means = {name: cell.regret[name][:, b].mean() for name in names}
            best = min(rivals, key=means.__getitem__)
            _, _, is_lost = lost(cell.regret[default][:, b], cell.regret[best][:, b])
            row = f"{cell.table}, {cell.n_seeds}, {budgets[b]:g}".ljust(30)
            for name in names:
                mark = "*" if name == best else "!" if name == default and is_lost else " "
                error = standard_error(cell.regret[name][:, b])
                row += f"{means[name]:7.2f} ±{error:5.2f}{mark}".rjust(max(width, 16))
            print(row + f"{cell.bound.mean():7.2f} ±{standard_error(cell.bound):5.2f} ".rjust(16))
    print("\nnormalised area under regret, over log(budget), mean over tables:")
    picked = [budgets[b] for b in compared]
    areas = {
        name: float(np.mean([area(c.regret[name][:, compared], picked) for c in cells]))
        for name in names
    }
    large = [b for b in compared if budgets[b] >= 10]
    print(
        f"and in how many of {len(large) * len(cells)} cells (budgets of 10 and more) it is above"
    )
    print("the best of the peers and the default by more than two standard errors")
    for name in sorted(names, key=areas.__getitem__):
        others = [other for other in (default, *rivals) if other != name]
        row = f"  {name.ljust(width)} {areas[name]:7.2f}{n_lost(cells, large, name, others):6d}"
        print(row + ("  (ours)" if name in ours else ""))
    _show_lost(cells, budgets, default, rivals)
    mean = {n: np.mean([c.regret[n][:, compared].mean() for c in cells]) for n in names}
    single = min(rivals, key=mean.__getitem__)
    print(
        f"mean regret over all cells: {mean[default]:.2f}, of the best single peer "
        f"({single}) {mean[single]:.2f}: {100 * (1 - mean[default] / mean[single]):.0f} % below"
    )
    _show_claim(cells, budgets, default)


def picked_on_the_other_half(
    cell: Cell, b: int, default: str, rivals: Sequence[str]
) -> Float[np.ndarray, " repeat"]:
    """Difference to the best peer, where each half of the repeats names it for the other half.

    The best of many peers by the same repeats is partly the luckiest of them.
    """
    differences: list[Float[np.ndarray, " repeat"]] = []
    for half in (0, 1):
        best = min(rivals, key=lambda name: cell.regret[name][half::2, b].mean())
        differences.append((cell.regret[default] - cell.regret[best])[1 - half :: 2, b])
    return np.concatenate(differences)


def _show_lost(
    cells: Sequence[Cell], budgets: Sequence[float], default: str, rivals: Sequence[str]
) -> None:
    rows: list[str] = []
    n_compared = n_bounded = n_untold = n_neither = n_without_luck = 0
    for cell in cells:
        for b in [b for b, budget in enumerate(budgets) if budget >= 10]:
            n_compared += 1
            ours = cell.regret[default][:, b]
            best = min(rivals, key=lambda name: cell.regret[name][:, b].mean())
            difference, error, is_lost = lost(ours, cell.regret[best][:, b])
            if not is_lost:
                continue
            fair = picked_on_the_other_half(cell, b, default, rivals)
            n_without_luck += lost(fair, np.zeros(len(fair)))[2]
            is_bounded = not lost(ours, cell.bound)[2]
            wide = over_seeds(cell.by_seed[default][:, b], cell.by_seed[best][:, b])
            is_untold = difference <= 2 * wide
            n_bounded += is_bounded
            n_untold += is_untold
            n_neither += not is_bounded and not is_untold
            name = f"{cell.table}, {cell.n_seeds}, {budgets[b]:g}".ljust(30)
            why = ["all known"] * is_bounded + ["seeds"] * is_untold
            rows.append(
                f"{name}{ours.mean():7.2f}{ours.mean() - difference:7.2f} {best:16s}"
                f"{difference:6.2f} ±{error:5.2f} ±{wide:5.2f}{cell.bound.mean():11.2f}"
                f"   {', '.join(why)}".rstrip()
            )
    print(f"\nat budgets of 10 and more {default!r} is not above the best peer of a cell by more")
    print(f"than two standard errors in {n_compared - len(rows)} of {n_compared} cells.")
    print(f"Of the other {len(rows)}, {n_without_luck} are lost where other repeats name the peer;")
    print(f"in {n_untold} the difference is within two standard errors once the table's seeds are")
    print("counted as a sample (the second ±): its unseen seeds can't tell the answers apart;")
    print(f"in {n_bounded} it is not above 'all known' either: the search's own seeds point to")
    print(f"another config than the unseen ones; neither is so in {n_neither}")
    if rows:
        head = "lost: table, K, budget          ours   peer                  difference"
        print(f"{head}, and over seeds  all known   bounded by")
        print("\n".join(rows))


def _show_claim(cells: Sequence[Cell], budgets: Sequence[float], default: str) -> None:
    if CLAIM_BUDGET not in budgets or "Repeater" not in cells[0].by_seed:
        return
    early, rows = list(budgets).index(CLAIM_BUDGET), list[str]()
    n_bounded = n_untold = 0
    for cell in cells:
        ours, theirs = cell.regret[default][:, early], cell.regret["Repeater"][:, -1]
        difference, _, is_lost = lost(ours, theirs)
        if not is_lost:
            continue
        best = int(cell.halved.oracle.mean(axis=0).argmin())
        oracle = cell.halved.oracle[:, best]
        is_bounded = lost(oracle, theirs)[2]
        wide = over_seeds(cell.by_seed[default][:, early], cell.by_seed["Repeater"][:, -1])
        is_untold = difference <= 2 * wide
        n_bounded += is_bounded
        n_untold += is_untold
        why = ["no split reaches it"] * is_bounded + ["seeds"] * is_untold
        rows.append(
            f"  {cell.table}, {cell.n_seeds}".ljust(30)
            + f"{ours.mean():7.2f}{theirs.mean():9.2f}"
            f" ±{wide:5.2f}{oracle.mean():12.2f}   {', '.join(why)}".rstrip()
        )
    mean = np.mean([c.regret[default][:, early].mean() for c in cells])
    repeater = np.mean([c.regret["Repeater"][:, -1].mean() for c in cells])
    n, n_kept = len(cells), len(cells) - len(rows)
    print(f"\nwith {CLAIM_BUDGET} full trainings {default!r} has regret {mean:.2f}, with")
    print(f"{budgets[-1]:g} Repeater has {repeater:.2f}; ours is not above it in {n_kept} of {n}")
    print(
        f"tables. In {n_bounded} of the others no split of {CLAIM_BUDGET} trainings over the rungs"
    )
    print("reaches it, even if chosen for that table with hindsight, and with an oracle for the")
    print(f"best config that it trains fully; in {n_untold} the table's seeds can't tell.")
    reached = np.array(
        [
            [not lost(one, cell.regret["Repeater"][:, -1])[2] for one in cell.halved.answer.T]
            for cell in cells
        ]
    ).sum(axis=0)
    means = np.mean([cell.halved.answer.mean(axis=0) for cell in cells], axis=0)
    print("Of all splits that are the same for every table, also chosen with hindsight, the one")
    print(f"that reaches it most often does in {reached.max()} of {n}, and the lowest mean regret")
    print(f"of any is {means.min():.2f}")
    if rows:
        print("  table, K                      ours Repeater over seeds  best split   bounded by")
        print("\n".join(rows))


def plot(cells: Sequence[Cell], budgets: Sequence[float], ours: Sequence[str], file: Path) -> None:
    """Draw regret over budget: the mean of all, then a panel per table and number of seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    n_panels = 1 + len(cells)
    n_columns = min(4, n_panels)
    n_rows = -(-n_panels // n_columns)
    figure, axes = plt.subplots(
        n_rows, n_columns, figsize=(3.6 * n_columns, 2.8 * n_rows), squeeze=False
    )
    colors = plt.get_cmap("tab20")
    for axis in axes.flat[n_panels:]:
        axis.set_axis_off()
    for axis, cell in zip(axes.flat, [None, *cells], strict=False):
        lowest = 0.0
        for k, name in enumerate(cells[0].regret):
            found = [one.regret[name] for one in (cells if cell is None else [cell])]
            mean = np.mean([regret.mean(axis=0) for regret in found], axis=0)
            errors = [[standard_error(x[:, b]) for b in range(len(budgets))] for x in found]
            error = np.sqrt(np.sum(np.square(errors), axis=0)) / len(found)
            lowest = min(lowest, float(mean.min()))
            axis.errorbar(
                budgets,
                mean,
                np.nan_to_num(error),
                label=name,
                color="black" if name == ours[0] else colors(k % 20),
                linewidth=2.2 if name == ours[0] else 1.0,
                linestyle="-" if name in ours else "--",
                zorder=3 if name == ours[0] else 2,
            )
        bound = np.mean([one.bound.mean() for one in (cells if cell is None else [cell])])
        axis.axhline(float(bound), color="grey", linewidth=0.8, linestyle=":", label="all known")
        axis.set_xscale("log", base=2)
        axis.set_yscale("symlog", linthresh=1)
        axis.set_ylim(lowest - 0.2, 100)
        axis.set_xticks(budgets, [f"{b:g}" for b in budgets])
        axis.set_yticks([0, 1, 10, 100], ["0", "1", "10", "100"])
        title = "mean over tables" if cell is None else f"{cell.table}, {cell.n_seeds} seeds"
        axis.set_title(title, fontsize=9, weight="bold" if cell is None else "normal")
        axis.tick_params(labelsize=7)
        axis.set_xlabel("budget, full trainings", fontsize=7)
    figure.supylabel("regret on unseen seeds, % of (best − median)", fontsize=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=8)
    figure.tight_layout(rect=(0.02, 0.06, 1, 1))
    figure.savefig(file, dpi=90)
    plt.close(figure)
