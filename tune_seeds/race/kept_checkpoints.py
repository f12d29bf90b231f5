"""Which checkpoints a study still needs: to go on, to be retried, and those that are asked for."""

from __future__ import annotations

from enum import StrEnum

from tune_seeds.core.ledger import Outcome, RunKey
from tune_seeds.race.race import Race


class KeepCheckpoints(StrEnum):
    """Whose checkpoints stay when the search is over."""

    ALL = "all"  # every checkpoint of every run, also while the study runs
    FINALISTS = "finalists"  # of the groups with every epoch on every seed
    BEST = "best"  # of the best of these


def superseded(race: Race, key: RunKey) -> list[int]:
    """The epochs of a run's checkpoints from which it can't go on any more.

    It goes on from the newest epoch, or, where it had begun anew and repeats epochs, from the one
    that it reported last. Older journals hold runs that wrote two checkpoints into one directory,
    which stays as long as one of them is needed.
    """
    found = race.ledger[key].checkpoints
    needed = {found[epoch] for epoch in (max(found, default=0), *list(found)[-1:]) if epoch}
    return [epoch for epoch, path in found.items() if path not in needed]


def not_kept(race: Race, keep: KeepCheckpoints) -> list[tuple[RunKey, int]]:
    """What is left over of a study that is done: runs and epochs of their checkpoints.

    A group with a failed seed keeps the newest of each of its runs, since it can be tried again.
    """
    if keep is KeepCheckpoints.ALL or not race.done:
        return []
    kept = set(race.finalists[: 1 if keep is KeepCheckpoints.BEST else None])
    kept |= {key.group for key, run in race.ledger.items() if run.outcome is Outcome.FAILED}
    return [
        (key, epoch)
        for key, run in race.ledger.items()
        for epoch in (superseded(race, key) if key.group in kept else sorted(run.checkpoints))
    ]


def n_kept(race: Race) -> tuple[int, int]:
    """How many checkpoints there are, and their bytes as far as runs have told them."""
    sizes = [
        run.checkpoint_bytes.get(epoch, 0)
        for run in race.ledger.values()
        for epoch in run.checkpoints
    ]
    return len(sizes), sum(sizes)
