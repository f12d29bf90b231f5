"""Makes the directory of an experiment out of given scores, without Ray, through the real race."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.fs

from tune_seeds.field import OnSeedFailure
from tune_seeds.header import Header
from tune_seeds.journal import Journal
from tune_seeds.ledger import Ledger, Rung
from tune_seeds.race import Confirm, Decision, Race
from tune_seeds.statistics.aggregate import get_aggregate

#: What a run does at an epoch: a metric, or an exception that it fails with.
Training = Callable[[Mapping[str, Any], int, int], float | Exception]


def make_study(
    path: Path,
    configs: list[dict[str, Any]],
    train: Training,
    *,
    seeds: tuple[int, ...] = (47, 881, 123456789),
    rungs: tuple[Rung, ...] | None = None,
    mode: str = "max",
    aggregate: Any = "mean",
    on_seed_failure: str = "fail",
    confirm: Confirm | None = None,
    n_finalists: int = 3,
    policy: str = "halving",
) -> str:
    """Race ``configs`` to the end, one run after the other, and leave the journal in ``path``."""
    rungs = rungs or (Rung(1, len(seeds)),)
    path.mkdir(parents=True, exist_ok=True)
    fs = pyarrow.fs.LocalFileSystem()
    header = Header(
        seeds=seeds,
        metric="score",
        mode=mode,
        time_attr="epoch",
        policy=policy,
        rungs=rungs,
        reduction_factor=3.0,
        n_finalists=n_finalists,
        aggregate=get_aggregate(aggregate).name,
        on_seed_failure=on_seed_failure,
        confirm_seeds=confirm.seeds if confirm else (),
        confirm_top=confirm.top if confirm else 3,
        num_samples=len(configs),
        search_seed=0,
        param_space={},
        version="0",
    )
    header.write(fs, str(path))
    journal = Journal(fs, str(path))
    race = Race(
        Ledger(seeds, "score", mode),
        header.make_policy(),
        get_aggregate(aggregate),
        OnSeedFailure(on_seed_failure),
        confirm,
        journal.append,
    )
    left = list(configs)
    epochs: dict[Any, int] = {}
    while True:
        race.promote_next()
        if not race.queue:
            if left:
                race.add_group(left.pop(0))
            elif race.exhausted:
                break
            else:
                race.exhausted = True
            continue
        key = race.queue[0]
        race.start(key)
        race.assign(key, f"{key.group}-{key.seed}", f"dir-{key.group}-{key.seed}")
        decision = Decision.CONTINUE
        while decision is Decision.CONTINUE:
            epochs[key] = epochs.get(key, 0) + 1
            result = train(race.ledger.configs[key.group], key.seed, epochs[key])
            if isinstance(result, Exception):
                race.fail(key, f"{type(result).__name__}: {result}")
                break
            decision = race.report(key, epochs[key], {"score": result})
        if decision is Decision.FINISH:
            race.complete(key)
    journal.close()
    assert race.done
    return str(path)
