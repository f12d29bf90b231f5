"""Where the configs of a race stand: what the live views show, read from the race alone."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from tune_seeds.core.ledger import Outcome, RunKey
from tune_seeds.core.rungs import TO_THE_END, Rung
from tune_seeds.race.race import Race
from tune_seeds.statistics.aggregate import Aggregate
from tune_seeds.statistics.aggregate_intervals import aggregate_interval
from tune_seeds.statistics.intervals import Interval, undefined_interval
from tune_seeds.statistics.metric_range import MetricRange
from tune_seeds.statistics.random_effects import Expected


class State(StrEnum):
    """What a group is doing."""

    RUNNING = "running"
    QUEUED = "queued"  # a run of it should train, and has no slot yet
    WAITING = "waiting"  # scored; goes on if it comes into the top of its rung
    STOPPED = "stopped"  # scored, and nothing is left to be trained
    UNFINISHED = "unfinished"  # runs of it were under way when the study was left
    FAILED = "failed"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Standing:
    """One group at its last complete rung.

    Attributes:
        group: its name.
        config: the hyperparameters, without the seed.
        state: what it is doing.
        goal: the rung it heads for, or waits at.
        rung: its last complete rung, None before the first.
        epochs: epochs of the runs at that rung, 0 before the first.
        score: the aggregate of the metric there, in the metric's own direction; NaN before.
        values: seed → what was aggregated, in the metric's own direction: the metric at exactly
            the rung's epochs; of a failed seed nothing, or the worst of the rung, as declared.
        std: their sample standard deviation (n − 1), NaN with fewer than two.
        estimate: the expected score on a fresh seed: by the model of the whole study where
            ``standing`` was given it, else the score.
        interval: 95 % interval of ``estimate``; of the model it knows that configs were chosen.
        seeds_interval: 95 % interval of the score from these seeds alone, as if the config had
            been the only one; undefined with fewer than two.
        n_arrived: seeds that have come to the goal.
        failures: seed → why it failed.
    """

    group: str
    config: dict[str, Any]
    state: State
    goal: Rung
    rung: Rung | None
    epochs: int
    score: float
    values: dict[int, float]
    std: float
    estimate: float
    interval: Interval
    seeds_interval: Interval
    n_arrived: int
    failures: dict[int, str]

    @property
    def is_modelled(self) -> bool:
        """Whether ``estimate`` and ``interval`` come from the model of the whole study."""
        return self.interval is not self.seeds_interval


def ranking(race: Race, n: int | None = None) -> list[str]:
    """The names of the groups, best first: highest rung, then score; failed ones last.

    Args:
        race: read only.
        n: how many, all if None.
    """
    level = {rung: k for k, rung in enumerate(race.policy.rungs)}

    def cost(name: str) -> tuple[bool, int, float, int]:
        group = race.groups[name]
        top = max((level[rung] for rung in group.scores), default=-1)
        score = group.scores[race.policy.rungs[top]] if top >= 0 else -math.inf
        return group.lost, -top, -score, group.index

    names = race.groups
    return sorted(names, key=cost) if n is None else heapq.nsmallest(n, names, key=cost)


def standing(
    race: Race,
    name: str,
    *,
    live: bool = False,
    resolution: float = 0.0,
    expected: Expected | None = None,
    within: MetricRange | None = None,
) -> Standing:
    """Where one group stands.

    Args:
        race: read only.
        name: of the group.
        resolution: step of the metric's values; scores that agree to within it are not certain.
        live: whether runs are being trained now, and a group at a lower rung may yet go on.
        expected: of the group, by the model of the whole study.
        within: the range of the metric; intervals end at its ends.
    """
    group, ledger = race.groups[name], race.ledger
    scored = [rung for rung in race.policy.rungs if rung in group.scores]
    rung = scored[-1] if scored else None
    turned = {} if rung is None else group.values[rung]
    values = ledger.metric.own_by_seed(turned)
    std = float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else math.nan
    score = math.nan if rung is None else ledger.metric.own(group.scores[rung])
    of_seeds = _interval(race, turned, resolution)
    of_seeds = of_seeds if within is None else within.clipped(of_seeds)
    return Standing(
        group=name,
        config=ledger.configs[name],
        state=_state(race, name, live),
        goal=group.goal,
        rung=rung,
        epochs=_epochs(race, name, rung),
        score=score,
        values=values,
        std=std,
        estimate=score if expected is None else expected.estimate,
        interval=of_seeds if expected is None else expected.interval,
        seeds_interval=of_seeds,
        n_arrived=_n_arrived(race, name),
        failures=dict(group.failures),
    )


def fresh_standing(race: Race, name: str, seeds: Sequence[int]) -> Standing:
    """Where one group stands on the seeds of its confirmation, after every epoch.

    Args:
        race: read only.
        name: of the group.
        seeds: those it was asked to be confirmed on.
    """
    ledger, top = race.ledger, race.policy.rungs[-1]
    rung = Rung(top.epochs, len(seeds))
    runs = {seed: ledger[RunKey(name, seed)] for seed in seeds}
    failures = {seed: run.error for seed, run in runs.items() if run.error is not None}
    turned = ledger.values_on(name, seeds, top.epochs)
    by_seed = dict(zip(seeds, turned or (), strict=False))
    values = ledger.metric.own_by_seed(by_seed)
    epochs = runs[seeds[0]].last_epoch if top.epochs == TO_THE_END else top.epochs
    state = State.COMPLETE if values else State.FAILED if failures else State.UNFINISHED
    aggregate = race.aggregate
    score = math.nan
    if by_seed and isinstance(aggregate, Aggregate):
        score = ledger.metric.own(aggregate.score(list(by_seed.values())))
    interval = _interval(race, by_seed, 0.0)
    return Standing(
        group=name,
        config=ledger.configs[name],
        state=state,
        goal=rung,
        rung=rung if values else None,
        epochs=epochs if values else 0,
        score=score,
        values=values,
        std=float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else math.nan,
        estimate=score,
        interval=interval,
        seeds_interval=interval,
        n_arrived=sum(run.last_epoch >= epochs for run in runs.values()),
        failures=failures,
    )


def _interval(race: Race, turned: dict[int, float], resolution: float) -> Interval:
    """Of the score; a user's own aggregate is bootstrapped, with the study's seeds as its seed."""
    if not isinstance(race.aggregate, Aggregate) or not turned:
        return undefined_interval(0.95, "none")
    rng = np.random.default_rng(race.ledger.seeds)
    scores = np.array(list(turned.values()))
    interval = aggregate_interval(scores, race.aggregate, rng=rng, resolution=resolution)
    return race.ledger.metric.own_interval(interval)


def _state(race: Race, name: str, live: bool) -> State:
    group = race.groups[name]
    if group.lost:
        return State.FAILED
    if race.policy.rungs[-1] in group.scores and not group.stale:
        return State.COMPLETE
    if not group.heading:
        return State.WAITING if live and not race.search_over else State.STOPPED
    if not live:
        return State.UNFINISHED
    keys = {RunKey(name, seed) for seed in race.ledger.seeds}
    return State.RUNNING if keys & race.busy else State.QUEUED


def _epochs(race: Race, name: str, rung: Rung | None) -> int:
    if rung is None:
        return 0
    if rung.epochs != TO_THE_END:
        return rung.epochs
    return race.ledger[RunKey(name, race.ledger.seeds[0])].last_epoch


def _n_arrived(race: Race, name: str) -> int:
    goal = race.groups[name].goal
    runs = [race.ledger[RunKey(name, seed)] for seed in race.ledger.seeds[: goal.n_seeds]]
    if goal.epochs == TO_THE_END:
        return sum(run.outcome is Outcome.COMPLETED for run in runs)
    return sum(goal.epochs in run.curve for run in runs)
