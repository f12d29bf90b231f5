"""A study is read back from its journal, and checked against what it declared."""

from __future__ import annotations

import contextlib
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tune_seeds.core.events import (
    ConfirmationAdded,
    Event,
    GroupAdded,
    Grown,
    Promoted,
    Reported,
    RunCompleted,
    Scored,
    SearchExhausted,
    StudyLeft,
)
from tune_seeds.core.ledger import Ledger, RunKey
from tune_seeds.core.rungs import TO_THE_END, Rung
from tune_seeds.policies.base import Policy
from tune_seeds.race.groups import OnSeedFailure
from tune_seeds.race.race import Race
from tune_seeds.statistics.aggregate import Aggregate, Kind, ScoreFunction, get_aggregate
from tune_seeds.store.codec import encode
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.errors import IntegrityError
from tune_seeds.store.journal import JOURNAL, Damage, Line, read_lines
from tune_seeds.store.study_spec import Header


@dataclass(slots=True)
class Salvage:
    """What a damaged journal still says.

    Attributes:
        lines: a journal that says it, each line without its end.
        left_out: the lines of the old one that it lacks, and why.
        n_added: events that were lost and follow from what is there.
    """

    lines: list[bytes] = field(default_factory=list[bytes])
    left_out: list[Damage] = field(default_factory=list[Damage])
    n_added: int = 0

    def __str__(self) -> str:
        shown = [f"line {damage.number}, {damage.reason}" for damage in self.left_out[:3]]
        more = len(self.left_out) - len(shown)
        shown += [f"and {more} more"] if more else []
        return (
            f"{len(self.left_out)} lines of the journal are damaged, or rest on damaged ones, and "
            f"are left out ({'; '.join(shown)})"
        )


def rebuild(race: Race, directory: ExperimentDir, *, unpickle: bool = False) -> Salvage | None:
    """Bring a new race to where the journal of an experiment ends, and check what was scored.

    Returns:
        What was left out, where the journal has damaged lines; None where it is whole.

    Raises:
        IntegrityError: every line is whole, and they contradict what the study declared.
    """
    lines, damaged = read_lines(directory, unpickle=unpickle)
    if damaged:
        return salvage(race, lines, damaged)
    replay(race, (line.event for line in lines))
    check_integrity(race)
    return None


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


def salvage(race: Race, lines: Sequence[Line], damaged: Sequence[Damage] = ()) -> Salvage:
    """Bring a new race to what a damaged journal still says.

    An event that does not fit, because one that it rests on is lost, is left out; what follows
    from events that are there, a score or a promotion, is put back. A run that lacks a report in
    the middle is taken back to before it, and trains those epochs again.

    Args:
        race: a new one.
        lines: the whole ones.
        damaged: the others.
    """
    found = Salvage(left_out=list(damaged))

    def add(event: Event) -> None:
        found.lines.append(encode(event))
        found.n_added += 1

    before = race.record_to(add)
    bare = _without_metric(lines, race.ledger.metric.name)
    found.left_out += [Damage(number, "a report without the metric") for number in bare]
    lines = [line for line in lines if line.number not in bare]
    cuts, odd = _gaps(lines)
    for number, raw, event in lines:
        if isinstance(event, Reported):
            cut = cuts.get(RunKey(event.group, event.seed))
            if cut is not None and event.epoch >= cut:
                found.left_out.append(Damage(number, "a report after one that is lost"))
                continue
            if event.epoch in odd:
                found.left_out.append(Damage(number, f"a report at {event.epoch}, as no other"))
                continue
        if isinstance(event, RunCompleted):
            key = RunKey(event.group, event.seed)
            if key in race.ledger and (key in cuts or _ends_early(race, key)):
                found.left_out.append(Damage(number, "an end before which a report is lost"))
                continue
        if isinstance(event, Scored | Promoted) and event.group in race.groups:
            group = race.groups[event.group]
            if isinstance(event, Promoted) or event.rung != group.goal:
                with contextlib.suppress(ValueError):  # the user's own aggregate is not here
                    race.settle(event.group)
            if isinstance(event, Scored) and not group.lost and event.rung in race.policy.rungs:
                index = race.policy.rungs.index
                if group.goal in group.scores and index(event.rung) == index(group.goal) + 1:
                    race.send(event.group, event.rung)
                if group.scores.get(event.rung) == race.ledger.metric.turned(event.score):
                    continue  # put back already
                if not _is_backed(race, event):
                    found.left_out.append(Damage(number, "a score whose reports are lost"))
                    continue
        why = misfit(race, event)
        if why is not None:
            found.left_out.append(Damage(number, f"{type(event).__name__} {why}"))
            continue
        found.lines.append(raw)
        race.apply(event)
    race.record_to(before)
    found.left_out.sort()
    return found


