"""What a damaged journal still says, and a whole journal written from that."""

from __future__ import annotations

import contextlib
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tune_seeds.core.events import (
    Event,
    Promoted,
    Reported,
    RunCompleted,
    Scored,
)
from tune_seeds.core.ledger import RunKey
from tune_seeds.core.rungs import TO_THE_END
from tune_seeds.race.groups import OnSeedFailure
from tune_seeds.race.race import Race
from tune_seeds.statistics.aggregate import Aggregate, Kind
from tune_seeds.store.codec import encode
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.journal import JOURNAL, Damage, Line
from tune_seeds.store.rebuild.replay import misfit


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
