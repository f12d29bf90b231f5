"""The records that HyperOpt and Optuna keep of finished trials, which can be changed."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, cast

from ray.tune.search import ConcurrencyLimiter, Searcher

from tune_seeds._compat import searchers


class Lesson(NamedTuple):
    """What there is to tell of one config, in the metric's own direction.

    Attributes:
        value: on the scale of the lowest rung; None where the config can't win any more.
        scores: place of the rung, from 1 for the lowest → score there, rising.
    """

    value: float | None
    scores: dict[int, float]


class Records(Protocol):
    """A searcher's records of finished trials, where they can be changed."""

    def number(self, name: str) -> int | None:
        """What finds a suggestion's record for good; None where there is none."""
        ...

    def change(self, number: int, lesson: Lesson) -> None:
        """Make a record say what there is to tell now."""
        ...


class HyperOptRecords:
    """HyperOpt's trial documents: TPE ranks them by the loss in their results at each suggestion.

    An error takes a document out of what TPE sees, as it does when Ray tells of it.
    """

    def __init__(self, searcher: Any) -> None:
        self._searcher = searcher

    def number(self, name: str) -> int | None:
        """The number of a suggestion's document."""
        return searchers.hyperopt_number(self._searcher, name)

    def change(self, number: int, lesson: Lesson) -> None:
        """Write the loss and the state of one document."""
        searchers.set_hyperopt_result(self._searcher, number, lesson.value)


class OptunaRecords:
    """Optuna's finished trials in memory: its samplers rank them by their values.

    The scores at the rungs are kept beside the value as intermediate values, which its samplers
    read of pruned trials only. Trials in a database of the user's can't be changed once finished.
    """

    def __init__(self, searcher: Any) -> None:
        self._searcher = searcher

    def number(self, name: str) -> int | None:
        """The number of the trial in its study."""
        return searchers.optuna_number(self._searcher, name)

    def change(self, number: int, lesson: Lesson) -> None:
        """Write the value, the intermediate values and the state of one trial."""
        searchers.set_optuna_result(self._searcher, number, lesson.value, lesson.scores)


def records_of(searcher: Searcher) -> Records | None:
    """The records of a searcher; None where they can't be changed."""
    # Imported only now: each brings its library, and reading results needs neither.
    from ray.tune.search.hyperopt import HyperOptSearch
    from ray.tune.search.optuna import OptunaSearch

    inner: Any = searcher
    while isinstance(inner, ConcurrencyLimiter) and not inner.batch:
        inner = cast(Any, inner).searcher
    if isinstance(inner, HyperOptSearch):
        return HyperOptRecords(inner)
    if isinstance(inner, OptunaSearch) and searchers.optuna_keeps_in_memory(inner):
        return OptunaRecords(inner)
    return None
