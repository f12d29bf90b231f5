"""What of a run would not survive a pause."""

from __future__ import annotations

from tune_seeds.reproduce.audit.finding import Cause, Finding
from tune_seeds.reproduce.audit.pauses import PauseEvidence

_FROM_ITS_BEGINNING = (
    "As it is, a study trains the run again from its beginning after each pause, and says so; "
    'LightningTrainer(pause="never") means to.'
)


# More names say nothing new.
_MOST_NAMES = 8


def lost_over_pause(evidence: PauseEvidence, irreproducible: bool) -> list[Finding]:
    """What would not survive a pause, or where a paused run first comes out differently.

    Args:
        evidence: the run with and without pauses.
        irreproducible: whether the run comes out differently anyway, which says nothing of pauses.
    """
    at = evidence.paused.paused_at
    if evidence.paused.error:
        return [
            _lost(
                "the run",
                f"the run fails when it goes on after a pause at epoch {at}",
                evidence.paused.error,
                "let hooks that start a fit (setup, configure_optimizers, on_fit_start) do the "
                "same whether a fit starts or goes on: its state is put back after them",
            )
        ]
    lost = evidence.paused.lost
    if lost:
        findings = [_of_attribute(entry, at) for entry in lost[:_MOST_NAMES]]
        if lost[_MOST_NAMES:]:
            findings.append(
                _lost(
                    "and more",
                    f"{len(lost) - _MOST_NAMES} more attributes would not survive it",
                    "as above",
                    "as above",
                )
            )
        return findings
    # What differs anyway says nothing about pauses.
    difference = None if irreproducible else evidence.first_difference()
    if difference is None:
        return []
    epoch, names = difference
    more = f" and {len(names) - 3} more" if names[3:] else ""
    return [
        _lost(
            names[0],
            f"a run that is paused comes out differently: at epoch {epoch} first in "
            f"{', '.join(names[:3])}{more}",
            "state that the run keeps outside of its module, data module, callbacks and "
            "optimizers (a file, an environment variable, an object of a library), or a hook that "
            "acts otherwise in a fit that goes on",
            "keep state on the module, data module or a callback, by value",
        )
    ]


def _of_attribute(entry: str, epoch: int) -> Finding:
    name, _, reason = entry.partition(" (")
    if reason:
        why = f"it can't be saved ({reason.removesuffix(')')})"
        remedy = (
            "keep what it stands for (a position, a count, a path) in a plain attribute, and make "
            "the object from it where it is used"
        )
    else:
        why = "it is not the same when the run goes on in another process"
        remedy = (
            "keep state on the module, data module or a callback, by value; not in a class, a "
            "global or an object that several runs share"
        )
    where = f"{name} would not survive a pause (tried after epoch {epoch})"
    return _lost(name, where, why, remedy)


def _lost(name: str, where: str, why: str, remedy: str) -> Finding:
    return Finding(Cause.PAUSE, None, name, where, why, f"{remedy}. {_FROM_ITS_BEGINNING}")
