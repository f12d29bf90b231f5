"""The rate of collapse of a study: which runs came to nothing, whatever config they were of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from tune_seeds.core.ledger import RunKey
from tune_seeds.core.rungs import TO_THE_END
from tune_seeds.race.race import Race
from tune_seeds.statistics.collapse import Collapse, doing_nothing, far_enough, share_of

_DIVERGED = "diverged"


def collapses(race: Race, groups: Iterable[str], *, level: float = 0.95) -> dict[str, Collapse]:
    """Group → how many of the runs that trained far enough collapsed; empty before any did.

    Far enough is the first milestone by which half of the runs there have left the level of doing
    nothing. A run that diverged counts wherever it did, because none goes on after that. Runs that
    crashed do not: that is their machine's doing.

    Args:
        race: read only.
        groups: whom to answer for beside the study.
        level: of the intervals, in (0, 1).
    """
    curves: dict[RunKey, Mapping[int, float]] = {}
    diverged: set[RunKey] = set()
    for key, run in race.ledger.items():
        finite = {epoch: value for epoch, value in run.curve.items() if math.isfinite(value)}
        if finite:
            curves[key] = finite
        if _is_diverged(race, key):
            diverged.add(key)
    if not curves and not diverged:
        return {}
    milestones = sorted({rung.epochs for rung in race.policy.rungs} - {TO_THE_END})
    if not milestones:  # runs end by themselves
        milestones = sorted({max(curve) for curve in curves.values()}) or [1]
    nothing = doing_nothing(
        np.array([curve[min(curve)] for curve in curves.values()]),
        np.array([max(curve.values()) for curve in curves.values()]),
    )
    enough = None
    if nothing is not None:
        enough = far_enough(list(curves.values()), milestones, nothing)
    looked: dict[RunKey, bool] = dict.fromkeys(diverged, True)
    for key, curve in curves.items():
        last = max(curve)
        if key in diverged or (enough is None and not diverged):
            continue
        if last >= (milestones[-1] if enough is None else enough):
            looked[key] = nothing is not None and enough is not None and curve[last] <= nothing
    if not looked:
        return {}
    fallen = [key for key, collapsed in looked.items() if collapsed]
    own: dict[str, list[bool]] = {}
    for key, collapsed in looked.items():
        own.setdefault(key.group, []).append(collapsed)
    shown = nothing is not None and enough is not None
    study = share_of(len(fallen), len(looked), level=level)
    return {
        name: Collapse(
            study=study,
            best=share_of(sum(own.get(name, ())), len(own.get(name, ())), level=level),
            epochs=milestones[-1] if enough is None else enough,
            level=race.ledger.metric.own(nothing) if nothing is not None and shown else math.nan,
            diverged=len(diverged),
            runs=tuple((key.group, key.seed) for key in fallen),
        )
        for name in groups
    }


def by_seed(race: Race, found: Collapse) -> list[RunKey]:
    """The collapsed runs that tell of seeds: those whose config alone does not explain them.

    A config that was stopped early on its one seed may be too slow, or bad, on every seed. One that
    did well on another seed is not, nor does one that had every epoch lack time.
    """
    ledger = race.ledger
    fallen = {RunKey(*run) for run in found.runs}
    last = max(run.last_epoch for run in ledger.values())
    well = {
        key.group
        for key, run in ledger.items()
        if key not in fallen and run.last_epoch >= found.epochs
    }
    return [
        key
        for key in sorted(fallen)
        if key.group in well or ledger[key].last_epoch >= last or _is_diverged(race, key)
    ]


def _is_diverged(race: Race, key: RunKey) -> bool:
    group = race.groups.get(key.group)
    error = race.ledger[key].error or (group.failures.get(key.seed, "") if group else "")
    return error.startswith(_DIVERGED)
