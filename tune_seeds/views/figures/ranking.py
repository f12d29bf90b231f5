"""The configs of a study, best first, with the score of each seed and what is expected."""

from __future__ import annotations

from typing import Any

from tune_seeds.analysis.errors import NothingToCompareError
from tune_seeds.analysis.group_summary import Standing, ranking
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core import checks
from tune_seeds.views.figures import style
from tune_seeds.views.figures.configs import config_labels
from tune_seeds.views.figures.study_figure import StudyFigure, figure

_ROW, _GAP, _HEAD = 26, 62, 24
# Each seed has a mark of its own up to here; more can't be told apart.
_MAX_MARKS = 6


def ranking_figure(results: StudyRecord, top: int = 25) -> StudyFigure:
    """One row per config, best first; one chart for each rung, because these do not compare.

    Horizontal: the metric, in its own unit. Small open marks are the scores of single seeds. The
    diamond is what the config is expected to score on a fresh seed, by the model of all configs,
    and the line through it the 95 % interval, as in ``results.groups``; where the study has no
    such model, the score and the interval of its seeds. Configs without a score are left out.

    Args:
        results: of the study.
        top: at most so many of the best configs, at least 1.

    Raises:
        NothingToCompareError: no config has a score.
    """
    top = checks.whole_number("top", top, at_least=1)
    names = ranking(results.race)
    rows = [row for row in map(results.standing, names[:top]) if row.rung is not None]
    if not rows:
        raise NothingToCompareError("no config has a score yet, so there is no ranking")
    rungs = list(dict.fromkeys(row.rung for row in rows))
    parts = [[row for row in rows if row.rung == rung][::-1] for rung in rungs]
    height = sum(_ROW * len(part) + _GAP for part in parts)
    traces: list[dict[str, Any]] = []
    more: dict[str, Any] = {}
    headings: list[dict[str, Any]] = []
    above = height - _HEAD
    for k, part in enumerate(parts, 1):
        below = above - _ROW * len(part)
        n = "" if k == 1 else str(k)
        traces += _traces(results, part, n, first=k == 1)
        more[f"yaxis{n}"] = {
            "type": "category",
            "domain": [max(below / height, 0), above / height],
            "anchor": f"x{n}",
            "range": [-0.6, len(part) - 0.4],
        }
        more[f"xaxis{n}"] = {"anchor": f"y{n}", "domain": [0, 1]}
        text = f"rung {rungs[k - 1]}: {style.safe(results.ledger.metric, 60)}"
        headings.append(style.heading(text, 0, above / height))
        above = below - _GAP
    said = f"the best {top} of {len(names)} configs" if len(names) > top else ""
    last = f"xaxis{'' if len(parts) < 2 else len(parts)}"
    more[last] = {**more.get(last, {}), "title": style.axis_title("", said)}
    legend = style.legend_above()
    return figure(traces, height=height + 30, annotations=headings, legend=legend, **more)


def _traces(
    results: StudyRecord, rows: list[Standing], n: str, *, first: bool
) -> list[dict[str, Any]]:
    places = [style.safe(row.group) for row in rows]
    axes = {"type": "scatter", "mode": "markers", "xaxis": f"x{n}", "yaxis": f"y{n}"}
    labels = config_labels(results, [row.group for row in rows], 90)
    marked = len(results.seeds) <= _MAX_MARKS
    traces: list[dict[str, Any]] = []
    for k, seed in enumerate(results.seeds):
        own = k if marked else 0
        points = [
            (place, row.values[seed])
            for place, row in zip(places, rows, strict=True)
            if seed in row.values
        ]
        if not points and not first:
            continue
        traces.append(
            {
                **axes,
                "y": [place for place, _ in points] or [None],
                "x": style.numbers([value for _, value in points]) or [None],
                "name": f"seed {seed}" if marked else f"each of {len(results.seeds)} seeds",
                "legendgroup": f"seed {seed}" if marked else "seeds",
                "showlegend": first and (marked or k == 0),
                "marker": {
                    "symbol": f"{style.SYMBOLS[own]}-open",
                    "size": 9,
                    "color": style.COLORS[own],
                    "line": {"width": 1.5},
                },
                "hovertemplate": f"%{{y}}, seed {seed}: %{{x}}<extra></extra>",
            }
        )
    expected = [row.estimate for row in rows]
    ends = [(row.interval.low, row.interval.high) for row in rows]
    traces.append(
        {
            **axes,
            "y": places,
            "x": style.numbers(expected),
            "name": _expectation(results),
            "legendgroup": "expected",
            "showlegend": first,
            "marker": {"symbol": "diamond", "size": 8, "color": style.FRONT},
            "error_x": style.bars(expected, ends, style.FRONT),
            "customdata": [
                [style.safe(labels[row.group]), _hover(row), str(row.rung)] for row in rows
            ],
            "hovertemplate": (
                "%{y} at rung %{customdata[2]}: %{x}<br>%{customdata[0]}<br>"
                "%{customdata[1]}<extra></extra>"
            ),
        }
    )
    return traces


def _expectation(results: StudyRecord) -> str:
    if results.expected:
        return "expected on a fresh seed, 95 % interval"
    return "score, 95 % interval of its seeds"


def _hover(row: Standing) -> str:
    failed = f", failed: seed {', '.join(map(str, row.failures))}" if row.failures else ""
    return style.safe(f"{row.state}{failed}")
