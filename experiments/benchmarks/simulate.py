"""Train on recorded curves: workers, jobs and a budget, but no training.

One simulated worker trains one epoch of one run in one unit of time. The budget counts epochs spent
by all workers together, in full trainings, so methods are compared at equal work whatever their
number of workers.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from benchmarks.tables import Table
from jaxtyping import Float


class Job(NamedTuple):
    """Train a run on: config and seed by their places in the draw, epochs (start, stop]."""

    config: int
    seed: int
    start: int
    stop: int


class Method(Protocol):
    """A search method as the simulator sees it."""

    def ask(self) -> Job | None:
        """The next job for a free worker; None to let it wait for running jobs, or to end."""
        ...

    def tell(self, job: Job, values: Sequence[float]) -> None:
        """A job ended: the metric after each of its epochs; NaN comes last and ends it early."""
        ...

    def best(self) -> int | None:
        """The config that would be the answer if the budget ended now."""
        ...


@dataclass(frozen=True, slots=True)
class Draw:
    """One repeat: a random order of configs, and K of the seeds for the search to see.

    Attributes:
        curves: what the search may see.
        by_seed: regret of each config on each seed of the table, in % of (best − median config),
            NaN on those the search sees. The best and the median config are those of the whole
            table, so the expected regret does not grow with the noise of the held-out mean. It is
            100 on each seed for a config that is no better than the median one on all of them.
        regret: its mean over the seeds the search never sees, at most 100.
    """

    curves: Float[np.ndarray, "config seed epoch"]
    by_seed: Float[np.ndarray, "config table_seed"]
    regret: Float[np.ndarray, " config"]


def draw(table: Table, n_seeds: int, *, rng: np.random.Generator) -> Draw:
    """Shuffle the configs and split the seeds into those for the search and those held out.

    A run without a last value counts as the worst run of the table. A config that is no better
    than the median one is no answer; so regret ends at 100, or a few diverging configs would
    decide every mean.

    Raises:
        ValueError: fewer than two seeds would be held out.
    """
    if table.n_seeds < n_seeds + 2:
        raise ValueError(
            f"{table.name} has {table.n_seeds} seeds: {n_seeds} for the search leave fewer than 2"
        )
    order, seeds = rng.permutation(table.n_configs), rng.permutation(table.n_seeds)
    last = table.curves[:, :, -1]
    last = np.where(np.isnan(last), np.nanmin(last), last)
    mean = last.mean(axis=1)
    best = int(np.argmax(mean))
    by_seed = 100 * (last[best] - last) / (mean[best] - np.median(mean))
    by_seed[:, seeds[:n_seeds]] = np.nan
    regret = np.nanmean(by_seed, axis=1)
    # Beyond the median there is no more to lose, on no seed: a diverged loss has no scale.
    by_seed[regret > 100] = np.where(np.isnan(by_seed[0]), np.nan, 100)
    curves = table.curves[order][:, seeds[:n_seeds]]
    return Draw(curves, by_seed[order], np.minimum(regret, 100)[order])


def simulate(
    method: Method,
    curves: Float[np.ndarray, "config seed epoch"],
    budgets: Sequence[float],
    n_workers: int = 1,
) -> list[int | None]:
    """Run a method and note its answer when each budget, in full trainings, is spent.

    A job that ends exactly at a budget still counts. A method that stops early keeps its answer.

    Args:
        method: what to run.
        curves: recorded curves.
        budgets: rising.
        n_workers: jobs that run at once, at least 1.
    """
    limits = [budget * curves.shape[2] for budget in budgets]
    answers: list[int | None] = []
    running: list[tuple[float, int, Job, np.ndarray]] = []
    now, spent, n_jobs = 0.0, 0.0, 0
    while len(answers) < len(limits):
        while len(running) < n_workers and (job := method.ask()) is not None:
            values = curves[job.config, job.seed, job.start : job.stop]
            bad = np.flatnonzero(np.isnan(values))
            values = values[: bad[0] + 1] if len(bad) else values
            heapq.heappush(running, (now + len(values), n_jobs, job, values))
            n_jobs += 1
        if not running:
            answers += [method.best()] * (len(limits) - len(answers))
            break
        n_busy = len(running)
        end, _, job, values = heapq.heappop(running)
        spent += (end - now) * n_busy
        now = end
        while len(answers) < len(limits) and spent > limits[len(answers)]:
            answers.append(method.best())
        method.tell(job, values.tolist())
    return answers


#: What a synchronous method is written as.
Plan = Generator[list[Job], list[float], None]


class Batches:
    """A synchronous method, written as a generator of batches of jobs, as ask and tell.

    Args:
        plan: yields a list of jobs, is sent the last value of each, in their order, NaN where the
            run diverged; sets the answer through ``answer``.
    """

    def __init__(self, plan: Callable[[Batches], Plan]) -> None:
        self.answer: int | None = None
        self._plan = plan(self)
        self._jobs = next(self._plan, [])
        self._n_asked = 0
        self._last: dict[Job, float] = {}

    def ask(self) -> Job | None:
        """The next job of the batch, or None until the batch is through."""
        if self._n_asked == len(self._jobs):
            return None
        self._n_asked += 1
        return self._jobs[self._n_asked - 1]

    def tell(self, job: Job, values: Sequence[float]) -> None:
        """Collect; the last job of a batch brings the next batch."""
        self._last[job] = values[-1]
        if len(self._last) == len(self._jobs):
            results = [self._last[job] for job in self._jobs]
            self._last, self._n_asked = {}, 0
            try:
                self._jobs = self._plan.send(results)
            except StopIteration:
                self._jobs = []

    def best(self) -> int | None:
        """The answer that the plan has set last."""
        return self.answer
