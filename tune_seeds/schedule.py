"""Ray's side of the schedule: carries out the race's decisions on trials."""

from __future__ import annotations

import json
import logging
from pathlib import PurePosixPath
from typing import Any

from ray.train._internal.session import (
    _TrainingResult,  # pyright: ignore[reportPrivateUsage]
)
from ray.train.constants import CHECKPOINT_DIR_NAME
from ray.tune import Checkpoint
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from tune_seeds.environment import PROCESS_VARIABLES
from tune_seeds.ledger import Outcome, RunKey
from tune_seeds.race import Decision
from tune_seeds.reporting import ENVIRONMENT
from tune_seeds.run_info import RunInfo, tell_run
from tune_seeds.study import Study
from tune_seeds.trainable import SeededTrainable

logger = logging.getLogger(__name__)

# Kept beside a run's own metrics: Ray needs them to go on from a checkpoint.
_RAY_METRICS = ("training_iteration", "time_total_s")


class MetricNotFoundError(ValueError):
    """The metric to tune is not among what a run reports; it is misspelt or never logged."""


class SeedScheduler(TrialScheduler):
    """Pauses, resumes and stops trials as the race says.

    Args:
        study: the shared state.
        trainable: tells by which report key progress is counted, and when the metric is due.
    """

    _supports_buffered_results = False

    def __init__(self, study: Study, trainable: SeededTrainable) -> None:
        super().__init__()
        self._study = study
        self._trainable = trainable
        self._trials: dict[RunKey, Trial] = {}
        self._stopping: set[RunKey] = set()
        self._pausing: set[RunKey] = set()
        self._n_swept = 0
        self._warned: set[str] = set()

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """Know the trial of a run; put a restored one back where it was."""
        race = self._study.race
        key = self._key(trial)
        if self._trials.get(key) is trial:
            return  # Ray adds a trial again when it retries it; the run keeps its slot
        fresh = race.ledger[key].trial_id != trial.trial_id
        self._trials[key] = trial
        self._study.trials[key] = trial.trial_id
        self._study.keys[trial.trial_id] = key
        fresh_seed = key.seed in race.ledger.fresh_seeds
        experiment = PurePosixPath(self._study.path).name
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
        self._study.errors[self._key(trial)] = _reason(trial)

    def on_trial_result(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Record one report and do what the race says."""
        try:
            return self._take(trial, result)
        except Exception as error:
            # Ray turns this into a TuneError with a traceback; the tuner raises the cause itself.
            self._study.fatal = error
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
        race = self._study.race
        self._note_started()
        self._stop_siblings_of_failed(tune_controller)
        race.promote_next()
        if race.done:
            for trial in tune_controller.get_trials():
                if trial.status == Trial.PAUSED:
                    tune_controller.stop_trial(trial)
            return None
        if not self._study.may_start():
            return None
        for key in race.queue:
            trial = self._trials.get(key)
            if trial is not None and trial.status in (Trial.PENDING, Trial.PAUSED):
                self._pausing.discard(key)
                return trial
        return None

    def debug_string(self) -> str:
        """One line for Ray's own status table."""
        race = self._study.race
        return f"SeedScheduler: {len(race.groups)} groups, {len(race.busy)} runs running"

    def _take(self, trial: Trial, result: dict[str, Any]) -> str:
        study, race = self._study, self._study.race
        key = self._key(trial)
        if key in race.queue:
            race.start(key)
        time_attr, metric = self._trainable.time_attr, race.ledger.metric
        if time_attr not in result:
            raise MetricNotFoundError(
                f"the run reports no {time_attr!r}, by which the scheduler counts "
                f"(time_attr); it reports {_names(result)}"
            )
        epoch = int(result[time_attr])
        if metric not in result and epoch % self._trainable.metric_period == 0:
            raise MetricNotFoundError(
                f"the metric {metric!r} was not reported at epoch {epoch}; the run reports "
                f"{_names(result)}: name one of these in TuneConfig(metric=...), or log {metric!r}"
            )
        metrics = {
            name: float(value)
            for name, value in result.items()
            if (name in _RAY_METRICS or name not in _AUTOFILLED)
            and isinstance(value, (int, float))
            and not name.startswith("config/")
        }
        if ENVIRONMENT in result:
            self._note_environment(key, json.loads(result[ENVIRONMENT]))
        self._check_repeated(key, epoch, metrics)
        directory = result.get(CHECKPOINT_DIR_NAME)
        checkpoint = f"{trial.relative_logdir}/{directory}" if directory else None
        decision = race.report(key, epoch, metrics, checkpoint)
        if decision is Decision.STOP:
            self._stopping.add(key)
            return TrialScheduler.STOP
        if decision is Decision.PAUSE:
            if checkpoint is None:
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

    def _note_environment(self, key: RunKey, record: dict[str, Any]) -> None:
        race = self._study.race
        if race.ledger[key].environment is None:
            race.note_environment(key, record)
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
            if name not in _RAY_METRICS and then != value and not (then != then and value != value):
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
        key = self._study.keys.get(trial.trial_id)
        if key is None:
            config = {k: v for k, v in trial.config.items() if k != "seed"}
            group = self._study.find_group(config)
            if group is None:
                raise RuntimeError(f"trial {trial.trial_id} belongs to no group of the journal")
            key = RunKey(group, trial.config["seed"])
        return key

    def _note_started(self) -> None:
        race = self._study.race
        for key in race.queue:
            trial = self._trials.get(key)
            if key in self._pausing:
                continue
            if trial is not None and trial.status == Trial.RUNNING:
                race.start(key)
            elif trial is not None and trial.status == Trial.ERROR:
                # Ray tells no scheduler of a trial that fails because a process can't be reused.
                race.fail(key, _reason(trial))

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
        latest = trial.latest_checkpoint_result
        seen = 0 if latest is None else latest.metrics.get(self._trainable.time_attr, 0)
        if newest <= seen:
            return
        path = PurePosixPath(self._study.path) / run.checkpoints[newest]
        metrics: dict[str, Any] = dict(run.reports[newest])
        metrics["training_iteration"] = int(metrics["training_iteration"])
        metrics[CHECKPOINT_DIR_NAME] = path.name
        checkpoint = Checkpoint(str(path), filesystem=self._study.fs)
        trial.on_checkpoint(_TrainingResult(checkpoint=checkpoint, metrics=metrics))


_AUTOFILLED = frozenset(
    {
        "timestamp",
        "done",
        "pid",
        "time_this_iter_s",
        "time_since_restore",
        "iterations_since_restore",
        "timesteps_total",
        "timesteps_since_restore",
        "episodes_total",
        "warmup_time",
        "should_checkpoint",
        "experiment_tag",
    }
)


def _names(result: dict[str, Any]) -> str:
    own = sorted(
        name
        for name, value in result.items()
        if name not in _AUTOFILLED
        and name not in _RAY_METRICS
        and not name.startswith("config/")
        and isinstance(value, (int, float))
    )
    return ", ".join(repr(name) for name in own) or "no metric at all"


def _reason(trial: Trial) -> str:
    """The last line of a trial's error, which names the exception."""
    file = trial.error_file
    if file is None:
        return "the run failed without an error file"
    try:
        with open(file) as stream:
            lines = [line.strip() for line in stream if line.strip()]
    except OSError as error:
        return f"the run failed, and its error file can't be read ({error})"
    return lines[-1] if lines else "the run failed with an empty error file"
