"""The events of a journal applied to a race, each only where it can have happened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tune_seeds.core.events import (
    ConfirmationAdded,
    Event,
    GroupAdded,
    Grown,
    Promoted,
    Scored,
    SearchExhausted,
    StudyLeft,
)
from tune_seeds.core.ledger import RunKey
from tune_seeds.core.rungs import Rung
from tune_seeds.race.race import Race
from tune_seeds.store.errors import IntegrityError


def replay(race: Race, events: Iterable[Event]) -> None:
    """Apply events to a race.

    Raises:
        IntegrityError: an event can't have happened after those before it.
    """
    for event in events:
        why = misfit(race, event)
        if why is not None:
            raise IntegrityError(
                f"the journal holds {type(event).__name__} {why}; it was edited, or two studies "
                "wrote it: `tune-seeds repair EXPERIMENT` writes one without what does not fit"
            )
        race.apply(event)


def misfit(race: Race, event: Event) -> str | None:
    """Why an event can't be the next of a race; None where it can.

    The words follow on the name of the event.
    """
    match event:
        case GroupAdded(group, _):
            return f"of group {group} again" if group in race.groups else None
        case ConfirmationAdded(groups, seeds):
            if unknown := [group for group in groups if group not in race.groups]:
                return f"of {unknown}, which the study does not have"
            if own := sorted(set(seeds) & set(race.ledger.seeds)):
                return f"on the seeds {own}, which were tuned on"
            return None
        case SearchExhausted() | StudyLeft():
            return None
        case Grown(seeds, rungs):
            return _unfit_growth(race, seeds, rungs)
        case Promoted(group, rung):
            known = race.groups.get(group)
            if known is None:
                return f"of group {group}, which the study does not have"
            rungs = race.policy.rungs
            if rung not in rungs:
                return f"of group {group} to {rung}, which is no rung of the study"
            if known.lost or known.goal not in known.scores:
                return f"of group {group} to {rung}, but it has no score at {known.goal}"
            if rungs.index(rung) <= rungs.index(known.goal):
                return f"of group {group} from {known.goal} to {rung}"
            return None
        case Scored(group, rung, scores, score):
            known = race.groups.get(group)
            if known is None:
                return f"of group {group}, which the study does not have"
            for seed, value in scores.items() if known.lost else ():
                key = RunKey(group, seed)
                if key in race.ledger and race.ledger.values_on(group, [seed], rung.epochs) is None:
                    return (
                        f"where group {group} was scored at {rung} with {value} for seed {seed}, "
                        "whose run reported None"
                    )
            if known.lost or (rung != known.goal and rung not in known.stale):
                return f"of group {group} at {rung}, but it was on its way to {known.goal}"
            if rung in known.scores and rung not in known.stale:
                return f"of group {group} at {rung} again"
            return f"of group {group} at {rung} with the score nan" if score != score else None
        case _:
            key = RunKey(event.group, event.seed)
            if key not in race.ledger:
                seeds = ", ".join(map(str, race.ledger.seeds))
                return f"of {key}, which the study does not have; its seeds are {seeds}"
            return None


def _unfit_growth(race: Race, seeds: Sequence[int], rungs: Sequence[Rung]) -> str | None:
    if tuple(seeds[: len(race.ledger.seeds)]) != race.ledger.seeds:
        return f"to the seeds {list(seeds)}, which don't begin with {list(race.ledger.seeds)}"
    if used := sorted(set(seeds) & set(race.ledger.fresh_seeds)):
        return f"to the seeds {used}, which have confirmed configs"
    shown = " ".join(map(str, rungs))
    if list(rungs) != sorted(rungs) or rungs[-1].n_seeds != len(seeds):
        return f"to the rungs {shown} on {len(seeds)} seeds"
    if rungs[-1].epochs < race.policy.rungs[-1].epochs:
        return f"to the rungs {shown}, which end before {race.policy.rungs[-1]}"
    try:
        made = race.policy.fresh(rungs, 1).rungs
    except ValueError as error:
        return f"to the rungs {shown} ({error})"
    return None if made == tuple(rungs) else f"to the rungs {shown}, which are not its policy's"
