"""A study that is checked and may run: handed to Ray Tune, restored, confirmed."""

from __future__ import annotations

import dataclasses
import logging
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow.fs
from ray import tune
from ray.tune import ResumeConfig, TuneError

from tune_seeds._compat.ray_loggers import result_loggers
from tune_seeds._compat.ray_tune import has_snapshot, user_verbosity
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core import checks
from tune_seeds.core.events import Grown, Reported, TrialAssigned
from tune_seeds.core.ledger import Ledger, RunKey
from tune_seeds.core.memory import frozen_objects
from tune_seeds.core.reported import OddReportError
from tune_seeds.core.seeds import check_fresh_seeds
from tune_seeds.engine import ray_options
from tune_seeds.engine.arguments import Arguments
from tune_seeds.engine.cluster import LiveSlots, check_resources, gpus_of_a_run, start_ray
from tune_seeds.engine.code_fingerprint import fingerprint
from tune_seeds.engine.growth import Wish, growth, halving_of, seconds, with_growths
from tune_seeds.engine.quiet_ray import quiet_ray
from tune_seeds.engine.random_search import n_possible
from tune_seeds.engine.schedule.scheduler import SeedScheduler
from tune_seeds.engine.search import SeedSearch, SeedSearchGenerator
from tune_seeds.engine.sharing import Shared
from tune_seeds.engine.signals import Received, ending_signals
from tune_seeds.engine.storage_probe import check_shared
from tune_seeds.engine.trainable_file import TRAINABLE, load_trainable, store_trainable
from tune_seeds.policies.base import Policy
from tune_seeds.race.common_failure import CommonFailureError
from tune_seeds.race.groups import OnSeedFailure
from tune_seeds.race.kept_checkpoints import KeepCheckpoints, not_kept
from tune_seeds.race.race import Confirm, Race
from tune_seeds.statistics.aggregate import get_aggregate
from tune_seeds.store.blueprint_file import write_blueprint
from tune_seeds.store.directory import ExperimentDir, full_location, joined, split
from tune_seeds.store.errors import IntegrityError, StudyLostError
from tune_seeds.store.journal import read_events
from tune_seeds.store.lease import Lease
from tune_seeds.store.live_study import Study
from tune_seeds.store.own_policy import load_policy, store_policy
from tune_seeds.store.rebuild import misfit, new_race, rebuild
from tune_seeds.store.study_spec import FORMAT, HEADER, Header
from tune_seeds.store.withdraw import withdraw
from tune_seeds.training.lightning_trainer import (
    LightningTrainer,
    blueprint_of,
    logger_factories,
)
from tune_seeds.training.own_code import OwnCode, WithCode
from tune_seeds.training.shipping import shipped
from tune_seeds.training.trainable import Plan, SeededTrainable
from tune_seeds.views.tensorboard.callback import SeedTBXLoggerCallback
from tune_seeds.views.terminal import Progress, restore_call
from tune_seeds.views.trackers.callback import filed
from tune_seeds.views.trackers.lightning_loggers import ConfigLog

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a study ended.

    Attributes:
        done: nothing is left to train.
        signal: what asked this process to end, where a signal did.
    """

    done: bool
    signal: signal.Signals | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """A study that may run, everything about it checked.

    Attributes:
        header: what the study is.
        arguments: what its user gave.
        trainable: a run.
        directory: of the experiment.
        policy: a user's own, before it was told anything; None where the study has one of ours.
        resume: for an experiment that goes on, which of Ray's trials do; None for a new one.
        growth: what an experiment that goes on is asked for beyond that.
        grown: what it was asked for before.
        take_over: whether to drive it though another process seems to.
    """

    header: Header
    arguments: Arguments
    trainable: SeededTrainable
    directory: ExperimentDir
    policy: Policy | None = None
    resume: ResumeConfig | None = None
    growth: Grown | None = None
    grown: tuple[Grown, ...] = ()
    take_over: bool = False

    @property
    def seeds(self) -> tuple[int, ...]:
        """All of the study, also those that it is asked for now."""
        asked = self.grown if self.growth is None else (*self.grown, self.growth)
        return self.header.grown(asked).seeds

    @property
    def uri(self) -> str:
        """The experiment's directory, as a user names it."""
        run_config: Any = self.arguments.run_config
        return joined(str(run_config.storage_path), run_config.name)

    def check_new(self) -> None:
        """Refuse to begin a study where there is one.

        Raises:
            FileExistsError: there is one.
        """
        if self.directory.exists(HEADER):
            fs = self.arguments.run_config.storage_filesystem
            raise FileExistsError(
                f"the experiment {self.directory.path} exists; continue it with "
                f"{restore_call(self.uri, fs)}, or choose another RunConfig(name=...)"
            )

    def run(self) -> Ending:
        """Run the study until it is done or left; its journal has what came out.

        Returns:
            How it ended.

        Raises:
            FileExistsError: it is a new one, and another of its name has been started meanwhile.
            StudyInUseError: another process drives it.
            StudyLostError: another process took it over, or its directory was deleted.
            JournalNotStoredError: the storage did not take the last events.
            ValueError: the cluster has no node for a run, or nodes that do not see the storage.
            MetricNotFoundError: the first report has no such metric.
            RungMissedError: a run skips a rung.
            CommonFailureError: all runs fail alike, and none has reported.
            ray.tune.TuneError: Ray failed outside of the trials.
        """
        start_ray()
        if self.trainable.on_gpus is not None:
            decided = self.trainable.on_gpus(gpus_of_a_run())
            return dataclasses.replace(self, trainable=decided).run()
        check_resources(self.trainable.resources)
        slots = LiveSlots(
            self.trainable.resources,
            self.arguments.tune_config.max_concurrent_trials,
            Shared(),
        )
        if self.resume is None:
            self.check_new()
            self.directory.create()
        check_shared(self.directory, slots.bundles)
        lease = Lease.take(self.directory, take_over=self.take_over)
        try:
            if self.resume is None:
                self.check_new()
                self.arguments.write(self.directory)
                store_trainable(self.directory, self.trainable)
                if (blueprint := blueprint_of(self.trainable)) is not None:
                    write_blueprint(self.directory, blueprint)
                if self.policy is not None:
                    store_policy(self.directory, self.policy)
                lease.confirm()
                self.header.write(self.directory)
            elif self.growth is not None and self.header.format < FORMAT:
                # A reader that does not know the event must not take it for damage.
                dataclasses.replace(Header.read(self.directory), format=FORMAT).write(
                    self.directory
                )
            return self._carry_out(slots, lease)
        except Exception as error:
            if self.resume is None:
                self._give_back_name(error)
            raise
        finally:
            slots.leave()
            lease.release()

    def _give_back_name(self, error: Exception) -> None:
        """Let the name be used again, where a new study has come to nothing by its own mistake.

        One that was interrupted, or whose storage failed, can be restored.
        """
        if not self.directory.exists(HEADER):
            return
        events = list(read_events(self.directory))
        if any(isinstance(event, Reported) for event in events):
            return
        began = any(isinstance(event, TrialAssigned) for event in events)
        if began and not isinstance(error, (CommonFailureError, OddReportError)):
            return
        withdraw(self.directory)
        traces = f"; {self.uri}/*/error.txt has whole tracebacks" if began else ""
        error.add_note(
            f"Nothing was computed, and the name {self.directory.name!r} is free{traces}."
        )

    def _carry_out(self, slots: LiveSlots, lease: Lease) -> Ending:
        header = self.header
        tune_config = self.arguments.tune_config
        race = Race(
            Ledger(header.seeds, header.measure),
            header.make_policy(self.policy),
            get_aggregate(self.arguments.aggregate),
            OnSeedFailure(header.on_seed_failure),
            Confirm(header.confirm_seeds, header.confirm_top) if header.confirm_seeds else None,
        )
        study = Study(self.directory, race, slots, lease.check)
        if self.growth is not None:
            if (why := misfit(race, self.growth)) is not None:
                raise IntegrityError(f"the study can't grow {why}; it was changed meanwhile")
            race.grow(self.growth)
        header = header.grown(race.growths)
        searcher, constants, num_samples = ray_options.make_searcher(
            tune_config,
            self.arguments.param_space,
            header.metric,
            header.mode,
            cast(int, header.search_seed),
            self.arguments.points,
        )
        configs = ray_options.Configs.of(self.arguments.param_space, self.trainable)
        possible = n_possible(self.arguments.param_space)
        search = SeedSearch(
            study, searcher, constants, num_samples, configs.config, n_possible=possible
        )
        print(
            f"{num_samples} configs on the seeds {', '.join(map(str, header.seeds))}; rungs "
            f"({header.unit} x seeds): {' '.join(map(str, header.rungs))}; {self.directory.path}",
            flush=True,
        )
        left, start, received = "an error", time.monotonic(), Received()
        try:
            with quiet_ray(self._verbose()), frozen_objects(), ending_signals() as received:
                self._run(study, header, search, num_samples)
            left = self._why_left(race, time.monotonic() - start, received)
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
            left = self._why_failed(race, study.fatal or error)
            lease.confirm()  # what fails where the directory is gone says something else
            if isinstance(error, TuneError) and study.fatal is not None:
                raise study.fatal from None
            raise
        finally:
            self._end(study, search, left)
        return Ending(race.done, received.number)

    def _end(self, study: Study, search: SeedSearch, left: str) -> None:
        try:
            search.close()
            if not study.race.done:
                study.race.leave(left)
            for key, epoch in not_kept(study.race, KeepCheckpoints(self.header.keep_checkpoints)):
                study.drop_checkpoint(key, epoch)
        except (StudyLostError, OSError):
            logger.warning("how the study ended could not be recorded", exc_info=True)
        finally:
            study.close()

    def _why_failed(self, race: Race, error: Exception) -> str:
        run_config: Any = self.arguments.run_config
        if run_config.failure_config.fail_fast and race.failed:
            return "a failed run (fail_fast)"
        return f"an error ({type(error).__name__})"

    def _why_left(self, race: Race, elapsed_s: float, received: Received) -> str:
        """By what Ray ended a study that is not done; it does not say, and raises for neither."""
        if received.number is not None:
            return received.number.name
        run_config: Any = self.arguments.run_config
        budget = seconds(self.arguments.tune_config.time_budget_s)
        if budget is not None and elapsed_s >= budget:
            return "the time budget"
        if run_config.failure_config.fail_fast and race.failed:
            return "a failed run (fail_fast)"
        return "an interruption (Ctrl-C)"

    def _run(self, study: Study, header: Header, search: SeedSearch, num_samples: int) -> None:
        tune_config = self.arguments.tune_config
        run_config: Any = self.arguments.run_config  # Ray leaves its defaults unannotated
        epochs = frozenset(rung.epochs for rung in header.rungs)
        plan = Plan(epochs, header.rungs[-1].epochs)
        train = WithCode(self.trainable.train, OwnCode.of_this_process())
        carried = dataclasses.replace(self.trainable, train=train)
        function: Any = shipped(carried, plan)
        if self.trainable.resources is not None:
            function = tune.with_resources(function, cast(Any, self.trainable.resources))
        resume = self.resume
        if resume is not None and not has_snapshot(self.directory.fs, self.directory.path):
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
                self.trainable,
                seconds(tune_config.time_budget_s),
                KeepCheckpoints(header.keep_checkpoints),
                self.arguments.epoch_timeout_s,
            ),
            storage_path=run_config.storage_path,
            storage_filesystem=run_config.storage_filesystem,
            trial_name_creator=tune_config.trial_name_creator,
            trial_dirname_creator=tune_config.trial_dirname_creator,
            reuse_actors=self.arguments.reuse_actors,
            resume_config=resume,
            max_failures=run_config.failure_config.max_failures,
            fail_fast=run_config.failure_config.fail_fast,
            checkpoint_config=run_config.checkpoint_config,
            sync_config=run_config.sync_config,
            log_to_file=run_config.log_to_file,
            # In a notebook Ray's own would wipe what the cell has shown, at verbose=0 too.
            progress_reporter=run_config.progress_reporter
            or (tune.CLIReporter() if self._verbose() == 0 else None),
            verbose=self._verbose(),
            raise_on_failed_trial=False,
            callbacks=[
                *(filed(c, study, run_config.name) for c in run_config.callbacks or []),
                *result_loggers(run_config.callbacks),
                ConfigLog(logger_factories(self.trainable), study, run_config.name),
                SeedTBXLoggerCallback(
                    study,
                    self.arguments.param_space,
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

    def _verbose(self) -> int:
        return user_verbosity(self.arguments.run_config)


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
        halving = ray_options.as_halving(policy, arguments.tune_config.scheduler)
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


def confirmation(
    path: str,
    seeds: Sequence[int] | int,
    top: int = 3,
    trainable: LightningTrainer | SeededTrainable | Callable[..., Any] | None = None,
    *,
    storage_filesystem: pyarrow.fs.FileSystem | None = None,
) -> Launch:
    """An experiment whose best configs are to be trained on fresh seeds; see ``confirm``."""
    checks.path("path", path)
    checks.whole_number("top", top, at_least=1)
    directory = ExperimentDir.at(path, storage_filesystem)
    record = StudyRecord(path, storage_filesystem)
    fresh = check_fresh_seeds(seeds, record.seeds)
    if not fresh:
        raise ValueError("no seeds to confirm on: give a list of integers, or how many")
    wish = None if trainable is None else Wish()
    if trainable is None:
        trainable = load_trainable(directory.read(TRAINABLE))
    launch = restored(path, trainable, wish=wish, storage_filesystem=storage_filesystem)
    print(_cost_of_confirming(record, fresh, top), flush=True)
    # The journal records which runs were opened, when they are; the header stays as it was.
    asked = dataclasses.replace(launch.header, confirm_seeds=fresh, confirm_top=top)
    return dataclasses.replace(launch, header=asked)


def _cost_of_confirming(record: StudyRecord, fresh: Sequence[int], top: int) -> str:
    """What is about to be trained, for the one who waits for it and may still leave."""
    best = record.race.finalists[:top]
    keys = [RunKey(group, seed) for group in best for seed in fresh]
    runs = [record.ledger.get(key) for key in keys]
    n_done = sum(run is not None and run.outcome is not None for run in runs)
    first = "" if record.completeness.finished else "once the study has come to its end, "
    which = f"the best {len(best)} configs ({', '.join(best)})" if best else f"the best {top}"
    return (
        f"{first}{which} on {len(fresh)} fresh seeds ({', '.join(map(str, fresh))}): "
        f"{len(keys) or top * len(fresh)} runs, {n_done} of them done before"
    )