def replace_journal(directory: ExperimentDir, found: Salvage) -> str:
    """Write what was salvaged as the journal of an experiment, and keep the damaged one beside it.

    Returns:
        The name of the damaged one.
    """
    number = 1
    while directory.exists(kept := f"ledger.damaged-{number}.jsonl"):
        number += 1
    directory.write(kept, directory.read(JOURNAL))
    directory.write(JOURNAL, b"".join(line + b"\n" for line in found.lines))
    return kept


def _ends_early(race: Race, key: RunKey) -> bool:
    target = race.target(key)
    return target != TO_THE_END and target not in race.ledger[key].curve


def _without_metric(lines: Iterable[Line], metric: str) -> set[int]:
    """Lines with a report that lacks the metric, at an epoch where most others have it."""
    reports = [(line.number, line.event) for line in lines if isinstance(line.event, Reported)]
    counts = Counter(event.epoch for _, event in reports)
    having = Counter(event.epoch for _, event in reports if metric in event.metrics)
    return {
        number
        for number, event in reports
        if metric not in event.metrics and 2 * having[event.epoch] >= counts[event.epoch]
    }


def _gaps(lines: Iterable[Line]) -> tuple[dict[RunKey, int], set[int]]:
    """Where runs lack the report of an epoch that at least half of those that went past it have.

    Returns:
        Run → the first such epoch that it lacks; and the epochs that fewer have, which are odd.
    """
    reported: dict[RunKey, set[int]] = {}
    for line in lines:
        if isinstance(line.event, Reported):
            key = RunKey(line.event.group, line.event.seed)
            reported.setdefault(key, set()).add(line.event.epoch)
    counts = Counter(epoch for epochs in reported.values() for epoch in epochs)
    ends = sorted(max(epochs) for epochs in reported.values())
    usual = {e for e, n in counts.items() if 2 * n >= len(ends) - bisect_left(ends, e)}
    steps = Counter(b - a for epochs in reported.values() for a, b in pairwise(sorted(epochs)))
    step, n = steps.most_common(1)[0] if steps else (0, 0)
    regular = n >= 0.8 * steps.total()  # then a longer step is a gap, also where nobody is further
    found: dict[RunKey, int] = {}
    for key, epochs in reported.items():
        own = sorted(epochs & usual)
        skipped = [a + step for a, b in pairwise(own) if regular and b - a > step]
        lost = skipped + [
            epoch for epoch in usual - epochs if epoch < max(epochs & usual, default=0)
        ]
        if lost:
            found[key] = min(lost)
    return found, counts.keys() - usual


def _is_backed(race: Race, event: Scored) -> bool:
    """Whether the runs of a group reported what it was scored on."""
    turned, group = race.ledger.metric.turned, race.groups[event.group]
    for seed in race.ledger.seeds[: event.rung.n_seeds]:
        own = race.ledger.values_on(event.group, [seed], event.rung.epochs)
        value = event.scores.get(seed)
        made_up = race.on_seed_failure is OnSeedFailure.WORST
        if seed in group.failures and (value is None or made_up):
            continue
        if value is None or own is None or own[0] != turned(value):
            return False
    if not event.scores or not set(event.scores) <= set(race.ledger.seeds[: event.rung.n_seeds]):
        return False
    aggregate = race.aggregate
    if not isinstance(aggregate, Aggregate) or aggregate.kind is Kind.CUSTOM:
        return True
    score = aggregate.score([turned(value) for value in event.scores.values()])
    return math.isclose(score, turned(event.score), rel_tol=1e-12, abs_tol=1e-300)


