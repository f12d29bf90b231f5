"""The best configs of two studies on the same seeds: their difference, and what was changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tune_seeds.analysis.best_record import BestRecord
from tune_seeds.analysis.errors import NothingToCompareError
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.jsonable import flat
from tune_seeds.core.ledger import RunKey
from tune_seeds.statistics.comparison import (
    WinProbability,
    difference_interval,
    probability_of_beating,
)
from tune_seeds.statistics.intervals import Interval
from tune_seeds.statistics.shown import Shown

#: Fields of a header that say what was searched, and how.
_SETTINGS = ("num_samples", "policy", "reduction_factor", "n_finalists", "aggregate")

_CHOSEN = (
    "each was chosen on these very seeds as the best of its study, which flatters both, and the "
    "larger study more; confirm both on the same fresh seeds for a fair difference: "
    "results.confirm([1, 2, 3], top=1) of each"
)


@dataclass(frozen=True, slots=True, repr=False)
class StudyComparison(Shown):
    """The difference of two studies' best configs, A − B, paired over common seeds.

    Attributes:
        metric: of both studies.
        mode: ``"max"`` or ``"min"``; the difference is in the metric's own direction.
        groups: the names of the two configs, of A and of B.
        configs: their hyperparameters.
        scores: common seed → (A, B).
        fresh: whether these seeds are those of both confirmations, which chose neither config.
        difference: the mean of A − B.
        interval: paired t interval of the expected difference on a common fresh seed.
        wins: how probably A is better than B on one seed.
        space: what differs in the search spaces: flat key → (in A, in B), None where it is absent.
        settings: what else differs: name → (of A, of B).
        caveats: what the numbers can't promise.
    """

    metric: str
    mode: str
    groups: tuple[str, str]
    configs: tuple[dict[str, Any], dict[str, Any]]
    scores: dict[int, tuple[float, float]]
    fresh: bool
    difference: float
    interval: Interval
    wins: WinProbability
    space: dict[str, tuple[Any, Any]]
    settings: dict[str, tuple[Any, Any]]
    caveats: tuple[str, ...]

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        for seed, (a, b) in self.scores.items():
            yield {"seed": seed, "A": a, "B": b, "A - B": a - b}

    def _notes(self) -> Sequence[str]:
        return (str(self),)

    def __str__(self) -> str:
        low, high = self.interval
        kind = "fresh seeds of both confirmations" if self.fresh else "seeds of both studies"
        a, b = np.mean(list(self.scores.values()), axis=0)
        lines = [
            f"{self.metric} ({self.mode}) on the {kind} {', '.join(map(str, self.scores))}",
            f"A: {self.groups[0]} {_text(self.configs[0])}: {a:.5g}",
            f"B: {self.groups[1]} {_text(self.configs[1])}: {b:.5g}",
            f"A - B: {self.difference:+.5g}"
            + (
                ""
                if low != low
                else f", {self.interval.level:.0%} interval {low:+.5g} to {high:+.5g}"
            ),
            f"A is better on {self.wins.wins} of {self.wins.n} seeds"
            + (f", equal on {self.wins.ties}" if self.wins.ties else ""),
        ]
        for name, (one, other) in {**self.space, **self.settings}.items():
            where = "space" if name in self.space else "study"
            lines.append(f"{where}: {name} was {_shown(one)} in A, is {_shown(other)} in B")
        lines.extend(f"note: {caveat}" for caveat in self.caveats)
        return "\n".join(lines)


def compare_studies(one: StudyRecord, other: StudyRecord, level: float = 0.95) -> StudyComparison:
    """Compare the best configs of two studies on the seeds that both were scored on.

    Where both bests were confirmed on common fresh seeds, these are taken: they chose neither.

    Args:
        one: A.
        other: B.
        level: of the interval, in (0, 1).

    Raises:
        ValueError: the studies follow different metrics, or in different directions.
        NothingToCompareError: the two configs share no seed, or were scored at different epochs.
        NoCompleteGroupError: one of the studies has no best config.
    """
    a, b = one.header, other.header
    if (a.metric, a.mode) != (b.metric, b.mode):
        raise ValueError(
            f"A follows {a.metric!r} ({a.mode}) and B {b.metric!r} ({b.mode}): their scores can't "
            "be compared"
        )
    bests = (one.best, other.best)
    if bests[0].rung.epochs != bests[1].rung.epochs:
        raise NothingToCompareError(
            f"the best of A is scored after {bests[0].rung.epochs} {a.time_attr}s and that of B "
            f"after {bests[1].rung.epochs}: configs are compared at equal ones"
        )
    confirmed = [_confirmed(study, best) for study, best in zip((one, other), bests, strict=True)]
    fresh = _paired(*confirmed)
    scores = fresh if len(fresh) > 1 else _paired(bests[0].scores, bests[1].scores)
    if not scores:
        raise NothingToCompareError(
            f"the studies share no seed: A has {', '.join(map(str, bests[0].scores))}, B "
            f"{', '.join(map(str, bests[1].scores))}; pairs need the same ones, as in "
            f"SeedTuner(seeds={list(one.seeds)})"
        )
    pairs = np.array(list(scores.values()), dtype=np.float64)
    sign = 1.0 if one.ledger.metric.higher_is_better else -1.0
    interval = difference_interval(
        sign * pairs[:, 0],
        sign * pairs[:, 1],
        level=level,
        resolution=max(one.resolution, other.resolution),
    )
    return StudyComparison(
        metric=a.metric,
        mode=a.mode,
        groups=(bests[0].group, bests[1].group),
        configs=(bests[0].config, bests[1].config),
        scores=scores,
        fresh=scores is fresh,
        difference=float(np.mean(pairs[:, 0] - pairs[:, 1])),
        interval=one.ledger.metric.own_interval(interval),
        wins=probability_of_beating(sign * pairs[:, 0], sign * pairs[:, 1], level=level),
        space=_changed(flat(a.param_space), flat(b.param_space)),
        settings={
            name: values
            for name, values in _changed(
                {n: getattr(a, n) for n in _SETTINGS}
                | {"rungs": " ".join(map(str, a.rungs)), "seeds": list(one.seeds)},
                {n: getattr(b, n) for n in _SETTINGS}
                | {"rungs": " ".join(map(str, b.rungs)), "seeds": list(other.seeds)},
            ).items()
        },
        caveats=tuple(_caveats(one, other, bests, scores is fresh, interval)),
    )


def _caveats(
    one: StudyRecord,
    other: StudyRecord,
    bests: tuple[BestRecord, BestRecord],
    fresh: bool,
    interval: Interval,
) -> list[str]:
    caveats = [] if fresh else [_CHOSEN]
    for name, study, best in zip("AB", (one, other), bests, strict=True):
        if not best.complete:
            caveats.append(f"{name} is not finished: {study.completeness}")
        if best.failures:
            caveats.append(
                f"of {name}'s best the seeds {', '.join(map(str, best.failures))} failed"
            )
    return [*caveats, interval.caveat] if interval.caveat else caveats


def _confirmed(study: StudyRecord, best: BestRecord) -> dict[int, float]:
    """Fresh seed → score of a study's best config, where it was confirmed."""
    epochs = best.rung.epochs
    found: dict[int, float] = {}
    for seed in study.ledger.fresh_seeds:
        if RunKey(best.group, seed) in study.ledger:
            values = study.ledger.values_on(best.group, [seed], epochs)
            if values is not None:
                found[seed] = study.ledger.metric.own(values[0])
    return found


def _paired(a: dict[int, float], b: dict[int, float]) -> dict[int, tuple[float, float]]:
    return {seed: (a[seed], b[seed]) for seed in a if seed in b}


def _changed(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = dict.fromkeys([*a, *b])
    return {key: (a.get(key), b.get(key)) for key in keys if a.get(key) != b.get(key)}


def _text(config: dict[str, Any]) -> str:
    return " ".join(
        f"{key}={value:.5g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in flat(config).items()
    )


def _shown(value: Any) -> str:
    return "absent" if value is None else str(value)
