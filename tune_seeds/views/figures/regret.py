"""How soon a study had what it found."""

from __future__ import annotations

from typing import Any

from tune_seeds.analysis.regret import Lead, leads
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.rungs import Rung
from tune_seeds.views.figures import style
from tune_seeds.views.figures.configs import config_labels
from tune_seeds.views.figures.study_figure import StudyFigure, figure


def regret_figure(results: StudyRecord) -> StudyFigure:
    """How much worse the best config so far was than the best at the end, over what was trained.

    Horizontal: epochs (steps, where rungs count those) of all runs together. Vertical: the regret,
    in the metric's unit, at least 0: the difference between the best score at a rung when the study
    was over and the best one there so far. One line for each rung, because scores of different
    rungs do not compare; it begins where the first config is scored there. A mark is a new best.

    The regret is to the best that *this* study found, so each line ends at 0; how far that is from
    the best there is, no study knows.

    Args:
        results: of the study.

    Raises:
        NothingToCompareError: no config has a score, or the journal is no longer there.
    """
    found, trained = leads(results)
    top = results.header.rungs[-1]
    groups = list({lead.group: None for row in found.values() for lead in row})
    labels = config_labels(results, groups, 80)
    metric = style.safe(results.ledger.metric, 60)
    traces = [
        _trace(k, rung, row, trained, labels, is_last=rung == top)
        for k, (rung, row) in enumerate(found.items())
    ]
    unit = results.header.unit
    return figure(
        traces,
        height=380,
        xaxis={"title": {"text": f"{unit} trained by all runs together"}, "rangemode": "tozero"},
        yaxis={"title": {"text": f"regret of {metric}"}, "rangemode": "tozero"},
        legend=style.legend_above("rung  "),
        showlegend=True,
    )


def _trace(
    k: int,
    rung: Rung,
    row: list[Lead],
    trained: int,
    labels: dict[str, str],
    *,
    is_last: bool,
) -> dict[str, Any]:
    said = [
        f"{lead.group} led at {rung} with {lead.score:.5g}<br>{style.safe(labels[lead.group])}"
        for lead in row
    ]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [*(lead.trained for lead in row), trained],
        "y": style.numbers([*(lead.regret for lead in row), row[-1].regret]),
        "customdata": [*said, said[-1]],
        "name": str(rung),
        "line": {
            "shape": "hv",
            "color": style.COLORS[k % len(style.COLORS)],
            "dash": "solid" if is_last else style.DASHES[1 + k % (len(style.DASHES) - 1)],
            "width": 3 if is_last else 1.5,
        },
        "marker": {"size": [7] * len(row) + [0]},
        "hovertemplate": "%{customdata}<br>regret %{y} after %{x}<extra></extra>",
    }
