"""The race of a study: new, as the study declared it, and brought to where its journal ends."""

from __future__ import annotations

from tune_seeds.core.ledger import Ledger
from tune_seeds.policies.base import Policy
from tune_seeds.race.groups import OnSeedFailure
from tune_seeds.race.race import Race
from tune_seeds.statistics.aggregate import Aggregate, ScoreFunction, get_aggregate
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.journal import read_lines
from tune_seeds.store.rebuild.integrity import check_integrity
from tune_seeds.store.rebuild.replay import replay
from tune_seeds.store.rebuild.salvage import Salvage, salvage
from tune_seeds.store.study_spec import Header


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
