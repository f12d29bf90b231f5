"""Where a study's epochs went: rung by rung, and what became of the groups that trained them."""

from __future__ import annotations

from dataclasses import dataclass

from tune_seeds.core.ledger import RunKey
from tune_seeds.core.rungs import TO_THE_END, Rung
from tune_seeds.race.race import Group, Race


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


def planned_epochs(
    race: Race, n_configs: int, reduction_factor: float, n_finalists: int, n_confirm: int = 0
) -> int | None:
    """The epochs of the whole study, trained ones included.

    Of the groups scored at a rung, the best 1/η go on, and at the end at least ``n_finalists``.
    Where more have gone on already, as happens while few are scored, those count. An adaptive study
    spends about as much, on other rungs.

    Args:
        race: read only.
        n_configs: how many the search is to suggest.
        reduction_factor: η of the policy.
        n_finalists: groups that are to reach the last rung.
        n_confirm: runs on fresh seeds that are to follow.

    Returns:
        None where nobody knows, because runs end by themselves.
    """
    rungs = race.policy.rungs
    if rungs[-1].epochs == TO_THE_END:
        return None
    level = {rung: k for k, rung in enumerate(rungs)}
    n_alive = float(max(n_configs, len(race.groups)))
    total, below = 0.0, (0,) * len(race.ledger.seeds)
    for k, rung in enumerate(rungs):
        if k:
            sent = sum(level[group.goal] >= k for group in race.groups.values())
            # Where seeds are added one at a time, that is one step of successive halving.
            is_same_step = k > 1 and rungs[k - 2].epochs == rung.epochs
            kept = n_alive if is_same_step else n_alive / reduction_factor
            n_alive = min(n_alive, max(kept, n_finalists, sent))
        upto = tuple(
            max(epochs, rung.epochs) if place < rung.n_seeds else epochs
            for place, epochs in enumerate(below)
        )
        total += n_alive * (sum(upto) - sum(below))
        below = upto
    fresh = [run for key, run in race.ledger.items() if key.seed not in race.ledger.seeds]
    total += max(n_confirm, len(fresh)) * rungs[-1].epochs
    done = trained_epochs(race) + sum(run.last_epoch for run in fresh)
    return max(round(total), done)


def trained_epochs(race: Race) -> int:
    """The epochs that the study's own seeds have trained."""
    seeds = race.ledger.seeds
    return sum(race.ledger[RunKey(name, seed)].last_epoch for name in race.groups for seed in seeds)
