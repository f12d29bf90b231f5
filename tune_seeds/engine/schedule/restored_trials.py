"""Trials of Ray's snapshot, brought to what the journal knows of their runs."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from ray.train.constants import CHECKPOINT_DIR_NAME
from ray.tune import Checkpoint
from ray.tune.experiment import Trial

from tune_seeds._compat.ray_tune import number_checkpoints_after, resume_from
from tune_seeds.core.ledger import Outcome, RunKey
from tune_seeds.store.live_study import Study


class RestoredTrials:
    """Settles which of Ray's trials go on after a restore, and from which checkpoint.

    The journal decides. Ray's snapshot may be older or, on an object store, newer.

    Args:
        study: the shared state.
        time_attr: the report key by which progress is counted.
    """

    def __init__(self, study: Study, time_attr: str) -> None:
        self._study = study
        self._time_attr = time_attr

    def is_of_run(self, key: RunKey, trial: Trial, *, taken: bool) -> bool:
        """Whether a trial is the one of its run; where none is, the run gets a new one.

        Args:
            key: the run.
            trial: one that was made just now, or is from the snapshot.
            taken: whether the run has another trial.
        """
        if self._study.trials.get(key) == trial.trial_id:
            return True  # made just now
        if taken:
            return False
        run = self._study.race.ledger[key]
        if run.outcome is Outcome.FAILED:
            return trial.status == Trial.PENDING or run.trial_id == trial.trial_id
        if run.trial_id not in (None, trial.trial_id):
            return False
        if run.outcome is not None:
            return True
        known = self._epoch_in_ray(trial)
        # An older one than the newest may be deleted; the trial then gets the newest.
        has_it = known in run.reports and known <= max(run.checkpoints, default=0)
        return trial.status != Trial.ERROR and (known == 0 or has_it)

    def restore(self, key: RunKey, trial: Trial) -> None:
        """Bring a trial of Ray's snapshot, up to ten seconds old, to what the journal knows.

        Ray makes every unfinished trial pending, and would start those that wait. It calls
        ``on_trial_add`` before it looks at the status, so a status set here holds.
        """
        race = self._study.race
        run = race.ledger[key]
        self.adopt_checkpoint(key, trial)
        paths = [PurePosixPath(path) for path in run.checkpoints.values()]
        own = [path.name for path in paths if path.parent.name == trial.relative_logdir]
        number_checkpoints_after(trial, own)
        if trial.status == Trial.TERMINATED and run.outcome is None:
            # A study that is left by its time budget ends all of its trials.
            trial.set_status(Trial.PENDING)
        if trial.status != Trial.PENDING or key in race.queue:
            return
        if run.outcome in (Outcome.COMPLETED, Outcome.STOPPED) or race.groups[key.group].lost:
            trial.set_status(Trial.TERMINATED)
        else:
            trial.set_status(Trial.PAUSED)

    def adopt_checkpoint(self, key: RunKey, trial: Trial) -> None:
        """Let a trial go on from the newest checkpoint of its run, if Ray knows an older one."""
        run = self._study.race.ledger[key]
        newest = max(run.checkpoints, default=0)
        if newest <= self._epoch_in_ray(trial):
            return
        path = self._study.directory.join(run.checkpoints[newest])
        metrics: dict[str, Any] = dict(run.reports[newest])
        metrics["training_iteration"] = int(metrics["training_iteration"])
        metrics[CHECKPOINT_DIR_NAME] = PurePosixPath(path).name
        checkpoint = Checkpoint(path, filesystem=self._study.directory.fs)
        resume_from(trial, checkpoint, metrics)

    def _epoch_in_ray(self, trial: Trial) -> int:
        """The epoch of the newest checkpoint that Ray knows of a trial, 0 without one."""
        latest = trial.latest_checkpoint_result
        return 0 if latest is None else int(latest.metrics.get(self._time_attr, 0))
