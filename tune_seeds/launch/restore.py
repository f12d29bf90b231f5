"""Launch an experiment that was killed, interrupted, or is asked for more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import pyarrow.fs
from ray.tune import ResumeConfig

from tune_seeds.core import checks
from tune_seeds.engine import ray_options
from tune_seeds.engine.arguments import Arguments
from tune_seeds.engine.code_fingerprint import fingerprint
from tune_seeds.engine.growth import Wish, growth, halving_of, with_growths
from tune_seeds.engine.schedule.halving import as_halving
from tune_seeds.launch.launch import Launch
from tune_seeds.store.directory import ExperimentDir, full_location, split
from tune_seeds.store.own_policy import load_policy
from tune_seeds.store.rebuild.race import new_race, rebuild
from tune_seeds.store.study_spec import Header
from tune_seeds.training.lightning_trainer import (
    LightningTrainer,
)
from tune_seeds.training.trainable import SeededTrainable


def restored(
    path: str,
    trainable: LightningTrainer | SeededTrainable | Callable[..., Any],
    *,
    resume_errored: bool = False,
    restart_errored: bool = False,
    wish: Wish | None = None,
    take_over: bool = False,
    storage_filesystem: pyarrow.fs.FileSystem | None = None,
) -> Launch:
    """An experiment that was killed or interrupted, ready to go on; see ``SeedTuner.restore``.

    Without a wish, the trainable is taken as the one that the study pickled.
    """
    checks.path("path", path)
    checks.flag("take_over", take_over)
    checks.flag("resume_errored", resume_errored)
    if checks.flag("restart_errored", restart_errored) and resume_errored:
        raise ValueError("give resume_errored or restart_errored, not both")
    directory = ExperimentDir.at(path, storage_filesystem)
    begun = Header.read(directory)
    race = new_race(begun)
    rebuild(race, directory)
    header = begun.grown(race.growths)
    arguments = with_growths(Arguments.read(directory), race.growths)
    run_config = arguments.run_config
    # The directory may have been moved since.
    location = path if storage_filesystem is not None else full_location(path)
    run_config.storage_path, run_config.name = split(location)
    run_config.storage_filesystem = storage_filesystem
    policy = load_policy(directory, header.policy) if header.has_own_policy else None
    if policy is not None:
        halving = as_halving(policy, arguments.tune_config.scheduler)
    else:
        halving = halving_of(arguments, race.growths)
    if halving is not None and wish is not None and wish.max_t is not None:
        halving = dataclasses.replace(halving, max_t=wish.max_t)
    seeded = ray_options.seeded(trainable, halving)
    grown = None
    if wish is not None:
        fresh = race.ledger.fresh_seeds
        grown = growth(wish, header, fresh, arguments, seeded, fingerprint(seeded))
    arguments = with_growths(arguments, [] if grown is None else [grown])
    types = ResumeConfig.ResumeType
    errored = types.RESUME if resume_errored else types.SKIP
    errored = types.RESTART if restart_errored else errored
    resume = cast(Any, ResumeConfig)(unfinished=types.RESUME, errored=errored)
    before = tuple(race.growths)
    return Launch(begun, arguments, seeded, directory, policy, resume, grown, before, take_over)
