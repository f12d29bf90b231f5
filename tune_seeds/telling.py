"""What a searcher is told of the configs that it suggested, and how it is told again.

A searcher ranks configs by one number each, but a race scores them at many rungs, and a score of
many epochs or seeds does not compare with one of few. So a config is told on the scale of the
lowest rung, where all of them are scored (``on_one_scale``). A searcher whose record of a finished
trial can be changed hears a new value when a group is scored higher up; any other hears the score
of the lowest rung, once. A group that can't win, because a seed of it failed, is told as an error.

``experiments/benchmarks/retelling.py`` compares this with telling once, with the newest score as it
is (which misleads where scores sink as training goes on), and with ranks by rung.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, cast

from ray.tune.search import ConcurrencyLimiter, Searcher

from tune_seeds.ledger import Rung
from tune_seeds.race import Race


class Lesson(NamedTuple):
    """What there is to tell of one config, in the metric's own direction.

    Attributes:
        value: on the scale of the lowest rung; None where the config can't win any more.
        scores: place of the rung, from 1 for the lowest → score there, rising.
    """

    value: float | None
    scores: dict[int, float]


def on_one_scale(scores: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    """One value per group, such that groups compare whatever rungs they have come to.

    Every group starts with its score at the lowest rung. Then, rung by rung, the groups that are
    scored there share out anew the values that they hold among themselves, the best score there
    taking the best value. So of two groups with the same highest rung the one that is better there
    holds the higher value, those that wait keep their score, and every value is one that a config
    had at the lowest rung.

    Args:
        scores: group → place of the rung, from 1 → score, higher is better. Every group is scored
            at the lowest rung; others may be skipped.
    """
    values = {group: by_rung[1] for group, by_rung in scores.items()}
    for rung in sorted({rung for by_rung in scores.values() for rung in by_rung} - {1}):
        there = [group for group, by_rung in scores.items() if rung in by_rung]
        # Equal scores keep the order that they came with.
        there.sort(key=lambda group: (scores[group][rung], values[group]))
        values.update(zip(there, sorted(values[group] for group in there), strict=True))
    return values


def lessons(race: Race) -> dict[str, Lesson]:
    """What there is to tell of every group that is scored or can't win any more."""
    rungs, sign = list(enumerate(race.policy.rungs, start=1)), race.ledger.sign
    scores = {
        name: {place: group.scores[rung] for place, rung in rungs if rung in group.scores}
        for name, group in race.groups.items()
    }
    lost = {name for name, group in race.groups.items() if group.lost}
    values = on_one_scale({name: s for name, s in scores.items() if s and name not in lost})
    return {
        name: Lesson(
            sign * values[name] if name in values else None,
            {place: sign * score for place, score in scores[name].items()},
        )
        for name in scores
        if name in values or name in lost
    }


class Records(Protocol):
    """A searcher's records of finished trials, where they can be changed."""

    def number(self, name: str) -> int | None:
        """What finds a suggestion's record for good; None where there is none."""
        ...

    def change(self, number: int, lesson: Lesson) -> None:
        """Make a record say what there is to tell now."""
        ...


class Teller:
    """Tells a searcher what it has not heard.

    Args:
        searcher: suggested the configs.
        rungs: of the race, lowest first.
        metric: what the searcher calls the value.
    """

    def __init__(self, searcher: Searcher, rungs: tuple[Rung, ...], metric: str) -> None:
        #: suggestion → the number of its record; what a restore has to bring back.
        self.told: dict[str, int | None] = {}
        self._searcher = searcher
        self._rungs = rungs
        self._metric = metric
        self._records = _records(searcher)
        self._last: dict[str, Lesson] = {}

    def tell(self, name: str, lesson: Lesson) -> bool:
        """Tell of one suggestion.

        Returns:
            Whether the searcher heard anything.
        """
        if self._last.get(name) == lesson:
            return False
        self._last[name] = lesson
        if name not in self.told:
            self.told[name] = None if self._records is None else self._records.number(name)
            self._tell_first(name, lesson)
        elif self._records is None or self.told[name] is None:
            return False
        number = self.told[name]
        if self._records is not None and number is not None:
            self._records.change(number, lesson)
        return True

    def _tell_first(self, name: str, lesson: Lesson) -> None:
        if lesson.value is None:
            self._searcher.on_trial_complete(name, error=True)
            return
        first = self._rungs[0]
        result = {
            self._metric: lesson.scores[1],
            "epoch": first.epochs,
            "n_seeds": first.n_seeds,
            "training_iteration": 1,
        }
        self._searcher.on_trial_complete(name, result)


class HyperOptRecords:
    """HyperOpt's trial documents: TPE ranks them by the loss in their results at each suggestion.

    An error takes a document out of what TPE sees, as it does when Ray tells of it.
    """

    def __init__(self, searcher: Any) -> None:
        self._searcher = searcher

    def number(self, name: str) -> int | None:
        """HyperOpt's own number of a suggestion, which ``HyperOptSearch`` forgets once told."""
        known = self._searcher._live_trial_mapping.get(name)
        return None if known is None else int(known[0])

    def change(self, number: int, lesson: Lesson) -> None:
        """Write the loss and the state of one document."""
        from hyperopt.base import JOB_STATE_DONE, JOB_STATE_ERROR

        trials = self._searcher._hpopt_trials
        # Those with an error are in none of its other lists.
        document = next(doc for doc in trials._dynamic_trials if doc["tid"] == number)
        if lesson.value is None:
            document["state"] = JOB_STATE_ERROR
        else:
            loss = self._searcher.metric_op * lesson.value
            document.update(state=JOB_STATE_DONE, result={"loss": loss, "status": "ok"})
        trials.refresh()


class OptunaRecords:
    """Optuna's finished trials in memory: its samplers rank them by their values.

    The scores at the rungs are kept beside the value as intermediate values, which its samplers
    read of pruned trials only. Trials in a database of the user's can't be changed once finished.
    """

    def __init__(self, searcher: Any) -> None:
        self._searcher = searcher

    def number(self, name: str) -> int | None:
        """The number of the trial in its study."""
        trial = self._searcher._ot_trials.get(name)
        return None if trial is None else int(trial.number)

    def change(self, number: int, lesson: Lesson) -> None:
        """Write the value, the intermediate values and the state of one trial."""
        from optuna.trial import TrialState

        # Not copied, these are the trials that the samplers read.
        trial = self._searcher._ot_study.get_trials(deepcopy=False)[number]
        trial.state = TrialState.FAIL if lesson.value is None else TrialState.COMPLETE
        trial.value = lesson.value
        trial.intermediate_values = dict(lesson.scores)


def _records(searcher: Searcher) -> Records | None:
    # Imported only now: each brings its library, and reading results needs neither.
    from ray.tune.search.hyperopt import HyperOptSearch
    from ray.tune.search.optuna import OptunaSearch

    inner: Any = searcher
    while isinstance(inner, ConcurrencyLimiter) and not inner.batch:
        inner = cast(Any, inner).searcher
    if isinstance(inner, HyperOptSearch):
        return HyperOptRecords(inner)
    if isinstance(inner, OptunaSearch):
        from optuna.storages import InMemoryStorage

        study: Any = cast(Any, inner)._ot_study
        if isinstance(study._storage, InMemoryStorage) and len(study.directions) == 1:
            return OptunaRecords(inner)
    return None
