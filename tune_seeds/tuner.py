"""SeedTuner: Ray Tune's Tuner with the random seeds as a grouping axis."""

from __future__ import annotations

import copy
import dataclasses
import os
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any, Literal, Self, cast

import pyarrow.fs
from ray import tune
from ray.train._internal.storage import get_fs_and_path
from ray.tune import ResumeConfig

from tune_seeds import options
from tune_seeds.arguments import Arguments, in_words, place
from tune_seeds.cluster import check_resources, concurrent_runs, start_ray
from tune_seeds.execution import Execution
from tune_seeds.field import OnSeedFailure
from tune_seeds.header import Header, check_fresh_seeds, check_seeds
from tune_seeds.journal import HEADER, exists, plain, read_bytes
from tune_seeds.layout import lay_rungs, seeded
from tune_seeds.lightning import LightningTrainer
from tune_seeds.location import joined, split
from tune_seeds.policy import SuccessiveHalving
from tune_seeds.progress import restore_call, resume_advice
from tune_seeds.results import SeedResults
from tune_seeds.statistics.aggregate import ScoreFunction, get_aggregate
from tune_seeds.trainable import SeededTrainable
from tune_seeds.verify import TRAINABLE, load_trainable, store_trainable


class SeedTuner:
    """Tune hyperparameters with the seeds held fixed: every config meets the same ones.

    Args:
        trainable: a ``LightningTrainer``, or a Ray Tune function that reads ``config["seed"]``.
        seeds: distinct integers in 0 … 2³²−1, or how many to draw, once, from the system's
            entropy. More seeds tell configs apart better and cost more for those that are compared.
        param_space: as for ``tune.Tuner``, without the seed.
        tune_config: as for ``tune.Tuner``. ``num_samples`` counts configs. ``search_alg``: any Ray
            ``Searcher``, or None for random sampling and grids. ``scheduler``: an
            ``ASHAScheduler``, carried out as promotion over rungs of (epochs, seeds), or None.
            Its ``max_t`` is a full training, ``grace_period`` the lowest rung and
            ``reduction_factor`` the ratio of neighbouring rungs' epochs; what that also does is
            said at ``seeds_per_rung``. ``brackets`` above 1 are refused.
        run_config: as for ``tune.Tuner``.
        seeds_per_rung: with a scheduler: ``"adaptive"``, one seed up to ``max_t`` and then one
            more at a time, each step where it is expected to gain most; a group then needs no
            place in the top 1/η of its rung, and ``reduction_factor`` says instead what the study
            may cost: about what it costs with ``"ladder"``. Successive halving, where a group goes
            on from a rung once it is in the top 1/η: ``"ladder"``, one seed up to ``max_t`` and
            all of them for the groups that get there; ``"all"``, every seed at every rung; or a
            number for each rung. Without a scheduler every run goes to its end on every seed.
        n_finalists: groups that end with every epoch on every seed, at least 1; ``best`` is one of
            them. More make the choice safer and cost full trainings.
        aggregate: one score from a config's scores over seeds; it steers the search and ranks the
            results: ``"mean"``, ``"median"``, ``"iqm"``, ``"worst"``, ``"quantile:0.25"``,
            ``"mean-1se"``, or a function of the 1-d array of scores, higher being better.
        on_seed_failure: what a crashed or diverged seed means, after ``max_failures`` retries:
            ``"fail"``, its config can't win; ``"worst"``, it scores as the worst seen at that
            rung; ``"drop"``, the config is scored on the rest, and says so.
        confirm_seeds: fresh seeds, or how many to draw: when the search is over, the best configs
            are trained on them too, which shows how much selection flattered them.
        confirm_top: how many of the best configs; they come from the finalists.
        search_seed: of random sampling, 0 … 2³²−1; drawn and recorded where None. A searcher has
            its own.
        reuse_actors: run after run in one process, which saves importing torch for each.

    Raises:
        ValueError: an argument is out of its range, contradicts another, or has no meaning over
            groups of seeds; nothing was started.
        FileExistsError: the experiment exists; restore it or choose another name.
    """

    def __init__(
        self,
        trainable: LightningTrainer | Callable[[dict[str, Any]], Any],
        *,
        seeds: Sequence[int] | int,
        param_space: dict[str, Any],
        tune_config: tune.TuneConfig,
        run_config: tune.RunConfig | None = None,
        seeds_per_rung: str | Sequence[int] = "adaptive",
        n_finalists: int = 3,
        aggregate: str | ScoreFunction = "mean",
        on_seed_failure: Literal["fail", "worst", "drop"] = "fail",
        confirm_seeds: Sequence[int] | int = (),
        confirm_top: int = 3,
        search_seed: int | None = None,
        reuse_actors: bool = True,
    ) -> None:
        run_config = copy.copy(run_config) or tune.RunConfig()
        options.check_tune_config(tune_config)
        options.check_run_config(run_config)
        metric, mode = options.read_metric(tune_config)
        halving = options.read_scheduler(tune_config.scheduler)
        self._trainable = seeded(trainable, halving)
        if isinstance(trainable, LightningTrainer):
            trainable.check(param_space)
        self.seeds = check_seeds(seeds)
        if on_seed_failure not in set(OnSeedFailure):
            raise ValueError(
                f"on_seed_failure must be one of {', '.join(map(repr, map(str, OnSeedFailure)))}, "
                f"got {on_seed_failure!r}"
            )
        if confirm_top < 1:
            raise ValueError(f"confirm_top must be at least 1, got {confirm_top}")
        if search_seed is not None:
            check_seeds([search_seed])
        else:
            search_seed = secrets.randbelow(2**32)
        _, _, num_samples = options.make_searcher(
            tune_config, param_space, metric, mode, search_seed
        )
        rungs = lay_rungs(self._trainable, halving, len(self.seeds), seeds_per_rung)
        eta = halving.reduction_factor if halving else 4.0
        SuccessiveHalving(rungs, eta, n_finalists)
        run_config.name = run_config.name or (
            f"{self._trainable.name}_{datetime.now():%Y-%m-%d_%H-%M-%S}"
        )
        if str(run_config.storage_path).startswith("~"):
            run_config.storage_path = os.path.expanduser(str(run_config.storage_path))
        self._arguments = Arguments(param_space, tune_config, run_config, aggregate, reuse_actors)
        self._header = Header(
            seeds=self.seeds,
            metric=metric,
            mode=mode,
            time_attr=self._trainable.time_attr,
            policy="adaptive" if halving and seeds_per_rung == "adaptive" else "halving",
            rungs=rungs,
            reduction_factor=eta,
            n_finalists=n_finalists,
            aggregate=get_aggregate(aggregate).name,
            on_seed_failure=on_seed_failure,
            confirm_seeds=check_fresh_seeds(confirm_seeds, self.seeds),
            confirm_top=confirm_top,
            num_samples=num_samples,
            search_seed=search_seed,
            param_space=plain(in_words(param_space)),
            version=version("tune-seeds"),
        )
        self._resume: ResumeConfig | None = None
        self._fs, self.path = place(run_config)
        if exists(self._fs, str(PurePosixPath(self.path) / HEADER)):
            raise FileExistsError(
                f"the experiment {self.path} exists; continue it with "
                f"{restore_call(self._uri(), run_config.storage_filesystem)}, or choose another "
                "RunConfig(name=...)"
            )

    @classmethod
    def can_restore(
        cls, path: str, storage_filesystem: pyarrow.fs.FileSystem | None = None
    ) -> bool:
        """Whether ``path`` is an experiment that ``restore`` takes."""
        fs, fs_path = get_fs_and_path(os.path.expanduser(path), storage_filesystem)
        return Arguments.are_in(fs, fs_path)

    @classmethod
    def restore(
        cls,
        path: str,
        trainable: LightningTrainer | SeededTrainable | Callable[..., Any],
        *,
        resume_errored: bool = False,
        restart_errored: bool = False,
        storage_filesystem: pyarrow.fs.FileSystem | None = None,
    ) -> Self:
        """Continue an experiment that was killed or interrupted, from everything it reported.

        Finished runs are not repeated; runs that were under way go on from their last checkpoint.
        Restore only what you wrote yourself: it unpickles from ``path``, as Ray's restore does.

        Args:
            path: the experiment's directory, local or any URI that Ray takes.
            trainable: the same as before.
            resume_errored: try failed runs again from their last checkpoints.
            restart_errored: try failed runs again from scratch.
            storage_filesystem: the file system of ``path`` where it is a custom one.

        Raises:
            FileNotFoundError: there is no such experiment.
            ValueError: the trainable counts progress differently, or both ways of retrying are set.
        """
        if resume_errored and restart_errored:
            raise ValueError("give resume_errored or restart_errored, not both")
        path = os.path.expanduser(path)
        fs, fs_path = get_fs_and_path(path, storage_filesystem)
        header = Header.read(fs, fs_path)
        self = cls.__new__(cls)
        self._arguments = Arguments.read(fs, fs_path)
        run_config = self._arguments.run_config
        # The directory may have been moved since.
        run_config.storage_path, run_config.name = split(path)
        run_config.storage_filesystem = storage_filesystem
        tune_config = self._arguments.tune_config
        halving = options.read_scheduler(tune_config.scheduler)
        self._trainable = seeded(trainable, halving)
        if self._trainable.time_attr != header.time_attr:
            raise ValueError(
                f"the experiment counts {header.time_attr!r}, this trainable "
                f"{self._trainable.time_attr!r}; restore with the trainable it was started with"
            )
        self.seeds = header.seeds
        self._header = header
        self._fs, self.path = fs, fs_path
        types = ResumeConfig.ResumeType
        errored = types.RESUME if resume_errored else types.SKIP
        errored = types.RESTART if restart_errored else errored
        self._resume = cast(Any, ResumeConfig)(unfinished=types.RESUME, errored=errored)
        return self

    @classmethod
    def confirm(
        cls,
        path: str,
        seeds: Sequence[int] | int,
        top: int = 3,
        trainable: LightningTrainer | SeededTrainable | Callable[..., Any] | None = None,
        *,
        storage_filesystem: pyarrow.fs.FileSystem | None = None,
    ) -> SeedResults:
        """Train the best configs of an experiment on fresh seeds, and record that they were.

        Asking again with the same seeds goes on where it was killed, and repeats nothing.

        Args:
            path: the experiment's directory, local or any URI that Ray takes.
            seeds: distinct integers that the search did not use, or how many to draw.
            top: how many of the best configs, at least 1.
            trainable: as for ``restore``; if None, the one that the study pickled is loaded.
            storage_filesystem: the file system of ``path`` where it is a custom one.

        Raises:
            FileNotFoundError: there is no such experiment.
            OverlappingSeedsError: a seed is one of those tuned on.
            ValueError: no seeds, or ``top`` is below 1.
        """
        if top < 1:
            raise ValueError(f"top must be at least 1, got {top}")
        fs, fs_path = get_fs_and_path(os.path.expanduser(path), storage_filesystem)
        header = Header.read(fs, fs_path)
        fresh = check_fresh_seeds(seeds, header.seeds)
        if not fresh:
            raise ValueError("no seeds to confirm on: give a list of integers, or how many")
        if trainable is None:
            trainable = load_trainable(read_bytes(fs, str(PurePosixPath(fs_path) / TRAINABLE)))
        header = dataclasses.replace(header, confirm_seeds=fresh, confirm_top=top)
        header.write(fs, fs_path)
        return cls.restore(path, trainable, storage_filesystem=storage_filesystem).fit()

    def fit(self) -> SeedResults:
        """Run the study to its end.

        Returns:
            The results, also of runs that failed; they are the same as ``get_results`` later.

        Raises:
            ValueError: the cluster has no node for a run.
            MetricNotFoundError: the first report has no such metric; nothing else is started.
            RungMissedError: a run skips a rung.
            ray.tune.TuneError: Ray failed outside of the trials.
        """
        start_ray()
        check_resources(self._trainable.resources, self._trainable.workers)
        slots = concurrent_runs(
            self._arguments.tune_config.max_concurrent_trials, self._trainable.workers
        )
        if self._resume is None:
            self._write()
        done = Execution(
            self._header,
            self._arguments,
            self._trainable,
            self._fs,
            self.path,
            slots,
            self._resume,
        ).carry_out()
        results = self.get_results()
        if not done:
            fs = self._arguments.run_config.storage_filesystem
            print(f"{results}\n\n{resume_advice(self._uri(), fs)}", flush=True)
        return results

    def get_results(self) -> SeedResults:
        """The results so far, read from the experiment's journal."""
        fs = self._arguments.run_config.storage_filesystem
        path = self.path if fs is not None else self._uri()
        return SeedResults(path, fs, aggregate=self._arguments.aggregate)

    def _write(self) -> None:
        self._fs.create_dir(self.path)
        self._arguments.write(self._fs, self.path)
        store_trainable(self._fs, self.path, self._trainable)
        self._header.write(self._fs, self.path)

    def _uri(self) -> str:
        run_config = self._arguments.run_config
        return joined(str(run_config.storage_path), cast(str, run_config.name))
