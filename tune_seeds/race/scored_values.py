"""What a group is scored on at a rung: its seeds' values, and their means over recent epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean

from tune_seeds.core.ledger import Ledger, RunKey
from tune_seeds.core.rungs import TO_THE_END, Rung
from tune_seeds.race.groups import Group, OnSeedFailure

#: Epochs that count as recent, as a share of those of a rung, at least two.
RECENT_SHARE = 0.1


def arrived_values(
    ledger: Ledger, name: str, group: Group, rung: Rung, rule: OnSeedFailure, worst: float
) -> dict[int, float] | None:
    """Seed → what a group is scored on at a rung; None while a run for it is under way.

    Also None where every seed failed.

    Args:
        ledger: has the reports.
        name: of the group.
        group: where it stands.
        rung: where it is to be scored.
        rule: what a failed seed means.
        worst: the worst value that any group was scored on after as many epochs; inf before any.
    """
    epochs = rung.epochs
    values: dict[int, float] = {}
    for seed in ledger.seeds[: rung.n_seeds]:
        if seed in group.failures:
            continue
        value = ledger.values_on(name, [seed], epochs)
        if value is None:
            return None
        values[seed] = value[0]
    if group.failures and rule is OnSeedFailure.WORST:
        worst = min([*values.values(), worst])
        if not math.isfinite(worst):
            return None
        for seed in ledger.seeds[: rung.n_seeds]:
            if seed in group.failures:
                values[seed] = worst
        values = {s: values[s] for s in ledger.seeds if s in values}
    return values or None


def recent_means(
    ledger: Ledger, name: str, group: Group, rung: Rung, values: Mapping[int, float]
) -> tuple[float, ...]:
    """Each seed's mean over its recent epochs; its value where it failed and was given one.

    Empty where runs end by themselves.

    Args:
        ledger: has the reports.
        name: of the group.
        group: where it stands.
        rung: where it is scored.
        values: seed → what it is scored on there.
    """
    if rung.epochs == TO_THE_END:
        return ()
    begin = rung.epochs - max(2, round(RECENT_SHARE * rung.epochs))
    means = list[float]()
    for seed, value in values.items():
        curve = ledger[RunKey(name, seed)].curve
        seen = [v for epoch, v in curve.items() if begin < epoch <= rung.epochs]
        means.append(value if seed in group.failures or not seen else fmean(seen))
    return tuple(means)
