"""Peers driven as their own code: Ray Tune, Optuna and SMAC3, without a cluster.

Every one draws configs in the given order, as random search would; so only how they spend epochs
and seeds differs. A config or a seed is its place in the draw.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
from benchmarks.simulate import Job
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from ray.tune.search import Repeater, Searcher

from tune_seeds.core.rungs import milestones

optuna.logging.set_verbosity(optuna.logging.ERROR)

Shape = tuple[int, int, int]
METRIC = "value"


class RayAsha:
    """Ray's ASHAScheduler over single runs, one seed per config; the best last value wins.

    The answer is that of ``ResultGrid.get_best_result``: the newest value of each trial is
    compared, whatever its epoch. Here trials that diverged are left out.

    Args:
        shape: configs, seeds, epochs.
        seed: the place of the one seed of all trials, or None for a random one for each.
        eta: Ray's ``reduction_factor``; its own default is 4, here as for all others 3.
        rng: draws the seeds.
    """

    def __init__(
        self, shape: Shape, *, seed: int | None, rng: np.random.Generator, eta: int = 3
    ) -> None:
        self._n_configs, n_seeds, self._n_epochs = shape
        drawn = rng.integers(n_seeds, size=self._n_configs)
        self._seeds = drawn if seed is None else np.full(self._n_configs, seed)
        self._levels = milestones(self._n_epochs, 1, eta)
        self._scheduler = AsyncHyperBandScheduler(
            "training_iteration", METRIC, "max", self._n_epochs, 1, eta
        )
        self._next = 0
        self._going: deque[Job] = deque()
        self._newest: dict[int, float] = {}

    def ask(self) -> Job | None:
        """A trial that goes on keeps its worker; otherwise a new one."""
        if self._going:
            return self._going.popleft()
        if self._next == self._n_configs:
            return None
        config = self._next
        self._next += 1
        self._scheduler.on_trial_add(None, _trial(config))
        return self._job(config, 0)

    def tell(self, job: Job, values: Sequence[float]) -> None:
        """Report every epoch to Ray's scheduler."""
        if not np.isfinite(values[-1]):
            self._newest.pop(job.config, None)
            self._scheduler.on_trial_remove(None, _trial(job.config))
            return
        self._newest[job.config] = values[-1]
        for epoch, value in enumerate(values, start=job.start + 1):
            result = {"training_iteration": epoch, METRIC: value}
            action = self._scheduler.on_trial_result(None, _trial(job.config), result)
            if action == TrialScheduler.STOP:
                return
        self._going.append(self._job(job.config, job.stop))

    def best(self) -> int | None:
        """The config of the trial with the best newest value."""
        return max(self._newest, key=self._newest.__getitem__, default=None)

    def _job(self, config: int, start: int) -> Job:
        stop = next(level for level in self._levels if level > start)
        return Job(config, int(self._seeds[config]), start, stop)


class _InOrder(Searcher):
    """A searcher that suggests configs 0, 1, 2, … and keeps what it is told."""

    def __init__(self, n_configs: int) -> None:
        super().__init__(metric=METRIC, mode="max")
        self._left = iter(range(n_configs))
        self._config: dict[str, int] = {}
        self.scores: dict[int, float] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        config = next(self._left, None)
        if config is None:
            return None
        self._config[trial_id] = config
        return {"config": config}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if result is not None:
            self.scores[self._config[trial_id]] = result[METRIC]


