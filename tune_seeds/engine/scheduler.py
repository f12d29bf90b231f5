"""Ray's side of the schedule: carries out the race's decisions on trials."""

from __future__ import annotations

import json
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from ray.train.constants import CHECKPOINT_DIR_NAME
from ray.tune import Checkpoint
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from tune_seeds._compat.ray_tune import number_checkpoints_after, resume_from
from tune_seeds._compat.tune_controller import Controller, ended_itself
from tune_seeds.core.ledger import Outcome, RunKey
from tune_seeds.core.process_variables import PROCESS_VARIABLES
from tune_seeds.core.reported import OddReportError
from tune_seeds.core.root_cause import root_cause
from tune_seeds.engine.gpu_kinds import GpuKinds
from tune_seeds.engine.run_report import RAY_METRICS, read_report
from tune_seeds.race.kept_checkpoints import KeepCheckpoints, superseded
from tune_seeds.race.race import Decision, RungMissedError
from tune_seeds.store.live_study import Study
from tune_seeds.training.reporting import CHECKPOINT_BYTES, ENVIRONMENT, RESTARTS
from tune_seeds.training.run_info import RunInfo, tell_run
from tune_seeds.training.trainable import SeededTrainable

logger = logging.getLogger(__name__)

#: How often a run is tried again whose process or node is gone, unless the study says otherwise.
MAX_LOST_PROCESSES = 10

#: How often in a row, with no report between, where its process ended by itself: the run does it.
MAX_IN_A_ROW = 3

