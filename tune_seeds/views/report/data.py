"""What the charts draw, as plain JSON: read from the race, nothing worked out anew."""

from __future__ import annotations

import math
from typing import Any

from tune_seeds.analysis.cost import spending
from tune_seeds.analysis.curves import mean_curve
from tune_seeds.analysis.errors import NothingToCompareError
from tune_seeds.analysis.group_summary import Standing, State, ranking
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.jsonable import flat
from tune_seeds.core.ledger import RunKey
from tune_seeds.race.race import Race
from tune_seeds.views.labels import config_text, differing, short_names, shortened, value_text

_MAX_RANKED = 25
_MAX_CURVES = 16
_MAX_POINTS = 200
# A numeric axis is logarithmic where its values span at least this factor.
_LOG_FACTOR = 50


def charts(results: StudyRecord) -> dict[str, Any]:
    """The data of all charts; a value that is not defined is None."""
    race = results.race
    standings = [results.standing(name) for name in ranking(race)]
    keys = differing(race.ledger.configs.values())
    labels = {item.group: _label(item, keys) for item in standings[:_MAX_RANKED]}
    return {
        "metric": str(race.ledger.metric),
        "higher": race.ledger.metric.higher_is_better,
        "seeds": [str(seed) for seed in race.ledger.seeds],
        "ranking": [_ranked(item, labels[item.group]) for item in standings[:_MAX_RANKED]],
        "curves": [_curve(race, item, labels[item.group]) for item in standings[:_MAX_CURVES]],
        "parallel": _parallel(race, standings),
        "marginals": _marginals(results),
        "spending": _spending(race),
    }


def _label(item: Standing, keys: list[str]) -> str:
    values = flat(item.config)
    chosen = {key: values[key] for key in keys if key in values}
    return shortened(config_text(chosen, 24), 120)


def _ranked(item: Standing, label: str) -> dict[str, Any]:
    return {
        "name": item.group,
        "config": label,
        "rung": str(item.rung) if item.rung else "",
        "state": str(item.state),
        "mean": item.estimate,
        "low": item.interval.low,
        "high": item.interval.high,
        "values": {str(seed): value for seed, value in item.values.items()},
    }


def _curve(race: Race, item: Standing, label: str) -> dict[str, Any]:
    points = _thinned(mean_curve(race, item.group))
    runs: list[dict[str, Any]] = []
    for seed in race.ledger.seeds:
        run = race.ledger[RunKey(item.group, seed)]
        epochs = _thinned(sorted(run.curve))
        if epochs:
            values = [race.ledger.metric.own(run.curve[epoch]) for epoch in epochs]
            runs.append({"seed": str(seed), "x": epochs, "y": values})
    return {
        "name": item.group,
        "config": label,
        "x": [point.epoch for point in points],
        "mean": [point.mean for point in points],
        "std": [point.std for point in points],
        "runs": runs,
    }


def _thinned(points: list[Any]) -> list[Any]:
    """At most about ``_MAX_POINTS``, the last one among them."""
    step = math.ceil(len(points) / _MAX_POINTS) or 1
    return points[::-1][::step][::-1]


def _parallel(race: Race, standings: list[Standing]) -> dict[str, Any]:
    shown = [item for item in standings if item.rung is not None]
    configs = [flat(item.config) for item in shown]
    keys = differing(item.config for item in shown)
    names = short_names(keys)
    axes = [_axis(names[key], [config.get(key) for config in configs]) for key in keys]
    axes.append(_axis("epochs", [float(item.epochs) for item in shown]))
    axes.append(_axis("seeds", [float(len(item.values)) for item in shown]))
    axes.append(_axis(str(race.ledger.metric), [item.score for item in shown]))
    return {
        "axes": axes,
        "names": [item.group for item in shown],
        "color": [item.score for item in shown],
        "failed": [item.state is State.FAILED for item in shown],
    }


def _axis(name: str, values: list[Any]) -> dict[str, Any]:
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) == len(values) and all(map(math.isfinite, numbers)) and numbers:
        low, high = min(numbers), max(numbers)
        if low > 0 and high >= _LOG_FACTOR * low:
            return {"name": name, "values": [math.log10(v) for v in numbers], "log": True}
        return {"name": name, "values": numbers}
    texts = [value_text(value, 24) for value in values]
    labels = sorted(set(texts))
    place = {label: k for k, label in enumerate(labels)}
    return {"name": name, "values": [place[text] for text in texts], "labels": labels}


def _marginals(results: StudyRecord) -> list[dict[str, Any]]:
    try:
        tables = results.marginals()
    except NothingToCompareError:
        return []
    return [
        {
            "name": name,
            "values": [shortened(row.value, 28) for row in rows],
            "mean": [row.mean for row in rows],
            "low": [row.interval.low for row in rows],
            "high": [row.interval.high for row in rows],
            "n": [row.n_configs for row in rows],
        }
        for name, rows in tables.items()
        if len(rows) > 1
    ]


def _spending(race: Race) -> list[dict[str, Any]]:
    return [
        {"rung": str(item.rung), "epochs": item.epochs, "groups": item.n_groups}
        for item in spending(race)
    ]
