"""What was added to a study after it had begun, and when, in words."""

from __future__ import annotations

from collections.abc import Iterable

from tune_seeds.core.events import Grown
from tune_seeds.store.study_spec import Header


def growth_lines(begun: Header, growths: Iterable[Grown]) -> list[str]:
    """One line for each time that a study was asked for more.

    Args:
        begun: what it was begun with.
        growths: in their order.

    Example:
        ``["grown 2026-01-31 12:00:00: 4 to 8 configs; the seeds 5, 6 added"]``
    """
    lines: list[str] = []
    for growth in growths:
        before, begun = begun, begun.grown([growth])
        found: list[str] = []
        if begun.num_samples != before.num_samples:
            found.append(f"{before.num_samples} to {begun.num_samples} configs")
        if added := begun.seeds[len(before.seeds) :]:
            found.append(f"the seeds {', '.join(map(str, added))} added")
        if begun.rungs[-1].epochs != before.rungs[-1].epochs:
            found.append(f"epochs {before.rungs[-1].epochs} to {begun.rungs[-1].epochs}")
        if begun.n_finalists != before.n_finalists:
            found.append(f"{before.n_finalists} to {begun.n_finalists} finalists")
        if "time_budget_s" in growth.asked:
            found.append(f"a time budget of {growth.asked['time_budget_s']} s")
        if growth.changes:
            found.append(f"changed and allowed to: {', '.join(growth.changes)}")
        lines.append(f"grown {growth.at}: {'; '.join(found) or 'nothing'}")
    return lines
