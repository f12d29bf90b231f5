"""Which line of the learning curves looks how, and what the legend says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.views.figures import style
from tune_seeds.views.figures.configs import config_labels
from tune_seeds.views.figures.hyperparameters import (
    Hyperparameter,
    find,
    is_numeric,
    kinds,
    n_values,
    varied,
)

_N_COLORS, _N_DASHES = len(style.COLORS), len(style.DASHES)
# How many configs are shown, and how many of those with an entry each are visible at first.
_TOP, _TOP_BY_NAME, _VISIBLE = 40, 16, 6


@dataclass(frozen=True, slots=True)
class Look:
    """One colour and line style, and the configs that have it.

    Attributes:
        groups: their names.
        names: group → what tells it from others.
        color: of the lines.
        band: the same, transparent.
        dash: of the lines.
        label: in the legend, escaped; none if empty.
        visible: True, or ``"legendonly"`` where a click shows it.
    """

    groups: tuple[str, ...]
    names: Mapping[str, str]
    color: str
    band: str
    dash: str
    label: str
    visible: bool | str = True

    @property
    def key(self) -> str:
        """What belongs together when the legend is clicked."""
        return self.label or self.groups[0]


@dataclass(frozen=True, slots=True)
class Looks:
    """The looks of all configs.

    Attributes:
        top: how many configs are shown.
        legend: of the figure.
        legend_height: pixels that it needs below the chart.
        of: group → (sorting key, colour, line style, label).
        names: group → what tells it from others.
        is_by_name: whether each config has a look of its own.
        extra: traces that are only there for the legend and the colour scale.
        layout: what the figure needs beside them.
    """

    top: int
    legend: dict[str, Any]
    legend_height: int
    of: Mapping[str, tuple[tuple[float, int], str, str, str]]
    names: Mapping[str, str]
    is_by_name: bool = False
    extra: Sequence[dict[str, Any]] = ()
    layout: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def of_groups(self, groups: Sequence[str]) -> Iterator[Look]:
        """The looks that configs have, in the order of the legend; bad configs lie behind good."""
        found: dict[tuple[str, str, str], list[str]] = {}
        for group in sorted(groups, key=lambda name: self.of[name][0]):
            found.setdefault(self.of[group][1:], []).append(group)
        for k, ((color, dash, label), members) in enumerate(found.items()):
            visible = "legendonly" if self.is_by_name and k >= _VISIBLE else True
            band = style.faded(color)
            yield Look(tuple(members), self.names, color, band, dash, label, visible)


def looks(
    results: StudyRecord,
    names: Sequence[str],
    color: str | None,
    dash: str | None,
    top: int | None,
) -> Looks:
    """How configs are told apart; see ``curves.curves_figure``.

    Args:
        results: of the study.
        names: its groups, best first.
        color: the hyperparameter that colours, None for none.
        dash: that chooses line styles, None for none.
        top: how many configs at most, None for what can be told apart.
    """
    by_color = None if color is None else find(results, color, "color")
    by_dash = None if dash is None else find(results, dash, "dash")
    if color is None and dash is None:
        by_color, by_dash = _automatic(results, names)
    if by_color is None and by_dash is None:
        return _by_name(results, names, min(top or _TOP_BY_NAME, len(names)))
    n = min(top or _TOP, len(names))
    return _by_value(results, names[:n], by_color, by_dash)


def _automatic(
    results: StudyRecord, names: Sequence[str]
) -> tuple[Hyperparameter | None, Hyperparameter | None]:
    """One or two hyperparameters of few values say all: numbers are colours, names line styles."""
    found = varied(results)
    if len(names) < 2 or not 1 <= len(found) <= 2:
        return None, None
    found.sort(key=lambda one: not is_numeric(one, names))
    limits = (_N_COLORS, _N_DASHES)
    if any(n_values(one, names) > limit for one, limit in zip(found, limits, strict=False)):
        return None, None
    return found[0], found[1] if len(found) > 1 else None


def _by_name(results: StudyRecord, names: Sequence[str], top: int) -> Looks:
    labels = config_labels(results, list(names[:top]), 46)
    of = {
        name: (
            (0.0, k),
            style.COLORS[k % _N_COLORS],
            style.DASHES[k // _N_COLORS % _N_DASHES],
            style.safe(f"{name} {labels[name]}".strip()),
        )
        for k, name in enumerate(names[:top])
    }
    rows = -(-top // 2)
    return Looks(
        top, style.legend_below(), style.LEGEND_ROW * rows + 10, of, labels, is_by_name=True
    )


def _by_value(
    results: StudyRecord,
    names: Sequence[str],
    by_color: Hyperparameter | None,
    by_dash: Hyperparameter | None,
) -> Looks:
    dashes = None if by_dash is None else kinds(by_dash, names, _N_DASHES)
    scaled = (
        by_color is not None
        and n_values(by_color, names) > _N_COLORS
        and is_numeric(by_color, names)
    )
    colors = None if by_color is None or scaled else kinds(by_color, names, _N_COLORS)
    places = {name: by_color.place(name) or 0.0 for name in names} if by_color and scaled else {}
    low, high = min(places.values(), default=0.0), max(places.values(), default=1.0)
    of: dict[str, tuple[tuple[float, int], str, str, str]] = {}
    for name in names:
        texts: list[str] = []
        color, rank, style_number = style.COLORS[0], 0.0, 0
        if scaled:
            rank = places[name]
            color = style.shade((rank - low) / ((high - low) or 1.0))
        elif colors is not None:
            rank = colors.of[name]
            is_rest = colors.has_rest and rank == len(colors.labels) - 1
            color = style.QUIET if is_rest else style.COLORS[int(rank)]
            texts.append(colors.labels[int(rank)])
        if dashes is not None:
            style_number = dashes.of[name]
            texts.append(dashes.labels[style_number])
        label = "" if scaled else style.safe(", ".join(texts))
        of[name] = ((rank, style_number), color, style.DASHES[style_number], label)
    shown = [by_color, by_dash] if colors is not None else [by_dash]
    title = style.safe(", ".join(one.name for one in shown if one is not None), 60)
    extra: list[dict[str, Any]] = []
    if by_color is not None and scaled:
        extra.append(_color_bar(by_color, low, high))
        if dashes is not None:
            extra += [_dash_entry(k, label) for k, label in enumerate(dashes.labels)]
    legend = style.legend_above(f"{title}  " if title else "")
    return Looks(len(names), legend, 40, of, config_labels(results, list(names)), extra=extra)


def _color_bar(one: Hyperparameter, low: float, high: float) -> dict[str, Any]:
    """A trace without a point, which brings the scale."""
    bar: dict[str, Any] = {"title": {"text": style.safe(one.name, 30)}, "thickness": 12}
    if one.is_log:
        ticks = log_ticks(low, high)
        bar.update(tickvals=[place for place, _ in ticks], ticktext=[text for _, text in ticks])
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [None],
        "y": [None],
        "showlegend": False,
        "hoverinfo": "skip",
        "marker": {
            "color": [low],
            "cmin": low,
            "cmax": high,
            "colorscale": style.scale(),
            "showscale": True,
            "colorbar": bar,
        },
    }


def _dash_entry(k: int, label: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [None],
        "y": [None],
        "name": style.safe(label),
        "hoverinfo": "skip",
        "line": {"color": style.QUIET, "dash": style.DASHES[k]},
    }


def log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Ticks for decimal logarithms from ``low`` to ``high``: the ends and the powers between."""
    inner = [float(k) for k in range(-400, 400) if low < k < high]
    inner = inner[:: -(-len(inner) // 6) or 1]
    near = 0.08 * (high - low)
    inner = [k for k in inner if k - low > near and high - k > near]
    return [(place, f"{10**place:.3g}") for place in dict.fromkeys((low, *inner, high))]
