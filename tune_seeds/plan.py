"""How many epochs a study is going to train: an estimate that grows exact as the study ends."""

from __future__ import annotations

from tune_seeds.ledger import TO_THE_END, RunKey
from tune_seeds.race import Race


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
