"""SeedTuner: Ray Tune's Tuner with the random seeds as a grouping axis."""

from __future__ import annotations

import copy
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any, Literal, Self

import pyarrow.fs
from ray import tune

from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core import checks
from tune_seeds.core.jsonable import plain
from tune_seeds.core.metric import Metric, window
from tune_seeds.core.seeds import check_fresh_seeds, check_seeds
from tune_seeds.engine import ray_options, study_arguments
from tune_seeds.engine.arguments import Arguments, in_words
from tune_seeds.engine.code_fingerprint import fingerprint
from tune_seeds.engine.earlier_study import EarlierStudy
from tune_seeds.engine.first_suggestions import has_own_space
from tune_seeds.engine.growth import Wish
from tune_seeds.engine.ray_options import read_metric
from tune_seeds.engine.schedule.halving import ETA, as_halving, lay_rungs, read_scheduler
from tune_seeds.engine.searched_space import SearchedSpace
from tune_seeds.engine.searcher import make_searcher, one_config
from tune_seeds.engine.suggested_configs import Configs
from tune_seeds.launch.confirm import confirmation
from tune_seeds.launch.launch import Launch
from tune_seeds.launch.restore import restored
from tune_seeds.launch.run import run
from tune_seeds.policies.adaptive import PATIENCE, Adaptive
from tune_seeds.policies.base import Policy
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.groups import OnSeedFailure
from tune_seeds.race.kept_checkpoints import KeepCheckpoints
from tune_seeds.results import SeedResults
from tune_seeds.statistics.aggregate import Aggregate, ScoreFunction, get_aggregate
from tune_seeds.statistics.metric_range import checked_range
from tune_seeds.store.directory import ExperimentDir, full_location, joined
from tune_seeds.store.own_policy import dotted_name, unused_policy
from tune_seeds.store.rebuild.race import new_race, rebuild
from tune_seeds.store.study_spec import Header
from tune_seeds.training.lightning_trainer import LightningTrainer
from tune_seeds.training.trainable import SeededTrainable
from tune_seeds.views.terminal import resume_advice


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
            Or a policy of your own (``tune_seeds.policies.base.Policy``), without a scheduler: it
            lays the rungs and says who goes on. ``tune_seeds.testing.check_policy`` says whether it
            is sound. It is pickled beside the study, from where ``restore`` takes it.
        patience: 0 … 1, for ``"adaptive"`` on many slots: how far a slot is left idle until
            results are there that say what is worth training on it. 0 fills every slot at once and
            ends first; 1 is as careful as on a single slot.
        n_finalists: groups that end with every epoch on every seed, at least 1; ``best`` is one of
            them. More make the choice safer and cost full trainings.
        aggregate: one score from a config's scores over seeds; it steers the search and ranks the
            results: ``"mean"``, ``"median"``, ``"iqm"``, ``"worst"``, ``"quantile:0.25"``,
            ``"mean-1se"``, or a function of the 1-d array of scores, higher being better.
        score: what a run is worth at a rung: ``"last"``, the metric there; ``"best"``, its best
            value up to there; ``"mean_of_last:3"``, the mean of its last three values, or of those
            that it has. The same for every run, in the search, the tables and the confirmation.
        on_seed_failure: what a crashed or diverged seed means, after ``max_failures`` retries:
            ``"fail"``, its config can't win; ``"worst"``, it scores as the worst seen at that
            rung; ``"drop"``, the config is scored on the rest, and says so.
        confirm_seeds: fresh seeds, or how many to draw: when the search is over, the best configs
            are trained on them too, which shows how much selection flattered them.
        confirm_top: how many of the best configs; they come from the finalists.
        metric_range: lowest and highest value that the metric can have, such as (0, 1) for an
            accuracy; intervals stay inside. None looks: a metric that plainly is a share (called
            ``acc`` or ``f1``, or in steps of 1/N) is taken for one. (-inf, inf) for no range.
        keep_checkpoints: whose checkpoints stay when the search is over: ``"finalists"``, of the
            configs with every epoch on every seed; ``"best"``, of the best of them; ``"all"``. But
            with ``"all"`` each run keeps its newest checkpoint only, while the study runs too;
            those that a retry of failed runs needs stay.
        epoch_timeout_s: how long a run may take from one report to the next, in seconds or as a
            ``timedelta``; the first takes the start of its process, of the data and of the fit too.
            The process of a run that takes longer is ended, and the run has failed, which
            ``FailureConfig(max_failures=...)`` retries. None waits for ever.
        search_seed: of random sampling, 0 … 2³²−1; drawn and recorded where None. A searcher has
            its own.
        points_to_evaluate: configs that random sampling and grids begin with, such as the module's
            defaults, ``[{"lr": 0.1}]``. What one leaves out is sampled, or takes every value of its
            grid. Each is one of ``num_samples``; before a pure grid they come in addition, and one
            that lies in it is run once. A searcher takes them itself
            (``HyperOptSearch(points_to_evaluate=...)``).
        warm_start: an earlier experiment, its path or its results: the searcher is told what that
            study's configs scored before it suggests anything, and none of them is trained or
            counted. It takes HyperOpt, Optuna or another searcher that suggests its
            ``points_to_evaluate`` first; the same metric, mode and ``score``; and configs that
            ``param_space`` holds, the others are left out and counted. They are scored at the
            lowest rung of this study, so the other one has to have reported there. Its configs are
            unpickled: only from experiments of your own.
        stop_when: for ``"adaptive"``: in the metric's unit, above 0. When a further full training
            is expected to add less than this to the best score, no more configs are asked for and
            the finalists are completed. ``num_samples`` is then the most that there will be, and
            the results say why there are fewer. A study that is restored with more goes on
            without it.
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
        seeds_per_rung: str | Sequence[int] | Policy = "adaptive",
        patience: float | None = None,
        n_finalists: int = 3,
        aggregate: str | ScoreFunction = "mean",
        score: str = "last",
        on_seed_failure: Literal["fail", "worst", "drop"] = "fail",
        confirm_seeds: Sequence[int] | int = (),
        confirm_top: int = 3,
        metric_range: tuple[float, float] | None = None,
        keep_checkpoints: Literal["all", "finalists", "best"] = "finalists",
        epoch_timeout_s: float | timedelta | None = None,
        search_seed: int | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] = (),
        warm_start: str | os.PathLike[str] | StudyRecord | None = None,
        stop_when: float | None = None,
        reuse_actors: bool = True,
    ) -> None:
        study_arguments.check_tune_config(tune_config)
        study_arguments.check_run_config(tune.RunConfig() if run_config is None else run_config)
        study_arguments.check_seeds_per_rung(seeds_per_rung)
        param_space = study_arguments.check_space_values(param_space)
        if patience is not None:
            checks.real_number("patience", patience, at_least=0, at_most=1)
        if stop_when is not None:
            stop_when = checks.real_number("stop_when", stop_when)
        if epoch_timeout_s is not None:
            epoch_timeout_s = checks.duration("epoch_timeout_s", epoch_timeout_s)
        checks.instance("score", score, str)
        checks.whole_number("n_finalists", n_finalists, at_least=1)
        checks.whole_number("confirm_top", confirm_top, at_least=1)
        checks.flag("reuse_actors", reuse_actors)
        checks.choice("on_seed_failure", on_seed_failure, OnSeedFailure)
        checks.choice("keep_checkpoints", keep_checkpoints, KeepCheckpoints)
        if not isinstance(aggregate, (str, Aggregate)):
            checks.takes("aggregate", aggregate, "scores")
        run_config = copy.copy(run_config) or tune.RunConfig()
        metric, mode = read_metric(tune_config)
        window(score)
        study_arguments.check_picklable("param_space", param_space)
        study_arguments.check_picklable("search_alg", tune_config.search_alg)
        if not isinstance(trainable, LightningTrainer):
            study_arguments.check_picklable("the trainable", trainable)
        checked_seeds = check_seeds(seeds)
        own: Policy | None = None
        if isinstance(seeds_per_rung, (str, Sequence)):
            halving = read_scheduler(tune_config.scheduler)
        else:
            own = seeds_per_rung = unused_policy(seeds_per_rung, len(checked_seeds))
            halving = as_halving(own, tune_config.scheduler)
        seeded = ray_options.seeded(trainable, halving)
        own_space = False
        if isinstance(trainable, LightningTrainer):
            own_space = has_own_space(tune_config.search_alg)
            trainable.check(param_space, complete=not own_space)
        declared = None if metric_range is None else checked_range(metric_range)
        if search_seed is not None:
            (search_seed,) = check_seeds([search_seed])
        else:
            search_seed = secrets.randbelow(2**32)
        searcher, _, num_samples = make_searcher(
            tune_config, param_space, metric, mode, search_seed, points_to_evaluate
        )
        first = Configs.of(param_space, seeded).try_out(searcher)
        rungs = lay_rungs(seeded, halving, len(checked_seeds), seeds_per_rung)
        if isinstance(trainable, LightningTrainer):
            trainable.check_rungs(param_space, [rung.epochs for rung in rungs], metric)
            if first is None and not own_space:
                first = one_config(param_space)
            if first is not None:
                trainable.try_build({**first, "seed": checked_seeds[0]})
        policy = "adaptive" if halving and seeds_per_rung == "adaptive" else "halving"
        policy = policy if own is None else dotted_name(own)
        if patience is not None and policy != "adaptive":
            raise ValueError(
                f"patience={patience} is for a scheduler with seeds_per_rung='adaptive'; "
                "successive halving promotes as soon as a group is in the top 1/η"
            )
        if stop_when is not None and policy != "adaptive":
            raise ValueError(
                f"stop_when={stop_when} needs the forecast of a scheduler with "
                "seeds_per_rung='adaptive'; nothing else says what a further training would gain"
            )
        earlier = None
        if warm_start is not None:
            earlier = EarlierStudy.read(
                _directory_of(warm_start),
                Metric(metric, mode, score),
                rungs[0],
                get_aggregate(aggregate),
            )
            earlier = earlier.within(SearchedSpace.of(param_space))
            make_searcher(tune_config, param_space, metric, mode, 0, (), earlier)
        eta = halving.reduction_factor if halving else ETA
        if policy == "adaptive":
            milestones = sorted({rung.epochs for rung in rungs})
            Adaptive(milestones, len(checked_seeds), eta, n_finalists, stop_when=stop_when)
        SuccessiveHalving(rungs, eta, n_finalists)
        run_config.name = run_config.name or (f"{seeded.name}_{datetime.now():%Y-%m-%d_%H-%M-%S}")
        if not run_config.name.isprintable() or run_config.name.strip("/.") == "":
            raise ValueError(f"RunConfig(name={run_config.name!r}) can't be a directory's name")
        if run_config.name.startswith("/") or ".." in run_config.name.split("/"):
            raise ValueError(
                f"RunConfig(name={run_config.name!r}) lies outside of the storage path; give a "
                "name, and the place as storage_path"
            )
        if run_config.storage_filesystem is None:
            run_config.storage_path = full_location(str(run_config.storage_path))
        points = tuple(dict(point) for point in points_to_evaluate)
        arguments = Arguments(
            param_space,
            tune_config,
            run_config,
            aggregate,
            reuse_actors,
            points,
            epoch_timeout_s,
            earlier,
        )
        header = Header(
            seeds=checked_seeds,
            metric=metric,
            mode=mode,
            time_attr=seeded.time_attr,
            policy=policy,
            rungs=rungs,
            reduction_factor=eta,
            n_finalists=n_finalists,
            aggregate=get_aggregate(aggregate).name,
            on_seed_failure=on_seed_failure,
            keep_checkpoints=keep_checkpoints,
            confirm_seeds=check_fresh_seeds(confirm_seeds, checked_seeds),
            confirm_top=confirm_top,
            num_samples=num_samples,
            search_seed=search_seed,
            param_space=plain(in_words(param_space)),
            version=version("tune-seeds"),
            metric_range=declared,
            score=score,
            patience=PATIENCE if patience is None else float(patience),
            seeds_per_rung=_in_header(seeds_per_rung),
            fingerprint=fingerprint(seeded),
            stop_when=stop_when,
            warm_start=None if earlier is None else earlier.record,
        )
        location = joined(str(run_config.storage_path), run_config.name)
        directory = ExperimentDir.at(location, run_config.storage_filesystem)
        self._launch = Launch(header, arguments, seeded, directory, own)
        self._launch.check_new()

    @property
    def path(self) -> str:
        """The directory of the experiment, on its file system."""
        return self._launch.directory.path

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the study, in the order in which rungs take them; drawn ones included."""
        return self._launch.seeds

    @classmethod
    def can_restore(
        cls, path: str, storage_filesystem: pyarrow.fs.FileSystem | None = None
    ) -> bool:
        """Whether ``path`` is an experiment that ``restore`` takes."""
        checks.path("path", path)
        try:
            directory = ExperimentDir.at(path, storage_filesystem)
            rebuild(new_race(Header.read(directory)), directory)
        except (OSError, ValueError):
            return False
        return Arguments.are_in(directory)

    @classmethod
    def restore(
        cls,
        path: str,
        trainable: LightningTrainer | SeededTrainable | Callable[..., Any],
        *,
        num_samples: int | None = None,
        seeds: Sequence[int] | int | None = None,
        max_t: int | None = None,
        time_budget_s: float | timedelta | None = None,
        n_finalists: int | None = None,
        allow_changes: Sequence[str] = (),
        resume_errored: bool = False,
        restart_errored: bool = False,
        take_over: bool = False,
        storage_filesystem: pyarrow.fs.FileSystem | None = None,
    ) -> Self:
        """Continue an experiment from everything it reported, also with more than before.

        Finished runs are not repeated; runs that were under way go on from their last checkpoint.
        A study that has ended can be asked for more: what it knows stays known, and what was added
        when is in its results. What its scores rest on can't be given here (space, metric, mode)
        or must be as it was (the trainable); see ``allow_changes``.

        Restore only what you wrote yourself: it unpickles from ``path``, as Ray's restore does.

        Args:
            path: the experiment's directory, local or any URI that Ray takes.
            trainable: the same as before; its code is compared with what the study began with.
            num_samples: so many configs in all, counted as ``TuneConfig(num_samples=...)`` does.
            seeds: a longer list that begins with the old one, or how many there are to be.
            max_t: train for more epochs than before: the scheduler's ``max_t``, without one the
                trainer's ``max_epochs``, which then has to be the same. The rungs below stay.
                Whatever in a run depends on ``max_epochs``, such as a schedule of the learning
                rate, goes on by the new number.
            time_budget_s: for what is left, instead of the one before.
            n_finalists: so many groups with every epoch on every seed.
            allow_changes: parts of the trainable that have changed and may, such as
                ``["module"]``; a refusal names them. It is recorded.
            resume_errored: try failed runs again from their last checkpoints.
            restart_errored: try failed runs again from scratch.
            take_over: drive the study though another process seems to, which stops as soon as it
                notices. Needed only where that can't be found out: a process that has ended, or has
                given no sign of life for a minute, is no obstacle.
            storage_filesystem: the file system of ``path`` where it is a custom one.

        Raises:
            FileNotFoundError: there is no such experiment.
            ValueError: the trainable has changed or counts progress differently, less is asked for
                than there is, or both ways of retrying are set.
            CannotLoadPolicyError: the study has a policy of its user's own, whose module can't be
                imported here.
        """
        self = cls.__new__(cls)
        self._launch = restored(
            path,
            trainable,
            resume_errored=resume_errored,
            restart_errored=restart_errored,
            wish=Wish(num_samples, seeds, max_t, time_budget_s, n_finalists, allow_changes),
            take_over=take_over,
            storage_filesystem=storage_filesystem,
        )
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
        self = cls.__new__(cls)
        self._launch = confirmation(
            path, seeds, top, trainable, storage_filesystem=storage_filesystem
        )
        return self.fit()

    def fit(self) -> SeedResults:
        """Run the study to its end.

        Returns:
            The results, also of runs that failed; they are the same as ``get_results`` later.

        Raises:
            ValueError: the cluster has no node for a run, or nodes that do not see the storage.
            MetricNotFoundError: the first report has no such metric; nothing else is started.
            RungMissedError: a run skips a rung.
            CommonFailureError: the first three runs, or all where there are fewer, fail alike, and
                none has reported; the message is the exception at the root. The name is free again.
            FileExistsError: another study of this name was started meanwhile.
            StudyInUseError: another process drives it; the message says which, since when.
            StudyLostError: another process took it over, or its directory was deleted.
            JournalNotStoredError: the storage did not take the last events.
            SystemExit: a SIGTERM or SIGHUP ended the study, in order, and what it has is printed.
            ray.tune.TuneError: Ray failed outside of the trials.
        """
        fs = self._launch.arguments.run_config.storage_filesystem
        advice = resume_advice(self._launch.uri, fs)
        try:
            end = run(self._launch)
        except (KeyboardInterrupt, SystemExit):
            print(advice, flush=True)
            raise
        results = self.get_results()
        if not end.done:
            print(f"{results}\n\n{advice}", flush=True)
        if end.signal is not None:
            raise SystemExit(128 + end.signal)
        return results

    def get_results(self) -> SeedResults:
        """The results so far, read from the experiment's journal."""
        arguments = self._launch.arguments
        fs = arguments.run_config.storage_filesystem
        path = self.path if fs is not None else self._launch.uri
        return SeedResults(path, fs, aggregate=arguments.aggregate, unpickle=True)


def _in_header(seeds_per_rung: str | Sequence[int] | Policy) -> str | list[int] | None:
    """What of ``seeds_per_rung`` lays rungs again when a study grows; a policy keeps its own."""
    if isinstance(seeds_per_rung, str):
        return seeds_per_rung
    return list(seeds_per_rung) if isinstance(seeds_per_rung, Sequence) else None


def _directory_of(experiment: Any) -> ExperimentDir:
    """The directory of an earlier experiment, of which a user gave the path or the results."""
    if isinstance(experiment, StudyRecord):
        return experiment.directory
    return ExperimentDir.at(checks.path("warm_start", experiment))
