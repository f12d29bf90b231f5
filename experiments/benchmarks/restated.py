"""Peers that have no ask-and-tell code of their own, re-stated from their sources."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from benchmarks.simulate import Batches, Job, Plan

from tune_seeds.core.rungs import milestones


class SeedAsHyperparameter:
    """Random search over config × seed, every pair trained fully, the best single run wins.

    What ``param_space={"seed": tune.choice(seeds), ...}`` does in Ray Tune with random search.
    """

    def __init__(self, shape: tuple[int, int, int], *, rng: np.random.Generator) -> None:
        self._n_configs, n_seeds, self._n_epochs = shape
        self._seeds = rng.integers(n_seeds, size=self._n_configs)
        self._next = 0
        self._best = (-np.inf, None)

    def ask(self) -> Job | None:
        """A new config on a random seed."""
        if self._next == self._n_configs:
            return None
        self._next += 1
        config = self._next - 1
        return Job(config, int(self._seeds[config]), 0, self._n_epochs)

    def tell(self, job: Job, values: Sequence[float]) -> None:
        """Keep the best run; NaN never wins."""
        if values[-1] > self._best[0]:
            self._best = (values[-1], job.config)

    def best(self) -> int | None:
        """The config of the best run."""
        return self._best[1]


def halving_on_means(shape: tuple[int, int, int], eta: int = 3) -> Batches:
    """Synchronous successive halving on the mean over all seeds, bracket after bracket.

    As hypersweeper runs it (github automl/hypersweeper: ``seeds`` are run for each suggestion and
    their mean is told), with SMAC3's bracket: η^k configs at the lowest of k + 1 rungs, the top 1/η
    go on once the whole rung is there (Karnin et al. 2013; Jamieson & Talwalkar 2016,
    arXiv:1502.07943). The answer is the best mean at the highest epoch so far.
    """
    n_configs, n_seeds, n_epochs = shape
    levels = milestones(n_epochs, 1, eta)

    def plan(state: Batches) -> Plan:
        record = (0, -np.inf)
        for begin in range(0, n_configs, eta ** (len(levels) - 1)):
            configs = list(range(begin, min(n_configs, begin + eta ** (len(levels) - 1))))
            start = 0
            for stop in levels:
                scores = {}
                # A config at a time: an answer does not wait for the slowest of the rung.
                for config in configs:
                    values = yield [Job(config, s, start, stop) for s in range(n_seeds)]
                    scores[config] = _finite(float(np.mean(values)))
                    if (stop, scores[config]) > record:
                        record, state.answer = (stop, scores[config]), config
                configs = sorted(configs, key=scores.__getitem__, reverse=True)
                configs = [c for c in configs[: max(1, len(configs) // eta)] if scores[c] > -np.inf]
                start = stop

    return Batches(plan)


def hyperband_then_top_ten(
    shape: tuple[int, int, int], budget: float, eta: int = 3, n_top: int = 10
) -> Batches:
    """Hyperband on one seed (Li et al. 2017, arXiv:1603.06560, Algorithm 1), the top ten on all.

    It is the one method here that knows its budget. At most half of it is kept for the second
    stage, so with a small one fewer than ten are run on all seeds, but at least one. The answer is
    the best mean over all seeds, before there is one the best value at the highest epoch.
    """
    n_configs, n_seeds, n_epochs = shape
    levels = milestones(n_epochs, 1, eta)
    n_top = max(1, min(n_top, int(budget / 2 / (n_seeds - 1))))
    first_stage = (budget - n_top * (n_seeds - 1)) * n_epochs

    def plan(state: Batches) -> Plan:
        reached: dict[int, tuple[int, float]] = {}
        spent, begin, bracket = 0, 0, len(levels) - 1
        while spent < first_stage and begin < n_configs:
            width = int(np.ceil(len(levels) / (bracket + 1) * eta**bracket))
            configs = list(range(begin, min(n_configs, begin + width)))
            begin += len(configs)
            start = 0
            for stop in levels[len(levels) - 1 - bracket :]:
                jobs = [Job(config, 0, start, stop) for config in configs]
                jobs = jobs[: max(0, int(first_stage - spent) // (stop - start))]
                if not jobs:
                    spent = int(first_stage)
                    break
                spent += len(jobs) * (stop - start)
                values = yield jobs
                for job, value in zip(jobs, values, strict=True):
                    reached[job.config] = (stop, _finite(value))
                    if state.answer is None or reached[job.config] > reached[state.answer]:
                        state.answer = job.config
                ranked = sorted((job.config for job in jobs), key=reached.__getitem__, reverse=True)
                configs = ranked[: max(1, len(configs) // eta)]
                start = stop
            bracket = bracket - 1 if bracket else len(levels) - 1
        top = sorted(reached, key=reached.__getitem__, reverse=True)[:n_top]
        record = -np.inf
        for config in top:
            jobs = [Job(config, s, 0, n_epochs) for s in range(1, n_seeds)]
            if reached[config][0] < n_epochs:
                jobs.append(Job(config, 0, reached[config][0], n_epochs))
                first = []
            else:
                first = [reached[config][1]]
            values = yield jobs
            mean = _finite(float(np.mean(first + values)))
            if mean > record:
                record, state.answer = mean, config

    return Batches(plan)


def _finite(value: float) -> float:
    return value if np.isfinite(value) else -np.inf
