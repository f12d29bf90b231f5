"""What a searcher is told of the configs that it suggested, and how it is told again.

A searcher ranks configs by one number each, but a race scores them at many rungs, and a score of
many epochs or seeds does not compare with one of few. So a config is told on the scale of the
lowest rung, where all of them are scored (``on_one_scale``). A searcher whose record of a finished
trial can be changed hears a new value when a group is scored higher up; any other hears the score
of the lowest rung, once. A group that can't win, because a seed of it failed, is told as an error.

``experiments/benchmarks/RESULTS.md`` compares this with telling once, with the newest score as it
is (which misleads where scores sink as training goes on), and with ranks by rung.
"""

from __future__ import annotations

from collections.abc import Mapping

from ray.tune.search import Searcher

from tune_seeds.core.rungs import Rung
from tune_seeds.engine.searcher_records import Lesson, records_of
from tune_seeds.race.race import Race


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
    rungs, metric = list(enumerate(race.policy.rungs, start=1)), race.ledger.metric
    scores = {
        name: {place: group.scores[rung] for place, rung in rungs if rung in group.scores}
        for name, group in race.groups.items()
    }
    lost = {name for name, group in race.groups.items() if group.lost}
    values = on_one_scale({name: s for name, s in scores.items() if s and name not in lost})
    return {
        name: Lesson(
            metric.own(values[name]) if name in values else None,
            {place: metric.own(score) for place, score in scores[name].items()},
        )
        for name in scores
        if name in values or name in lost
    }


class Teller:
    """Tells a searcher what it has not heard.

    Args:
        searcher: suggested the configs.
        rungs: of the race, lowest first.
        metric: what the searcher calls the value.
    """

    def __init__(self, searcher: Searcher, rungs: tuple[Rung, ...], metric: str) -> None:
        self._told: dict[str, int | None] = {}
        self._searcher = searcher
        self._rungs = rungs
        self._metric = metric
        self._records = records_of(searcher)
        self._last: dict[str, Lesson] = {}

    @property
    def told(self) -> dict[str, int | None]:
        """Suggestion → the number of its record; what a restore has to bring back."""
        return dict(self._told)

    def resume(self, told: Mapping[str, int | None]) -> None:
        """Go on where another process had come to, whose ``told`` this is."""
        self._told = dict(told)

    def tell(self, name: str, lesson: Lesson) -> bool:
        """Tell of one suggestion.

        Returns:
            Whether the searcher heard anything.
        """
        if self._last.get(name) == lesson:
            return False
        self._last[name] = lesson
        if name not in self._told:
            self._told[name] = None if self._records is None else self._records.number(name)
            self._tell_first(name, lesson)
        elif self._records is None or self._told[name] is None:
            return False
        number = self._told[name]
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
