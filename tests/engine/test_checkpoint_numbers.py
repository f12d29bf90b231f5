"""No checkpoint is written into the directory of another, however old Ray's snapshot is."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
from ray.train._internal.session import _TrainingResult
from ray.tune import Checkpoint
from ray.tune.experiment import Trial
from ray_controller import Controller, Processes

from tune_seeds.core.ledger import RunKey
from tune_seeds.engine.ray_options import seeded
from tune_seeds.engine.schedule.halving import Halving
from tune_seeds.engine.schedule.scheduler import SeedScheduler
from tune_seeds.race.kept_checkpoints import KeepCheckpoints

pytestmark = pytest.mark.usefixtures("ray_session")  # Ray names a trial's folder after its session

KEY = RunKey("g0001", 47)


def write(trial: Trial, epoch: int) -> dict[str, object]:
    """What a run reports with a checkpoint, whose directory Ray counts in the run's process."""
    storage = trial.storage
    storage._update_checkpoint_index({})
    metrics = {"t": epoch, "score": 0.5, "training_iteration": epoch}
    return {**metrics, "checkpoint_dir_name": storage.checkpoint_dir_name}


def see(trial: Trial, metrics: dict[str, object]) -> None:
    """What Ray's loop does with it in the driver, and its next snapshot then knows."""
    checkpoint = Checkpoint(str(trial.storage.experiment_fs_path))
    trial.on_checkpoint(_TrainingResult(checkpoint=checkpoint, metrics=metrics))


@pytest.mark.parametrize("keep", [KeepCheckpoints.ALL, KeepCheckpoints.FINALISTS])
@pytest.mark.parametrize(
    "epochs", [(1,), (1, 2), (1, 2, 4), (1, 2, 4, 1), (1, 2, 1, 2), (1, 2, 4, 1, 2)]
)
@pytest.mark.parametrize("n_in_snapshot", range(4))
def test_the_next_checkpoint_has_its_own_directory(
    tmp_path: Path, keep: KeepCheckpoints, epochs: tuple[int, ...], n_in_snapshot: int
):
    controller = Controller(tmp_path, 1, 2, 4, 6)
    study, race = controller.study, controller.study.race
    controller.scheduler._keep = keep
    # A run that finds no checkpoint begins anew and reports epochs again, as (1, 2, 1).
    process = controller.add(race.add_group({"x": 0.5}))
    race.start(KEY)
    reports = [write(process, epoch) for epoch in epochs]
    for report in reports:
        race.report(
            KEY, int(str(report["t"])), {"score": 0.5, "training_iteration": 1},
            f"{process.relative_logdir}/{report['checkpoint_dir_name']}", 10,
        )  # fmt: skip

    halving = Halving("t", max_t=6, grace_period=1, reduction_factor=2)
    restored = SeedScheduler(study, seeded(tiny.walk, halving), keep=keep, controlling=Processes)
    trial = Trial(
        "walk", config=process.config, trial_id=KEY.group, storage=controller.storage, stub=True
    )
    trial.relative_logdir = process.relative_logdir
    for report in reports[:n_in_snapshot]:
        see(trial, report)
    restored.on_trial_add(controller, trial)

    there = {Path(path).name for path in race.ledger[KEY].checkpoints.values()}
    assert there, "nothing to write over"
    assert write(trial, 6)["checkpoint_dir_name"] not in there
