"""Train on recorded curves: workers, jobs and a clock, but no training.

Workers train epoch by epoch; an epoch takes one unit of time, or what is given for it. A budget
counts epochs spent by all workers together, in full trainings, so methods are compared at equal
work whatever their number of workers; or it counts time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterator, Sequence
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


class Moment(NamedTuple):
    """A moment at which epochs end, just before the method hears of them.

    Attributes:
        now: the time.
        spent: epochs trained by then, by all workers together.
        busy: time that workers were busy by then, over all of them.
    """

    now: float
    spent: int
    busy: float


def play(
    method: Method,
    curves: Float[np.ndarray, "config seed epoch"],
    n_workers: int = 1,
    hours: Float[np.ndarray, "config seed epoch"] | None = None,
) -> Iterator[Moment]:
    """Run a method to its end, and stop at each moment at which epochs end.

    Args:
        method: what to run.
        curves: recorded curves.
        n_workers: jobs that run at once, at least 1.
        hours: how long each epoch takes, above 0; one unit of time each where it is None.
    """
    took = np.ones(curves.shape) if hours is None else hours
    running: list[tuple[float, int, int]] = []  # when the next epoch of which job ends, and which
    jobs: list[tuple[Job, np.ndarray, np.ndarray]] = []
    now, spent, busy = 0.0, 0, 0.0
    while True:
        while len(running) < n_workers and (job := method.ask()) is not None:
            values = curves[job.config, job.seed, job.start : job.stop]
            bad = np.flatnonzero(np.isnan(values))
            values = values[: bad[0] + 1] if len(bad) else values
            ends = now + np.cumsum(took[job.config, job.seed, job.start :][: len(values)])
            heapq.heappush(running, (float(ends[0]), len(jobs), 0))
            jobs.append((job, values, ends))
        if not running:
            return
        busy += (running[0][0] - now) * len(running)
        now = running[0][0]
        ended: list[int] = []
        while running and running[0][0] == now:
            _, number, epoch = heapq.heappop(running)
            spent += 1
            ends = jobs[number][2]
            if epoch + 1 < len(ends):
                heapq.heappush(running, (float(ends[epoch + 1]), number, epoch + 1))
            else:
                ended.append(number)
        yield Moment(now, spent, busy)
        for number in sorted(ended):
            method.tell(jobs[number][0], jobs[number][1].tolist())


def simulate(
    method: Method,
    curves: Float[np.ndarray, "config seed epoch"],
    budgets: Sequence[float],
    n_workers: int = 1,
    hours: Float[np.ndarray, "config seed epoch"] | None = None,
    *,
    by_time: bool = False,
) -> list[int | None]:
    """Run a method and note its answer when each budget, in full trainings, is spent.

    A job that ends exactly at a budget still counts. A method that stops early keeps its answer.

    Args:
        method: what to run.
        curves: recorded curves.
        budgets: rising.
        n_workers: jobs that run at once, at least 1.
        hours: as for ``play``.
        by_time: count time instead of work: a budget is that of so many full trainings, one after
            another, of one unit of time per epoch.
    """
    limits = [budget * curves.shape[2] for budget in budgets]
    answers: list[int | None] = []
    for moment in play(method, curves, n_workers, hours):
        while (moment.now if by_time else moment.spent) > limits[len(answers)]:
            answers.append(method.best())
            if len(answers) == len(limits):
                return answers
    return answers + [method.best()] * (len(limits) - len(answers))


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
