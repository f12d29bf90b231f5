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


def show(cells: Sequence[Cell], budgets: Sequence[float], ours: Sequence[str]) -> None:
    """Print the table and what follows from it; the first of ``ours`` is the default."""
    names = list(cells[0].regret)
    default, rivals = ours[0], [name for name in names if name not in ours]
    compared = [b for b, budget in enumerate(budgets) if budget != CLAIM_BUDGET]
    print("Regret on unseen seeds, % of (best − median config), ± its Monte Carlo error;")
    print("'all known' is the config that is best on every epoch of all the search's seeds.")
    print("* the best peer   ! the default is above it by more than two errors of the difference")
    width = max(len(name) for name in [*names, "all known"]) + 1
    print("table, K, budget".ljust(30) + "".join(n.rjust(max(width, 16)) for n in names), end="")
    print("all known".rjust(16))
    n_lost = n_compared = n_bounded = 0
    for cell in cells:
        for b in compared:
            means = {name: cell.regret[name][:, b].mean() for name in names}
            best = min(rivals, key=means.__getitem__)
            _, _, is_lost = lost(cell.regret[default][:, b], cell.regret[best][:, b])
            if budgets[b] >= 10:
                n_compared += 1
                n_lost += is_lost
                n_bounded += is_lost and not lost(cell.regret[default][:, b], cell.bound)[2]
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
    for name in sorted(names, key=areas.__getitem__):
        print(f"  {name.ljust(width)} {areas[name]:7.2f}" + ("  (ours)" if name in ours else ""))
    print(f"\nat budgets of 10 and more {default!r} is not above the best peer of a cell by more")
    print(f"than two standard errors in {n_compared - n_lost} of {n_compared} cells;")
    print(f"in {n_bounded} of the other {n_lost} it is not above 'all known' either: there the")
    print("search's seeds themselves point to another config than the unseen ones")
    mean = {n: np.mean([c.regret[n][:, compared].mean() for c in cells]) for n in names}
    single = min(rivals, key=mean.__getitem__)
    print(
        f"mean regret over all cells: {mean[default]:.2f}, of the best single peer "
        f"({single}) {mean[single]:.2f}: {100 * (1 - mean[default] / mean[single]):.0f} % below"
    )
    _show_claim(cells, budgets, default)


def _show_claim(cells: Sequence[Cell], budgets: Sequence[float], default: str) -> None:
    if CLAIM_BUDGET not in budgets or "Repeater" not in cells[0].regret:
        return
    early = list(budgets).index(CLAIM_BUDGET)
    ours = np.array([c.regret[default][:, early].mean() for c in cells])
    theirs = np.array([c.regret["Repeater"][:, -1].mean() for c in cells])
    kept = [not lost(c.regret[default][:, early], c.regret["Repeater"][:, -1])[2] for c in cells]
    print(
        f"with {CLAIM_BUDGET} full trainings {default!r} has regret {ours.mean():.2f}, Repeater "
        f"with {budgets[-1]:g} {theirs.mean():.2f}; "
        f"not above it in {sum(kept)} of {len(kept)} tables"
    )


def plot(cells: Sequence[Cell], budgets: Sequence[float], ours: Sequence[str], file: Path) -> None:
    """Draw regret over budget: a panel per table and number of seeds, a line per method."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    n_columns = min(4, len(cells))
    n_rows = -(-len(cells) // n_columns)
    figure, axes = plt.subplots(
        n_rows, n_columns, figsize=(3.6 * n_columns, 2.8 * n_rows), squeeze=False
    )
    colors = plt.get_cmap("tab20")
    for axis in axes.flat[len(cells) :]:
        axis.set_axis_off()
    for axis, cell in zip(axes.flat, cells, strict=False):
        for k, (name, regret) in enumerate(cell.regret.items()):
            mean = regret.mean(axis=0)
            error = [standard_error(regret[:, b]) for b in range(len(budgets))]
            axis.errorbar(
                budgets,
                mean,
                np.nan_to_num(error),
                label=name,
                color="black" if name == ours[0] else colors(k % 20),
                linewidth=2.2 if name == ours[0] else 1.0,
                linestyle="-" if name in ours else "--",
            )
        axis.axhline(cell.bound.mean(), color="grey", linewidth=0.8, linestyle=":")
        axis.set_xscale("log", base=2)
        axis.set_yscale("symlog", linthresh=1)
        axis.set_xticks(budgets, [f"{b:g}" for b in budgets])
        axis.set_title(f"{cell.table}, {cell.n_seeds} seeds", fontsize=9)
        axis.tick_params(labelsize=7)
        axis.set_xlabel("budget, full trainings", fontsize=7)
    figure.supylabel("regret on unseen seeds, % of (best − median)", fontsize=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=8)
    figure.tight_layout(rect=(0.02, 0.06, 1, 1))
    figure.savefig(file, dpi=130)
    plt.close(figure)
