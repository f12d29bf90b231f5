"""Where a study's epochs went: rung by rung, and what became of the groups that trained them."""

from __future__ import annotations

from dataclasses import dataclass

from tune_seeds.ledger import TO_THE_END, Rung, RunKey
from tune_seeds.race import Group, Race


@dataclass(frozen=True, slots=True)
class RungSpending:
    """One rung.

    Attributes:
        rung: epochs × seeds.
        n_scored: groups that were scored there.
        epochs: what became of a group → the epochs its runs trained from the rung below to this
            one. ``"went on"``: to the next rung; ``"complete"``: this is the last; ``"stopped"``:
            scored here and left here; ``"failed"`` and ``"unfinished"``: on the way here.
        n_groups: the same for the number of groups.
    """

    rung: Rung
    n_scored: int
    epochs: dict[str, int]
    n_groups: dict[str, int]


def spending(race: Race) -> list[RungSpending]:
    """The epochs of every rung, the lowest first."""
    rungs = race.policy.rungs
    table: list[RungSpending] = []
    for level, rung in enumerate(rungs):
        epochs: dict[str, int] = {}
        n_groups: dict[str, int] = {}
        for name, group in race.groups.items():
            if rungs.index(group.goal) < level:
                continue
            fate = _fate(group, level, rungs)
            n_groups[fate] = n_groups.get(fate, 0) + 1
            epochs[fate] = epochs.get(fate, 0) + _trained(race, name, level)
        n_scored = sum(rung in group.scores for group in race.groups.values())
        table.append(RungSpending(rung, n_scored, epochs, n_groups))
    return table


def full_cost(race: Race) -> int | None:
    """The epochs of training every config on every seed to the last rung; None without a limit."""
    top = race.policy.rungs[-1]
    if top.epochs == TO_THE_END:
        return None
    return len(race.groups) * top.epochs * top.n_seeds


def _fate(group: Group, level: int, rungs: tuple[Rung, ...]) -> str:
    if rungs.index(group.goal) > level:
        return "went on"
    if group.lost:
        return "failed"
    if rungs[level] not in group.scores:
        return "unfinished"
    return "complete" if level == len(rungs) - 1 else "stopped"


def _trained(race: Race, name: str, level: int) -> int:
    rungs = race.policy.rungs
    total = 0
    for place, seed in enumerate(race.ledger.seeds[: rungs[level].n_seeds]):
        below = [rung.epochs for rung in rungs[:level] if place < rung.n_seeds]
        start = max(below, default=0)
        last = race.ledger[RunKey(name, seed)].last_epoch
        total += max(0, min(last, rungs[level].epochs) - start)
    return total
