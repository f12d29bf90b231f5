"""Makes the directory of an experiment out of given scores, without Ray, through the real race."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tune_seeds.core.ledger import Ledger, RunKey
from tune_seeds.core.rungs import Rung
from tune_seeds.race.groups import OnSeedFailure
from tune_seeds.race.race import Confirm, Race
from tune_seeds.statistics.aggregate import get_aggregate
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.journal import Journal
from tune_seeds.store.study_spec import Header
from tune_seeds.testing.driver import Driver, Train


def make_study(
    path: Path,
    configs: list[dict[str, Any]],
    train: Train,
    *,
    seeds: tuple[int, ...] = (47, 881, 123456789),
    rungs: tuple[Rung, ...] | None = None,
    mode: str = "max",
    aggregate: Any = "mean",
    on_seed_failure: str = "fail",
    confirm: Confirm | None = None,
    n_finalists: int = 3,
    policy: str = "halving",
    metric_range: tuple[float, float] | None = None,
    score: str = "last",
) -> str:
    """Race ``configs`` to the end, one run after the other, and leave the journal in ``path``."""
    rungs = rungs or (Rung(1, len(seeds)),)
    path.mkdir(parents=True, exist_ok=True)
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
        metric_range=metric_range,
        score=score,
    )
    header.write(ExperimentDir.at(path))
    journal = Journal(ExperimentDir.at(path))
    race = Race(
        Ledger(seeds, header.measure),
        header.make_policy(),
        get_aggregate(aggregate),
        OnSeedFailure(on_seed_failure),
        confirm,
        journal.append,
    )

    def assign(key: RunKey) -> None:
        race.assign(key, f"{key.group}-{key.seed}", f"dir-{key.group}-{key.seed}")

    Driver(race, configs, train, on_start=assign).run()
    journal.close()
    assert race.done
    return str(path)