class RayRepeater:
    """Ray's Repeater with FIFO: K full trainings of every config, the best mean wins.

    A diverged run is left out of the mean, as Repeater does. Before the first mean the best run.
    """

    def __init__(self, shape: Shape) -> None:
        n_configs, n_seeds, self._n_epochs = shape
        self._searcher = _InOrder(n_configs)
        self._repeater = Repeater(self._searcher, repeat=n_seeds)
        self._n_trials = 0
        self._ids: dict[Job, str] = {}
        self._best_run = (-np.inf, None)

    def ask(self) -> Job | None:
        """The next repeat, or the first one of a new config."""
        trial_id = f"t{self._n_trials}"
        config = self._repeater.suggest(trial_id)
        if config is None:
            return None
        self._n_trials += 1
        job = Job(config["config"], config["__trial_index__"], 0, self._n_epochs)
        self._ids[job] = trial_id
        return job

    def tell(self, job: Job, values: Sequence[float]) -> None:
        """Complete the trial; without a result where it diverged."""
        finite = bool(np.isfinite(values[-1]))
        if finite and values[-1] > self._best_run[0]:
            self._best_run = (values[-1], job.config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no seeds
            self._repeater.on_trial_complete(
                self._ids[job], {METRIC: values[-1]} if finite else None
            )

    def best(self) -> int | None:
        """The config with the best mean that Repeater told its searcher."""
        scores = {c: s for c, s in self._searcher.scores.items() if np.isfinite(s)}
        return max(scores, key=scores.__getitem__, default=self._best_run[1])


class OptunaWilcoxon:
    """Optuna with WilcoxonPruner over seeds: full trainings, seed by seed, in random order.

    As its documentation shows it: the seed is the step of a report, and a pruned trial returns the
    mean so far. With fewer than 4 seeds the test cannot reach its default p < 0.1.
    """

    def __init__(self, shape: Shape, *, rng: np.random.Generator) -> None:
        self._n_configs, self._n_seeds, self._n_epochs = shape
        self._rng = rng
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            pruner = optuna.pruners.WilcoxonPruner()
        self._study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0), pruner=pruner
        )
        self._trials: dict[int, tuple[optuna.Trial, list[int], list[float]]] = {}
        self._going: deque[Job] = deque()

    def ask(self) -> Job | None:
        """The next seed of a trial that is not through, or a new trial."""
        if self._going:
            return self._going.popleft()
        if len(self._trials) == self._n_configs:
            return None
        trial = self._study.ask()
        seeds = self._rng.permutation(self._n_seeds).tolist()
        self._trials[trial.number] = (trial, seeds, [])
        return Job(trial.number, seeds[0], 0, self._n_epochs)

    def tell(self, job: Job, values: Sequence[float]) -> None:
        """Report the run's last value, and end the trial if Optuna prunes it."""
        trial, seeds, scores = self._trials[job.config]
        if not np.isfinite(values[-1]):
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        scores.append(values[-1])
        trial.report(values[-1], job.seed)
        if len(scores) == self._n_seeds or trial.should_prune():
            self._study.tell(trial, float(np.mean(scores)))
        else:
            self._going.append(Job(job.config, seeds[len(scores)], 0, self._n_epochs))

    def best(self) -> int | None:
        """The study's best trial; before there is one, the first trial with a value."""
        try:
            return self._study.best_trial.number
        except ValueError:
            return next((n for n, (_, _, scores) in self._trials.items() if scores), None)


class SmacRacing:
    """SMAC3's intensifier: challengers race the incumbent on 1, 2, 4, … of its seeds.

    SMAC draws its seeds itself; each new one stands for the next seed of the draw. A diverged run
    is told as crashed.

    Raises:
        ImportError: SMAC3 is not installed; it is in the ``peers`` extra.
    """

    def __init__(self, shape: Shape, *, rng: np.random.Generator) -> None:
        from ConfigSpace import Configuration, ConfigurationSpace
        from smac import HyperparameterOptimizationFacade as Facade
        from smac import Scenario
        from smac.initial_design import AbstractInitialDesign
        from smac.main.config_selector import ConfigSelector
        from smac.model.random_model import RandomModel

        n_configs, self._n_seeds, self._n_epochs = shape
        space = ConfigurationSpace({"config": (0, n_configs)})
        configs = [Configuration(space, values={"config": i}) for i in range(n_configs)]

        class InOrder(ConfigSelector):
            def __iter__(self) -> Iterator[Configuration]:
                yield from configs

        class Empty(AbstractInitialDesign):
            def _select_configurations(self) -> list[Configuration]:
                return []

        # SMAC writes its scenario down when it starts; nobody reads it here.
        self._folder = tempfile.TemporaryDirectory()
        scenario = Scenario(
            space,
            output_directory=self._folder.name,
            deterministic=False,
            n_trials=n_configs * self._n_seeds,
            seed=int(rng.integers(2**31)),
        )
        self._smac = Facade(
            scenario,
            _never_called,
            model=RandomModel(space),
            initial_design=Empty(scenario, n_configs=0),
            intensifier=Facade.get_intensifier(scenario, max_config_calls=self._n_seeds),
            config_selector=InOrder(scenario),
            logging_level=logging.CRITICAL,
            overwrite=True,
        )
        self._infos: dict[Job, Any] = {}
        self._seeds: dict[int, int] = {}

    def ask(self) -> Job | None:
        """SMAC's next trial, or None where its intensifier has none."""
        try:
            info = self._smac.ask()
        except StopIteration:
            return None
        seed = self._seeds.setdefault(info.seed, len(self._seeds))
        job = Job(info.config["config"], seed, 0, self._n_epochs)
        self._infos[job] = info
        return job

    def tell(self, job: Job, values: Sequence[float]) -> None:
        """Tell the cost, the negated last value."""
        from smac.runhistory import StatusType, TrialValue

        finite = bool(np.isfinite(values[-1]))
        value = TrialValue(
            cost=-values[-1] if finite else np.inf,
            status=StatusType.SUCCESS if finite else StatusType.CRASHED,
        )
        self._smac.tell(self._infos[job], value, save=False)

    def best(self) -> int | None:
        """SMAC's incumbent."""
        incumbents = self._smac.intensifier.get_incumbents()
        return incumbents[0]["config"] if incumbents else None


def _trial(config: int) -> Any:
    return SimpleNamespace(trial_id=str(config))


def _never_called(config: Any, seed: int = 0) -> float:
    raise AssertionError("SMAC is driven by ask and tell")