# What a run that goes on somewhere else finds different there.
_PLACE = ("device", "accelerator_type", "cpu_capability", "packages")


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
        self._n_lost_processes = Counter[RunKey]()
        self._n_in_a_row = Counter[RunKey]()
        self._without_process: Trial | None = None
        self._kinds = GpuKinds(trainable.resources)
        self._n_swept = 0
        self._budget_s = budget_s
        self._keep = keep
        self._began: float | None = None
        self._controlling = controlling
        self._epoch_timeout_s = epoch_timeout_s
        self._heard: dict[RunKey, float] = {}
        self._silent: set[RunKey] = set()
        self._controller: Controller | None = None
        self._warned: set[str] = set()

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """Know the trial of a run; put a restored one back where it was."""
        self._take_over(tune_controller)
        race = self._study.race
        key = self._find_key(trial)
        if key is not None and self._trials.get(key) is trial:
            return  # Ray adds a trial again when it retries it; the run keeps its slot
        if key is None or not self._counts(key, trial):
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
            self._restore(key, trial)
            return
        trial.init_local_path()  # names its directory; Ray does so again later, to no effect
        race.assign(key, trial.trial_id, trial.relative_logdir)
        if not retried:
            # After a kill, a run may have a past that Ray's snapshot did not see.
            self._adopt_checkpoint(key, trial)

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        """Remember why a run failed; whether it is retried, Ray decides."""
        key = self._key(trial)
        self._heard.pop(key, None)
        if trial is self._without_process:
            self._without_process = None  # its code did not fail
        elif key in self._silent:
            self._silent.discard(key)
            self._study.errors[key] = (
                f"TimeoutError: no report within epoch_timeout_s={self._epoch_timeout_s:g}"
            )
        else:
            self._study.errors[key] = self._note_failure(trial, trial.should_recover())

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
        self._end_silent(controller, now)
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
        """Whether a run whose process is gone is tried again; a run may kill each that it gets."""
        key = self._key(trial)
        if key in self._silent or self._n_lost_processes[key] >= MAX_LOST_PROCESSES:
            return False
        if ended_itself(error):
            self._n_in_a_row[key] += 1
            if self._n_in_a_row[key] >= MAX_IN_A_ROW:
                return False
        self._n_lost_processes[key] += 1
        self._without_process = trial  # Ray reports it as failed before it tries it again
        logger.warning(
            "group %s, seed %s lost its process and is tried again from its last checkpoint, for "
            "the %d. time of %d: %s",
            key.group,
            key.seed,
            self._n_lost_processes[key],
            MAX_LOST_PROCESSES,
            (str(error).strip().splitlines() or [type(error).__name__])[-1],
        )
        return True

    def _note_failure(self, trial: Trial, retried: bool) -> str:
        """Count a failure among those that may be common to all runs.

        Returns:
            Why the run failed, on one line.
        """
        key, cause = self._key(trial), root_cause(_error_text(trial))
        own = {str(key.seed): "<seed>", trial.trial_id: "<trial>", str(trial.local_path): "<run>"}
        self._study.failures.note(key, cause, own, retried=retried)
        return cause.line

    def _take(self, trial: Trial, result: dict[str, Any]) -> str:
        study, race = self._study, self._study.race
        key = self._key(trial)
        self._heard.pop(key, None)
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
            self._note_environment(key, json.loads(result[ENVIRONMENT]))
        if epoch not in race.ledger[key].reports:
            self._n_in_a_row.pop(key, None)
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
        environments = [
            run.environment or {}
            for other, run in self._study.race.ledger.items()
            if other.group == key.group
        ]
        known = next((kind for e in environments if (kind := e.get("accelerator_type"))), None)
        resources = self._kinds.resources(key.group, known)
        if resources is not None and trial.placement_group_factory != resources:
            trial.update_resources(resources)

    def _note_environment(self, key: RunKey, record: dict[str, Any]) -> None:
        race = self._study.race
        first = race.ledger[key].environment
        if first is None or RESTARTS in record:
            race.note_environment(key, record)
        elif moved := _moved(first, record):
            went_on = {**first.get("went_on_with", {}), **moved}
            race.note_environment(key, {**first, "went_on_with": went_on})
            logger.warning(
                "group %s, seed %s goes on with another %s than it began with: its bits are not "
                "those of an uninterrupted run",
                key.group,
                key.seed,
                " and ".join(f"{name.replace('_', ' ')} ({moved[name]})" for name in moved),
            )
        for name in record.get("missing_variables", ()):
            if name not in self._warned:
                self._warned.add(name)
                logger.warning(
                    "Ray's worker processes were started without a fixed %s, which a process reads "
                    "when it starts: runs may differ between processes; set %s=%s in the "
                    "environment of `ray start` (or before ray.init)",
                    name,
                    name,
                    PROCESS_VARIABLES[name],
                )

    def _check_repeated(self, key: RunKey, epoch: int, metrics: dict[str, float]) -> None:
        """A run that goes on from an older checkpoint repeats epochs; equal, or it isn't exact."""
        first = self._study.race.ledger[key].reports.get(epoch)
        if first is None:
            return
        for name, value in metrics.items():
            then = first.get(name, value)
            if name not in RAY_METRICS and then != value and not (then != then and value != value):
                logger.warning(
                    "group %s, seed %s: epoch %s was repeated after a failure and came out "
                    "differently (%s was %r, is %r); the first is kept. The run is not "
                    "reproducible: `tune-seeds audit` finds where",
                    key.group,
                    key.seed,
                    epoch,
                    name,
                    then,
                    value,
                )
                return

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

    def _counts(self, key: RunKey, trial: Trial) -> bool:
        """Whether a trial is the one of its run; where none is, the run gets a new one.

        The journal decides, and Ray's snapshot may be older or, on an object store, newer.
        """
        run = self._study.race.ledger[key]
        if self._study.trials.get(key) == trial.trial_id:
            return True  # made just now
        if key in self._trials:
            return False
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

    def _epoch_in_ray(self, trial: Trial) -> int:
        """The epoch of the newest checkpoint that Ray knows of a trial, 0 without one."""
        latest = trial.latest_checkpoint_result
        return 0 if latest is None else int(latest.metrics.get(self._trainable.time_attr, 0))

    def _end_silent(self, controller: Controller, now: float) -> None:
        """End the process of each run that has not reported for too long."""
        if self._epoch_timeout_s is None:
            return
        for key in self._study.race.busy:
            trial = self._trials.get(key)
            if trial is None or trial.status != Trial.RUNNING:
                self._heard.pop(key, None)
                continue
            since = self._heard.setdefault(key, now)
            if now - since < self._epoch_timeout_s or key in self._silent:
                continue
            self._silent.add(key)
            logger.warning(
                "group %s, seed %s has not reported for %g s (epoch_timeout_s): its process is "
                "ended",
                key.group,
                key.seed,
                self._epoch_timeout_s,
            )
            controller.kill(trial)

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
                race.fail(key, self._note_failure(trial, retried=False))

    def _stop_siblings_of_failed(self, tune_controller: TuneController) -> None:
        race = self._study.race
        for group in race.failed[self._n_swept :]:
            for seed in race.ledger.seeds:
                trial = self._trials.get(RunKey(group, seed))
                if trial is not None and trial.status == Trial.PAUSED:
                    tune_controller.stop_trial(trial)
        self._n_swept = len(race.failed)

    def _restore(self, key: RunKey, trial: Trial) -> None:
        """Bring a trial of Ray's snapshot, up to ten seconds old, to what the journal knows.

        Ray makes every unfinished trial pending, and would start those that wait. It calls
        ``on_trial_add`` before it looks at the status, so a status set here holds.
        """
        race = self._study.race
        run = race.ledger[key]
        self._adopt_checkpoint(key, trial)
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

    def _adopt_checkpoint(self, key: RunKey, trial: Trial) -> None:
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


def _moved(first: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What a run finds different where it goes on, of what its bits depend on."""
    return {name: now[name] for name in _PLACE if name in now and now[name] != first.get(name)}


def _error_text(trial: Trial) -> str:
    """What Ray wrote of a trial's last failure; its file has those before it, too."""
    file = trial.error_file
    if file is None:
        return "the run failed without an error file"
    try:
        with open(file) as stream:
            text = stream.read()
    except OSError as error:
        return f"the run failed, and its error file can't be read ({error})"
    return re.split(r"^Failure # \d+ \(occurred at .*\)$", text, flags=re.MULTILINE)[-1]
