"""Where the epochs of a study went, rung by rung."""

from __future__ import annotations

from typing import Any

from tune_seeds.analysis.cost import spending
from tune_seeds.analysis.errors import NothingToCompareError
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.views.figures import style
from tune_seeds.views.figures.study_figure import StudyFigure, figure

# What became of a config → its colour and its pattern, which print without colours.
_FATES = {
    "went on": (style.COLORS[0], ""),
    "complete": (style.COLORS[2], ""),
    "stopped": (style.COLORS[5], "/"),
    "failed": (style.COLORS[1], "x"),
    "unfinished": (style.COLORS[4], "."),
}


def spending_figure(results: StudyRecord) -> StudyFigure:
    """One bar for each rung: the epochs that were trained on the way to it, by what came of them.

    Horizontal: epochs (steps, where rungs count those), summed over the runs of the study's own
    seeds. Vertical: the rungs, epochs × seeds, the lowest at the bottom. The parts of a bar are the
    configs that went on to the next rung, those that are complete, those that were stopped there,
    and those that failed or were left on the way to it.

    Args:
        results: of the study.

    Raises:
        NothingToCompareError: nothing was trained yet.
    """
    items = spending(results.race)
    unit = results.header.unit
    rungs = [str(item.rung) for item in items]
    traces: list[dict[str, Any]] = []
    for fate, (color, pattern) in _FATES.items():
        if not any(item.epochs.get(fate) for item in items):
            continue
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": fate,
                "y": rungs,
                "x": [item.epochs.get(fate, 0) for item in items],
                "customdata": [item.n_groups.get(fate, 0) for item in items],
                "marker": {"color": color, "pattern": {"shape": pattern}},
                "hovertemplate": f"{fate}: %{{customdata}} configs, %{{x}} {unit}<extra></extra>",
            }
        )
    if not traces:
        raise NothingToCompareError("nothing was trained yet, so nothing was spent")
    return figure(
        traces,
        barmode="stack",
        height=120 + 36 * len(items),
        xaxis={"title": {"text": f"{unit} trained on the way to the rung"}},
        yaxis={"type": "category", "title": {"text": f"{unit} x seeds"}},
        legend={**style.legend_above(), "traceorder": "normal"},
        showlegend=True,
    )
