"""A study is read back from its journal, and checked against what it declared."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tune_seeds.events import Event
from tune_seeds.field import OnSeedFailure
from tune_seeds.ledger import TO_THE_END, Rung, RunKey
from tune_seeds.race import Race
from tune_seeds.statistics.aggregate import Aggregate, Kind, ScoreFunction, get_aggregate


class IntegrityError(ValueError):
    """The journal contradicts what the study declared; it was edited, or two studies wrote it."""


def rebuild(race: Race, events: Iterable[Event]) -> None:
    """Apply the events of a journal to a new race.

    Raises:
        IntegrityError: an event is about a group or a seed that the study does not have.
    """
    for event in events:
        try:
            race.apply(event)
        except KeyError as error:
            raise IntegrityError(
                f"the journal holds {type(event).__name__} of {error.args[0]}, which the study "
                f"does not have; its seeds are {', '.join(map(str, race.ledger.seeds))}"
            ) from error


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
        failed = seed in group.failures
        if seed not in used:
            if failed and policy is OnSeedFailure.DROP:
                continue
            raise IntegrityError(f"group {name} was scored at {rung} without seed {seed}")
        value = ledger.values_on(name, [seed], rung.epochs)
        if value is None and failed and policy is OnSeedFailure.WORST:
            continue
        if value is None or value[0] != used[seed]:
            raise IntegrityError(
                f"group {name} was scored at {rung} with {ledger.sign * used[seed]} for seed "
                f"{seed}, whose run reported {None if value is None else ledger.sign * value[0]}"
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
                f"group {name} has the score {ledger.sign * group.scores[rung]} at {rung}, but the "
                f"{aggregate.name} of its seeds is {ledger.sign * score}"
            )
