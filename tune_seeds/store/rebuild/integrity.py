"""Whether groups were scored on exactly what their runs reported on the declared seeds."""

from __future__ import annotations

import math

from tune_seeds.core.ledger import RunKey
from tune_seeds.core.rungs import TO_THE_END, Rung
from tune_seeds.race.groups import OnSeedFailure
from tune_seeds.race.race import Race
from tune_seeds.statistics.aggregate import Aggregate, Kind
from tune_seeds.store.errors import IntegrityError


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
