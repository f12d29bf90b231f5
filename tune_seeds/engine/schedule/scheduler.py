"""Ray's side of the schedule: carries out the race's decisions on trials."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from ray.train.constants import CHECKPOINT_DIR_NAME
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from tune_seeds._compat.tune_controller import Controller
from tune_seeds.core.ledger import Outcome, RunKey
from tune_seeds.core.reported import OddReportError
from tune_seeds.engine.schedule.failures import note_failure
from tune_seeds.engine.schedule.gpu_kinds import GpuKinds
from tune_seeds.engine.schedule.lost_processes import LostProcesses
from tune_seeds.engine.schedule.restored_trials import RestoredTrials
from tune_seeds.engine.schedule.run_environments import RunEnvironments
from tune_seeds.engine.schedule.run_report import first_difference, read_report
from tune_seeds.engine.schedule.silent_runs import SilentRuns
from tune_seeds.race.kept_checkpoints import KeepCheckpoints, superseded
from tune_seeds.race.race import Decision, RungMissedError
from tune_seeds.store.live_study import Study
from tune_seeds.training.reporting import CHECKPOINT_BYTES, ENVIRONMENT
from tune_seeds.training.run_info import RunInfo, tell_run
from tune_seeds.training.trainable import SeededTrainable

logger = logging.getLogger(__name__)


class SeedScheduler(TrialScheduler):
    """Pauses, resumes and stops trials as the race says.

    Args:
        study: the shared state.
        trainable: tells by which report key progress is counted, and when the metric is due.
        budget_s: seconds after which the study is left, counted from its first trial; or None.
        keep: whose checkpoints stay; all but the newest of each run go at once, unless all do.
        epoch_timeout_s: how long a run may take from one report to the next; None: any time.
        controlling: what takes over the controller of Ray's that the scheduler is handed.
    """

    _supports_buffered_results = False

    def __init__(
        self,
        study: Study,
        trainable: SeededTrainable,
        budget_s: float | None = None,
        keep: KeepCheckpoints = KeepCheckpoints.ALL,
        epoch_timeout_s: float | None = None,
        controlling: Callable[..., Controller] = Controller,
    ) -> None:
        super().__init__()
        self._study = study
        self._trainable = trainable
        self._trials: dict[RunKey, Trial] = {}
        self._stopping: set[RunKey] = set()
        self._pausing: set[RunKey] = set()
        self._lost_processes = LostProcesses()
        self._silent = SilentRuns(epoch_timeout_s)
        self._environments = RunEnvironments(study.race)
        self._restored = RestoredTrials(study, trainable.time_attr)
        self._kinds = GpuKinds(trainable.resources)
        self._n_swept = 0
        self._budget_s = budget_s
        self._keep = keep
        self._began: float | None = None
        self._controlling = controlling
        self._controller: Controller | None = None

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """Know the trial of a run; put a restored one back where it was."""
        self._take_over(tune_controller)
        race = self._study.race
        key = self._find_key(trial)
        if key is not None and self._trials.get(key) is trial:
            return  # Ray adds a trial again when it retries it; the run keeps its slot
        if key is None or not self._restored.is_of_run(key, trial, taken=key in self._trials):
            if not trial.is_finished():
                trial.set_status(Trial.TERMINATED)
            return
        fresh = race.ledger[key].trial_id != trial.trial_id
        self._trials[key] = trial
        self._study.trials[key] = trial.trial_id
        self._study.keys[trial.trial_id] = key
        fresh_seed = key.seed in race.ledger.fresh_seeds
        experiment = self._study.directory.name
        tell_run(RunInfo(experiment, key.group, key.seed, trial.trial_id, fresh_seed))
        retried = trial.status == Trial.PENDING and race.ledger[key].outcome is Outcome.FAILED
        if retried:
            race.retry(key)
        if not fresh:
            self._restored.restore(key, trial)
            return
        trial.init_local_path()  # names its directory; Ray does so again later, to no effect
        race.assign(key, trial.trial_id, trial.relative_logdir)
        if not retried:
            # After a kill, a run may have a past that Ray's snapshot did not see.
            self._restored.adopt_checkpoint(key, trial)

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        """Remember why a run failed; whether it is retried, Ray decides."""
        key = self._key(trial)
        self._silent.note_sign_of_life(key)
        if self._lost_processes.is_settled(trial):
            return
        error = self._silent.take_error(key)
        if error is None:
            retried = trial.should_recover()
            error = note_failure(self._study.failures, key, trial, retried=retried)
        self._study.errors[key] = error

    def on_trial_result(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Record one report and do what the race says."""
        try:
            return self._take(trial, result)
        except Exception as error:
            # Ray turns this into a TuneError with a traceback; the tuner raises the cause itself.
            self._study.note_fatal(error)
            raise

    def on_trial_complete(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> None:
        """A running trial ended: by itself, or because its group can't win."""
        key = self._key(trial)
        if key in self._stopping:
            self._study.race.stop(key)
        else:
            self._study.race.complete(key)

    def on_trial_remove(self, tune_controller: TuneController, trial: Trial) -> None:
        """A paused trial was ended."""
        self._study.race.stop(self._key(trial))

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        """The most urgent run that has a trial; called at every step of Ray's loop."""
        controller, race = self._take_over(tune_controller), self._study.race
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        if self._budget_s is not None and now - self._began >= self._budget_s:
            controller.leave()
            return None
        n_slots = self._study.count_slots()
        if n_slots is not None:
            controller.allow(n_slots)
        self._note_started()
        self._silent.end_overdue(self._study.race.busy, self._trials, controller, now)
        if self._study.is_suspect:
            failure = self._study.common_failure(over=False)
            if failure is not None:
                self._study.note_fatal(failure)
                controller.leave()
            return None
        self._stop_siblings_of_failed(tune_controller)
        race.promote_next()
        if race.done:
            for trial in tune_controller.get_trials():
                if trial.status == Trial.PAUSED:
                    tune_controller.stop_trial(trial)
            return None
        is_full = n_slots is not None and controller.n_taken >= n_slots
        for key in race.queue:
            trial = self._trials.get(key)
            if trial is None or trial.status not in (Trial.PENDING, Trial.PAUSED):
                continue
            if controller.is_starting(trial) or (is_full and not controller.has_asked(trial)):
                continue
            if not controller.has_asked(trial):
                self._choose_gpu(key, trial)
            self._pausing.discard(key)
            return trial
        return None

    def debug_string(self) -> str:
        """One line for Ray's own status table."""
        race = self._study.race
        return f"SeedScheduler: {len(race.groups)} groups, {len(race.busy)} runs running"

    def _take_over(self, tune_controller: TuneController) -> Controller:
        if self._controller is None:
            self._controller = self._controlling(tune_controller, self._goes_on)
            self._controller.allow(self._study.count_slots() or 1)
        return self._controller

    def _goes_on(self, trial: Trial, error: Exception) -> bool:
        """Whether a run whose process is gone is tried again."""
        key = self._key(trial)
        return key not in self._silent and self._lost_processes.is_tried_again(key, trial, error)

    def _take(self, trial: Trial, result: dict[str, Any]) -> str:
        study, race = self._study, self._study.race
        key = self._key(trial)
        self._silent.note_sign_of_life(key)
        if key in race.queue:
            race.start(key)
        time_attr = self._trainable.time_attr
        try:
            epoch, metrics = read_report(
                result, time_attr, race.ledger.metric.name, self._trainable.metric_period
            )
        except OddReportError as error:
            if not any(run.reports for run in race.ledger.values()):
                raise  # the first report of the study: the others will be no better
            return self._end_odd_run(key, error)
        if ENVIRONMENT in result:
            self._environments.note(key, json.loads(result[ENVIRONMENT]))
        if epoch not in race.ledger[key].reports:
            self._lost_processes.note_progress(key)
        self._check_repeated(key, epoch, metrics)
        directory = result.get(CHECKPOINT_DIR_NAME)
        checkpoint = f"{trial.relative_logdir}/{directory}" if directory else None
        try:
            before = race.ledger[key].checkpoints.get(epoch)
            decision = race.report(key, epoch, metrics, checkpoint, result.get(CHECKPOINT_BYTES))
        except RungMissedError as error:
            if sum(len(run.reports) for run in race.ledger.values()) == 1:
                raise
            study.note_missed_rung(error)
            return self._end_odd_run(key, error)
        if self._keep is not KeepCheckpoints.ALL:
            for old in superseded(race, key):
                study.drop_checkpoint(key, old)
            if before is not None and checkpoint not in (None, before):
                study.deletions.add(before)
        if decision is Decision.STOP:
            self._stopping.add(key)
            return TrialScheduler.STOP
        if decision is Decision.PAUSE:
            if checkpoint is None and self._trainable.pauses:
                logger.warning(
                    "group %s, seed %s reported no checkpoint at %s %s, where it is paused; it "
                    "will start from scratch when it goes on (report one where "
                    "tune_seeds.should_checkpoint(%s) is true)",
                    key.group,
                    key.seed,
                    time_attr,
                    epoch,
                    time_attr,
                )
            # Ray carries a pause out later, when the checkpoint is saved. Until then the trial's
            # status is RUNNING, though its run may have been promoted and wait for a slot already.
            self._pausing.add(key)
            return TrialScheduler.PAUSE
        if decision is Decision.FINISH and not self._trainable.ends_itself:
            return TrialScheduler.STOP
        study.errors.pop(key, None)
        return TrialScheduler.CONTINUE

    def _end_odd_run(self, key: RunKey, error: Exception) -> str:
        """End one run over a report that can't be used, as one that diverged is ended."""
        logger.warning("group %s, seed %s: %s", key.group, key.seed, error)
        self._study.race.fail(key, str(error))
        self._stopping.add(key)
        return TrialScheduler.STOP

    def _choose_gpu(self, key: RunKey, trial: Trial) -> None:
        """Let a run take the kind of GPU that its group has, where there are several."""
        known = self._environments.gpu_of_group(key.group)
        resources = self._kinds.resources(key.group, known)
        if resources is not None and trial.placement_group_factory != resources:
            trial.update_resources(resources)

    def _check_repeated(self, key: RunKey, epoch: int, metrics: dict[str, float]) -> None:
        """A run that goes on from an older checkpoint repeats epochs; equal, or it isn't exact."""
        first = self._study.race.ledger[key].reports.get(epoch, {})
        if (found := first_difference(first, metrics)) is None:
            return
        name, then, now = found
        logger.warning(
            "group %s, seed %s: epoch %s was repeated after a failure and came out "
            "differently (%s was %r, is %r); the first is kept. The run is not "
            "reproducible: `tune-seeds audit` finds where",
            key.group,
            key.seed,
            epoch,
            name,
            then,
            now,
        )

    def _key(self, trial: Trial) -> RunKey:
        key = self._find_key(trial)
        if key is None:
            raise RuntimeError(f"trial {trial.trial_id} belongs to no run of the journal")
        return key

    def _find_key(self, trial: Trial) -> RunKey | None:
        """The run of a trial; None for one of Ray's snapshot that the journal does not know.

        An object store gets the journal and the snapshot at different times.
        """
        key = self._study.keys.get(trial.trial_id)
        if key is None:
            config = {k: v for k, v in trial.config.items() if k != "seed"}
            group = self._study.find_group(config)
            key = None if group is None else RunKey(group, trial.config["seed"])
        return key if key in self._study.race.ledger else None

    def _note_started(self) -> None:
        race = self._study.race
        for key in race.queue:
            trial = self._trials.get(key)
            if key in self._pausing:
                continue
            if trial is not None and trial.status == Trial.RUNNING:
                race.start(key)
            elif trial is not None and trial.status == Trial.TERMINATED:
                # A run that goes on after its trial has ended, as the sibling of a retried seed
                # does, gets a new one; ``suggest`` makes it.
                del self._trials[key]
                self._study.trials.pop(key, None)
            elif trial is not None and trial.status == Trial.ERROR:
                # Ray tells no scheduler of a trial that fails because a process can't be reused.
                race.fail(key, note_failure(self._study.failures, key, trial, retried=False))

    def _stop_siblings_of_failed(self, tune_controller: TuneController) -> None:
        race = self._study.race
        for group in race.failed[self._n_swept :]:
            for seed in race.ledger.seeds:
                trial = self._trials.get(RunKey(group, seed))
                if trial is not None and trial.status == Trial.PAUSED:
                    tune_controller.stop_trial(trial)
        self._n_swept = len(race.failed)
