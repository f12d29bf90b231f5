"""One study from its race to its ending, while this process drives it."""

from __future__ import annotations

import time
from typing import cast

from ray.tune import TuneError

from tune_seeds.core.ledger import Ledger
from tune_seeds.core.memory import frozen_objects
from tune_seeds.engine.cluster import LiveSlots
from tune_seeds.engine.quiet_ray import quiet_ray
from tune_seeds.engine.random_search import n_possible
from tune_seeds.engine.search import SeedSearch
from tune_seeds.engine.searcher import make_searcher
from tune_seeds.engine.signals import Received, ending_signals
from tune_seeds.engine.suggested_configs import Configs
from tune_seeds.launch.ending import Ending, record_end, why_failed, why_left
from tune_seeds.launch.launch import Launch
from tune_seeds.launch.tune_run import run_in_tune
from tune_seeds.race.groups import OnSeedFailure
from tune_seeds.race.kept_checkpoints import KeepCheckpoints
from tune_seeds.race.race import Confirm, Race
from tune_seeds.statistics.aggregate import get_aggregate
from tune_seeds.store.errors import IntegrityError
from tune_seeds.store.lease import Lease
from tune_seeds.store.live_study import Study
from tune_seeds.store.rebuild.replay import misfit
from tune_seeds.views.labels import warm_start_text


def drive(launch: Launch, slots: LiveSlots, lease: Lease) -> Ending:
    """Bring a study to where its journal ends, and let Ray carry it on until it is done or left.

    Args:
        launch: what the study is; its header lies in its directory.
        slots: how many runs may train at a time.
        lease: says that this process drives the study.

    Raises:
        Exception: what ends the study; see ``run``. Its journal then says by what it was left.
    """
    header = launch.header
    tune_config = launch.arguments.tune_config
    race = Race(
        Ledger(header.seeds, header.measure),
        header.make_policy(launch.policy),
        get_aggregate(launch.arguments.aggregate),
        OnSeedFailure(header.on_seed_failure),
        Confirm(header.confirm_seeds, header.confirm_top) if header.confirm_seeds else None,
    )
    study = Study(launch.directory, race, slots, lease.check)
    if launch.growth is not None:
        if (why := misfit(race, launch.growth)) is not None:
            raise IntegrityError(f"the study can't grow {why}; it was changed meanwhile")
        race.grow(launch.growth)
    header = header.grown(race.growths)
    searcher, constants, num_samples = make_searcher(
        tune_config,
        launch.arguments.param_space,
        header.metric,
        header.mode,
        cast(int, header.search_seed),
        launch.arguments.points,
        launch.arguments.earlier,
    )
    configs = Configs.of(launch.arguments.param_space, launch.trainable)
    possible = n_possible(launch.arguments.param_space)
    search = SeedSearch(
        study, searcher, constants, num_samples, configs.config, n_possible=possible
    )
    print(
        f"{num_samples} configs on the seeds {', '.join(map(str, header.seeds))}; rungs "
        f"({header.unit} x seeds): {' '.join(map(str, header.rungs))}; {launch.directory.path}",
        flush=True,
    )
    if header.warm_start is not None:
        print(warm_start_text(header.warm_start), flush=True)
    left, start, received = "an error", time.monotonic(), Received()
    try:
        with quiet_ray(launch.verbosity), frozen_objects(), ending_signals() as received:
            run_in_tune(launch, study, header, search, num_samples)
        left = why_left(launch.arguments, race, time.monotonic() - start, received)
        common = study.fatal or (study.common_failure(over=True) if race.done else None)
        if common is not None:
            raise common
        if study.missed_rung is not None and not any(g.scores for g in race.groups.values()):
            # Not one run's fault: no run reports at the rungs.
            raise study.missed_rung
    except (KeyboardInterrupt, SystemExit):
        # Ray takes the first Ctrl-C in order, and leaves the second to Python.
        left = "Ctrl-C, twice" if received.number is None else received.number.name
        raise
    except Exception as error:
        left = why_failed(launch.arguments, race, study.fatal or error)
        lease.confirm()  # what fails where the directory is gone says something else
        if isinstance(error, TuneError) and study.fatal is not None:
            raise study.fatal from None
        raise
    finally:
        record_end(study, search, KeepCheckpoints(launch.header.keep_checkpoints), left)
    return Ending(race.done, received.number)