def new_race(
    header: Header,
    aggregate: str | ScoreFunction | None = None,
    policy: Policy | None = None,
) -> Race:
    """A race at its beginning, to read into it what a study declared and did.

    Args:
        header: what it declared.
        aggregate: the user's own function, where the study has one and it is at hand.
        policy: likewise the user's own policy, before it was told anything.
    """
    return Race(
        Ledger(header.seeds, header.measure),
        header.policy_to_read(policy),
        recorded_aggregate(header.aggregate, aggregate),
        OnSeedFailure(header.on_seed_failure),
    )


def recorded_aggregate(name: str, given: str | ScoreFunction | None) -> Aggregate | ScoreFunction:
    """The aggregate that a study recorded by name.

    A function's name does not bring the function back; without it, scores are read as recorded,
    and a function that refuses stands in for it.
    """
    if given is not None:
        return get_aggregate(given)
    try:
        return get_aggregate(name)
    except ValueError:

        def unknown(scores: object) -> float:
            raise ValueError(
                f"the study aggregated with its own function {name!r}; give it to "
                "SeedResults(path, aggregate=...)"
            )

        return unknown


def check_integrity(race: Race) -> None:
    """Refuse a study in which a group was scored on anything but its declared seeds.

    Raises:
        IntegrityError: names the group and the seed.
    """
    for name, group in race.groups.items():
        for rung in group.scores:
            _check_score(race, name, rung)


def _check_score(race: Race, name: str, rung: Rung) -> None:
    group, ledger = race.groups[name], race.ledger
    own = ledger.metric.own
    declared = ledger.seeds[: rung.n_seeds]
    policy = race.on_seed_failure
    used = group.values[rung]
    for seed in used:
        if seed not in declared:
            raise IntegrityError(
                f"group {name} was scored at {rung} on seed {seed}, which is not one of {declared}"
            )
    epochs: dict[int, frozenset[int]] = {}
    for seed in declared:
        # One that is tried again counts as failed until the group is scored anew.
        failed = seed in group.failures or seed in group.stale.get(rung, ())
        if seed not in used:
            if failed and policy is OnSeedFailure.DROP:
                continue
            raise IntegrityError(f"group {name} was scored at {rung} without seed {seed}")
        value = ledger.values_on(name, [seed], rung.epochs)
        if failed and policy is OnSeedFailure.WORST and (value is None or value[0] != used[seed]):
            continue
        if value is None or value[0] != used[seed]:
            raise IntegrityError(
                f"group {name} was scored at {rung} with {own(used[seed])} for seed "
                f"{seed}, whose run reported {None if value is None else own(value[0])}"
            )
        curve = ledger[RunKey(name, seed)].curve
        end = max(curve) if rung.epochs == TO_THE_END else rung.epochs
        epochs[seed] = frozenset(epoch for epoch in curve if epoch <= end)
    most = max(epochs.values(), key=len, default=frozenset[int]())
    for seed, reported in epochs.items():
        if reported != most:
            raise IntegrityError(
                f"the seeds of group {name} reported at different epochs up to {rung}: seed {seed} "
                f"has {len(reported)} of {len(most)} ({sorted(most ^ reported)[:5]} differ)"
            )
    aggregate = race.aggregate
    if isinstance(aggregate, Aggregate) and aggregate.kind is not Kind.CUSTOM:
        score = aggregate.score(list(used.values()))
        if not math.isclose(score, group.scores[rung], rel_tol=1e-12, abs_tol=1e-300):
            raise IntegrityError(
                f"group {name} has the score {own(group.scores[rung])} at {rung}, but the "
                f"{aggregate.name} of its seeds is {own(score)}"
            )
