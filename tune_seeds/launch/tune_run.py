"""A study as a call of ``tune.run``: its search, its schedule, its views."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

from ray import tune

from tune_seeds._compat.ray_loggers import result_loggers
from tune_seeds._compat.ray_tune import has_snapshot
from tune_seeds.engine.growth import seconds
from tune_seeds.engine.schedule.scheduler import SeedScheduler
from tune_seeds.engine.search import SeedSearch, SeedSearchGenerator
from tune_seeds.launch.launch import Launch
from tune_seeds.race.kept_checkpoints import KeepCheckpoints
from tune_seeds.store.live_study import Study
from tune_seeds.store.study_spec import Header
from tune_seeds.training.lightning_trainer import (
    logger_factories,
)
from tune_seeds.training.own_code import OwnCode, WithCode
from tune_seeds.training.shipping import shipped
from tune_seeds.training.trainable import Plan
from tune_seeds.views.tensorboard.callback import SeedTBXLoggerCallback
from tune_seeds.views.terminal import Progress
from tune_seeds.views.trackers.callback import filed
from tune_seeds.views.trackers.lightning_loggers import ConfigLog


def run_in_tune(
    launch: Launch, study: Study, header: Header, search: SeedSearch, num_samples: int
) -> None:
    """Let Ray Tune train the runs of a study, until nothing is left to train or Ray ends it.

    Args:
        launch: what the study is, and what its user gave.
        study: the shared state.
        header: what holds now, after what was asked for later.
        search: hands out the runs.
        num_samples: configs to be suggested.
    """
    tune_config = launch.arguments.tune_config
    run_config: Any = launch.arguments.run_config  # Ray leaves its defaults unannotated
    epochs = frozenset(rung.epochs for rung in header.rungs)
    plan = Plan(epochs, header.rungs[-1].epochs)
    train = WithCode(launch.trainable.train, OwnCode.of_this_process())
    carried = dataclasses.replace(launch.trainable, train=train)
    function: Any = shipped(carried, plan)
    if launch.trainable.resources is not None:
        function = tune.with_resources(function, cast(Any, launch.trainable.resources))
    resume = launch.resume
    if resume is not None and not has_snapshot(launch.directory.fs, launch.directory.path):
        resume = None  # killed before Ray's first snapshot: every trial is made anew
    # tune.run is what tune.Tuner calls; the Tuner itself would pickle its own copies of the
    # searcher and the scheduler, and restore those instead of what the journal knows.
    tune.run(
        function,
        name=run_config.name,
        config={},
        num_samples=-1,  # the search ends itself
        search_alg=SeedSearchGenerator(search),
        # It keeps the time budget too: Ray's comes back, used up, with a restored study.
        scheduler=SeedScheduler(
            study,
            launch.trainable,
            seconds(tune_config.time_budget_s),
            KeepCheckpoints(header.keep_checkpoints),
            launch.arguments.epoch_timeout_s,
        ),
        storage_path=run_config.storage_path,
        storage_filesystem=run_config.storage_filesystem,
        trial_name_creator=tune_config.trial_name_creator,
        trial_dirname_creator=tune_config.trial_dirname_creator,
        reuse_actors=launch.arguments.reuse_actors,
        resume_config=resume,
        max_failures=run_config.failure_config.max_failures,
        fail_fast=run_config.failure_config.fail_fast,
        checkpoint_config=run_config.checkpoint_config,
        sync_config=run_config.sync_config,
        log_to_file=run_config.log_to_file,
        # In a notebook Ray's own would wipe what the cell has shown, at verbose=0 too.
        progress_reporter=run_config.progress_reporter
        or (tune.CLIReporter() if launch.verbosity == 0 else None),
        verbose=launch.verbosity,
        raise_on_failed_trial=False,
        callbacks=[
            *(filed(c, study, run_config.name) for c in run_config.callbacks or []),
            *result_loggers(run_config.callbacks),
            ConfigLog(logger_factories(launch.trainable), study, run_config.name),
            SeedTBXLoggerCallback(
                study,
                launch.arguments.param_space,
                tune_config.search_alg,
                header.time_attr,
                header.metric_range,
            ),
            Progress(
                study,
                num_samples,
                reduction_factor=header.reduction_factor,
                n_finalists=header.n_finalists,
                n_confirm=len(header.confirm_seeds) * header.confirm_top,
                budget_s=seconds(tune_config.time_budget_s),
                metric_range=header.metric_range,
            ),
        ],
    )
