"""The effect of each hyperparameter: the mean score of the configs that share a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tune_seeds.analysis.errors import NothingToCompareError
from tune_seeds.analysis.finalists.score_table import ScoreTable, meeting_rung, score_table
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.rungs import Rung
from tune_seeds.statistics.marginals import (
    Level,
    Marginal,
    as_number,
    columns,
    label,
    levels,
)
from tune_seeds.views.figures import style
from tune_seeds.views.figures.hyperparameters import Hyperparameter, find, varied
from tune_seeds.views.figures.study_figure import StudyFigure, figure
from tune_seeds.views.labels import value_text

_MAX_CHARTS, _MAX_WIDE = 24, 3
_ROW, _HEAD = 240, 26
# Room below for labels: of names, which stand aslant, and of numbers.
_FOOT_OF_NAMES, _FOOT = 70, 30


@dataclass(frozen=True, slots=True)
class _Panel:
    """One hyperparameter: its marginals, and where they and the single configs stand."""

    name: str
    rows: tuple[Marginal, ...]
    parts: tuple[Level, ...]
    labels: tuple[str, ...]
    numbers: list[float] | None  # of each config, where values were cut into ranges
    is_log: bool

    @property
    def is_aslant(self) -> bool:
        """Whether its labels are too long to stand side by side."""
        return self.numbers is None and any(len(text) > 6 for text in self.labels)


def marginals_figure(
    results: StudyRecord,
    names: Sequence[str] = (),
    level: float = 0.95,
    rung: Rung | None = None,
) -> StudyFigure:
    """One chart for each hyperparameter: its values, and the mean score of the configs with each.

    Vertical: the metric at one rung, in its own unit. Diamonds are the means of
    ``results.marginals()`` with their intervals, which hold for other configs on other seeds; faint
    dots are single configs, their mean over the seeds. Horizontal: the values; numbers that were
    cut into ranges stand on their scale, logarithmic where they were searched on one, and a
    diamond's horizontal line is its range.

    Args:
        results: of the study.
        names: the hyperparameters, by short names or whole keys; if empty, all that differ, up to
            24.
        level: of the intervals, in (0, 1); higher is wider.
        rung: of the groups scored there; if None, the one where most configs meet.

    Raises:
        NothingToCompareError: no config has every seed at that rung, or none of the hyperparameters
            differs there.
        ValueError: the study has no such hyperparameter or rung, or the level is out of range.
    """
    at = rung or meeting_rung(results.race)
    tables = results.marginals(level, rung)
    table = score_table(results.race, at)
    of_table = {_dotted(name): name for name in tables}
    found = [find(results, name, "names") for name in names]
    if same := [one.name for one in found if _dotted(one.key) not in of_table]:
        raise NothingToCompareError(
            f"all configs at the rung {at} have the same value of {', '.join(same)}"
        )
    chosen = found or [one for one in varied(results) if _dotted(one.key) in of_table]
    if not chosen:
        raise NothingToCompareError(f"the configs at the rung {at} do not differ")
    values = columns(table.configs)
    panels: list[_Panel] = []
    for one in chosen[:_MAX_CHARTS]:
        name = of_table[_dotted(one.key)]
        panels.append(_panel(one, tables[name], values[name]))
    return _drawn(results, panels, table, at, n_left_out=len(chosen) - len(panels))


def keys_with_marginals(results: StudyRecord) -> list[str]:
    """The hyperparameters that such a figure can be of, up to as many as one shows.

    Raises:
        NothingToCompareError: no config has every seed at the rung where most configs meet.
    """
    names = {_dotted(name) for name in results.marginals()}
    return [one.key for one in varied(results) if _dotted(one.key) in names][:_MAX_CHARTS]


def _dotted(name: str) -> str:
    """Tables call what is nested ``model.lr``, configs ``model/lr``."""
    return name.replace("/", ".")


def _panel(one: Hyperparameter, rows: tuple[Marginal, ...], values: Sequence[object]) -> _Panel:
    parts = levels(values)
    found = [as_number(value) for value in values]
    numbers = [number for number in found if number is not None]
    ranged = len(numbers) == len(found) and len(set(numbers)) > len(parts)
    labels = tuple(
        value_text(next(iter(own.values())), 20) if len(own) == 1 else part.value
        for part in parts
        for own in [{label(values[k]): values[k] for k in part.members.tolist()}]
    )
    scale = numbers if ranged else None
    return _Panel(one.name, rows, parts, labels, scale, one.is_log and ranged)


def _drawn(
    results: StudyRecord, panels: list[_Panel], table: ScoreTable, at: Rung, n_left_out: int
) -> StudyFigure:
    wide = len(panels) if len(panels) <= _MAX_WIDE else 2 if len(panels) == 4 else _MAX_WIDE
    deep = -(-len(panels) // wide)
    foot = _FOOT_OF_NAMES if any(panel.is_aslant for panel in panels) else _FOOT
    height = (_ROW + foot - _FOOT) * deep
    own = results.ledger.metric.own
    scores = [own(score) for score in table.scores.mean(axis=1).tolist()]
    traces: list[dict[str, Any]] = []
    more: dict[str, Any] = {}
    headings: list[dict[str, Any]] = []
    for k, panel in enumerate(panels):
        n = "" if k == 0 else str(k + 1)
        column, row = k % wide, k // wide
        left = column / wide + (0.04 if column else 0.0)
        above = 1 - row / deep - _HEAD / height
        traces += _traces(panel, scores, table.groups, n)
        more[f"xaxis{n}"] = {
            "anchor": f"y{n}",
            "domain": [left, (column + 1) / wide - 0.015],
            "tickfont": {"size": 10},
            **_axis(panel),
        }
        more[f"yaxis{n}"] = {
            "anchor": f"x{n}",
            "domain": [1 - (row + 1) / deep + foot / height, above],
            "tickfont": {"size": 10},
        }
        headings.append(style.heading(f"<b>{style.safe(panel.name, 40)}</b>", left, above))
    metric = style.safe(results.ledger.metric, 40)
    said = f", {n_left_out} more hyperparameters are not shown" if n_left_out else ""
    headings[0]["text"] += f"  {metric} at rung {at}{said}" if len(panels) == 1 else ""
    title = {} if len(panels) == 1 else {"text": f"{metric} at rung {at}{said}"}
    return figure(
        traces,
        height=height + (30 if title else 0),
        annotations=headings,
        showlegend=False,
        title={**title, "x": 0.01, "y": 0.99, "yanchor": "top", "font": {"size": 12}},
        margin={"l": 8, "r": 8, "t": 34 if title else 4, "b": 4},
        **more,
    )


def _axis(panel: _Panel) -> dict[str, Any]:
    if panel.numbers is not None:
        scale = "log" if panel.is_log else "linear"
        return {"type": scale, "nticks": 5, "exponentformat": "power"}
    texts = [style.safe(text) for text in panel.labels]
    return {
        "tickvals": list(range(len(texts))),
        "ticktext": texts,
        "range": [-0.5, len(texts) - 0.5],
        "tickangle": 28 if panel.is_aslant else 0,
    }


def _traces(
    panel: _Panel, scores: list[float], groups: Sequence[str], n: str
) -> list[dict[str, Any]]:
    axes: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "xaxis": f"x{n}",
        "yaxis": f"y{n}",
    }
    x: list[float] = []
    reach: list[tuple[float, float]] = []
    dots: list[tuple[float, float, str]] = []
    for k, part in enumerate(panel.parts):
        members: list[int] = part.members.tolist()
        if panel.numbers is None:
            x.append(float(k))
            at = [k + _aside(i) for i in range(len(members))]
        else:
            at = [panel.numbers[i] for i in members]
            low, high = min(at), max(at)
            middle = (low * high) ** 0.5 if panel.is_log else low / 2 + high / 2
            x.append(middle)
            reach.append((low, high))
        dots += [(place, scores[i], groups[i]) for place, i in zip(at, members, strict=True)]
    rows = panel.rows
    centers = [row.mean for row in rows]
    ends = [(row.interval.low, row.interval.high) for row in rows]
    means: dict[str, Any] = {
        **axes,
        "x": x,
        "y": style.numbers(centers),
        "marker": {"color": style.COLORS[0], "size": 9, "symbol": "diamond"},
        "error_y": style.bars(centers, ends, style.COLORS[0]),
        "customdata": [[style.safe(row.value, 40), row.n_configs] for row in rows],
        "hovertemplate": "%{customdata[0]}: %{y}<br>%{customdata[1]} configs<extra></extra>",
    }
    if panel.numbers is not None:
        means["error_x"] = {**style.bars(x, reach, style.COLORS[0]), "width": 0}
    single = {
        **axes,
        "x": [place for place, _, _ in dots],
        "y": style.numbers([score for _, score, _ in dots]),
        "marker": {"color": style.QUIET, "size": 5, "opacity": 0.35},
        "customdata": [group for _, _, group in dots],
        "hovertemplate": "%{customdata}: %{y}<extra></extra>",
    }
    return [single, means]


def _aside(k: int) -> float:
    """A place beside the value, so that configs with the same one do not hide each other."""
    # Multiples of the golden ratio are spread evenly, and a config's place says nothing.
    return 0.4 * (k * 0.618034 % 1 - 0.5) if k else 0.0
