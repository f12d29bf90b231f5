"""Carry a study out: what its user asked for, handed to Ray Tune."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pyarrow.fs
from ray import tune
from ray.tune import ResumeConfig, TuneError
from ray.tune.execution.experiment_state import (
    _find_newest_experiment_checkpoint,  # pyright: ignore[reportPrivateUsage]
)

from tune_seeds import options
from tune_seeds.arguments import Arguments
from tune_seeds.field import OnSeedFailure
from tune_seeds.header import Header
from tune_seeds.ledger import Ledger
from tune_seeds.lightning import logger_factories
from tune_seeds.loggers import ConfigLog
from tune_seeds.places import free_leaked_places
from tune_seeds.progress import Progress, quiet_ray
from tune_seeds.race import Confirm, Race
from tune_seeds.schedule import SeedScheduler
from tune_seeds.search import SeedSearch, SeedSearchGenerator
from tune_seeds.statistics.aggregate import get_aggregate
from tune_seeds.study import Study
from tune_seeds.tensorboard import SeedTBXLoggerCallback
from tune_seeds.trackers import filed
from tune_seeds.trainable import Plan, SeededTrainable


@dataclass(frozen=True, slots=True)
class Execution:
    """A study that is about to run, everything about it checked and on disk.

    Attributes:
        header: what the study is.
        arguments: what its user gave.
        trainable: a run.
        fs: the file system of the experiment.
        path: its directory there.
        slots: runs that may train at a time, or None.
        resume: for an experiment that goes on, which of Ray's trials do.
    """

    header: Header
    arguments: Arguments
    trainable: SeededTrainable
    fs: pyarrow.fs.FileSystem
    path: str
    slots: int | None
    resume: ResumeConfig | None

    def carry_out(self) -> bool:
        """Run the study until it is done or left; its journal has what came out.

        Returns:
            Whether it is done.

        Raises:
            MetricNotFoundError: the first report has no such metric.
            RungMissedError: a run skips a rung.
            ray.tune.TuneError: Ray failed outside of the trials.
        """
        header = self.header
        tune_config = self.arguments.tune_config
        race = Race(
            Ledger(header.seeds, header.metric, header.mode),
            header.make_policy(),
            get_aggregate(self.arguments.aggregate),
            OnSeedFailure(header.on_seed_failure),
            Confirm(header.confirm_seeds, header.confirm_top) if header.confirm_seeds else None,
        )
        study = Study(self.fs, self.path, race, self.slots)
        searcher, constants, num_samples = options.make_searcher(
            tune_config,
            self.arguments.param_space,
            header.metric,
            header.mode,
            cast(int, header.search_seed),
        )
        search = SeedSearch(study, searcher, constants, num_samples)
        print(
            f"{num_samples} configs on the seeds {', '.join(map(str, header.seeds))}; rungs "
            f"(epochs x seeds): {' '.join(map(str, header.rungs))}; {self.path}",
            flush=True,
        )
        left, start = "an error", time.monotonic()
        try:
            with quiet_ray(self._verbose()):
                self._run(study, search, num_samples)
            left = self._why_left(race, time.monotonic() - start)
        except TuneError:
            if study.fatal is not None:
                raise study.fatal from None
            raise
        finally:
            if self.trainable.workers:
                # Trials that are ended in mid-epoch leave theirs behind.
                free_leaked_places(self.trainable.workers, timeout_s=10)
            search.tell()
            if not race.done:
                race.leave(left)
            study.journal.close()
        return race.done

    def _why_left(self, race: Race, elapsed_s: float) -> str:
        """By what Ray ended a study that is not done; it does not say, and raises for neither."""
        run_config: Any = self.arguments.run_config
        budget = _seconds(self.arguments.tune_config.time_budget_s)
        if budget is not None and elapsed_s >= budget:
            return "the time budget"
        if run_config.failure_config.fail_fast and race.failed:
            return "a failed run (fail_fast)"
        return "an interruption"

    def _run(self, study: Study, search: SeedSearch, num_samples: int) -> None:
        tune_config = self.arguments.tune_config
        run_config: Any = self.arguments.run_config  # Ray leaves its defaults unannotated
        header = self.header
        epochs = frozenset(rung.epochs for rung in header.rungs)
        plan = Plan(epochs, header.rungs[-1].epochs)
        function = self.trainable.function(plan)
        if self.trainable.resources is not None:
            function = tune.with_resources(function, cast(Any, self.trainable.resources))
        resume = self.resume
        if resume is not None and not _find_newest_experiment_checkpoint(self.path, self.fs):
            resume = None  # killed before Ray's first snapshot: every trial is made anew
        # tune.run is what tune.Tuner calls; the Tuner itself would pickle its own copies of the
        # searcher and the scheduler, and restore those instead of what the journal knows.
        tune.run(
            function,
            name=run_config.name,
            config={},
            num_samples=-1,  # the search ends itself
            search_alg=SeedSearchGenerator(search),
            scheduler=SeedScheduler(study, self.trainable),
            storage_path=run_config.storage_path,
            storage_filesystem=run_config.storage_filesystem,
            time_budget_s=tune_config.time_budget_s,
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
                ConfigLog(logger_factories(self.trainable), study, run_config.name),
                SeedTBXLoggerCallback(
                    study,
                    self.arguments.param_space,
                    tune_config.search_alg,
                    header.time_attr,
                ),
                Progress(
                    study,
                    num_samples,
                    reduction_factor=header.reduction_factor,
                    n_finalists=header.n_finalists,
                    n_confirm=len(header.confirm_seeds) * header.confirm_top,
                    budget_s=_seconds(tune_config.time_budget_s),
                ),
            ],
        )

    def _verbose(self) -> int:
        # RunConfig fills in Ray's default; what the user gave is kept beside it.
        return int(getattr(self.arguments.run_config, "_verbose", None) or 0)


def _seconds(budget: float | timedelta | None) -> float | None:
    return budget.total_seconds() if isinstance(budget, timedelta) else budget
