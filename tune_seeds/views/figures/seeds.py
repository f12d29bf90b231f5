"""Whether the order of the configs depends on the seed."""

from __future__ import annotations

from typing import Any

from tune_seeds.analysis.finalists.score_table import score_table
from tune_seeds.analysis.finalists.seed_report import SeedReport
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core import checks
from tune_seeds.core.rungs import Rung
from tune_seeds.views.figures import style
from tune_seeds.views.figures.configs import config_labels
from tune_seeds.views.figures.study_figure import StudyFigure, figure


def seeds_figure(results: StudyRecord, rung: Rung | None = None, top: int = 12) -> StudyFigure:
    """The score of each config on each seed, at one rung: where lines cross, seeds disagree.

    Horizontal: the seeds, in the study's order. Vertical: the metric, in its own unit. One line per
    config that has every seed there; thick and dashed their mean. Below stands how far the seeds
    agree on the order (Kendall's W: 1 is the same order on each, 0 none) beside what chance alone
    gives, as in ``results.seed_effect()``.

    Args:
        results: of the study.
        rung: where configs are compared; the last one if None.
        top: at most so many of the best configs there, at least 1.

    Raises:
        NothingToCompareError: no config has every seed at that rung.
        ValueError: the study has no such rung.
    """
    top = checks.whole_number("top", top, at_least=1)
    table = score_table(results.race, rung)
    own = results.ledger.metric.own
    seeds = [str(seed) for seed in table.seeds]
    labels = config_labels(results, list(table.groups[:top]), 40)
    at = rung or results.header.rungs[-1]
    common: dict[str, Any] = {"type": "scatter", "mode": "lines+markers", "x": seeds}
    traces: list[dict[str, Any]] = []
    n = len(style.COLORS)
    for k, name in enumerate(table.groups[:top]):
        color = style.COLORS[k % n]
        label = style.safe(f"{name} {labels[name]}".strip())
        traces.append(
            {
                **common,
                "y": style.numbers([own(value) for value in table.scores[k].tolist()]),
                "name": label,
                "line": {"color": color, "dash": style.DASHES[k // n % 4], "width": 1.8},
                "marker": {"color": color, "symbol": style.SYMBOLS[k % n], "size": 8},
                "hovertemplate": f"{label}<br>seed %{{x}}, rung {at}: %{{y}}<extra></extra>",
            }
        )
    if len(table.groups) > 1:
        mean = [own(value) for value in table.scores.mean(axis=0).tolist()]
        traces.append(
            {
                **common,
                "mode": "lines",
                "y": style.numbers(mean),
                "name": f"mean of these {len(table.groups)} configs",
                "line": {"color": style.QUIET, "dash": "dash", "width": 3},
                "hovertemplate": "mean, seed %{x}: %{y}<extra></extra>",
            }
        )
    said = _agreement(results.seed_effect(rung))
    if len(table.groups) > top:
        said = f"the best {top} of {len(table.groups)} configs<br>{said}".removesuffix("<br>")
    rows = -(-len(traces) // 2)
    return figure(
        traces,
        height=380 + style.LEGEND_ROW * rows,
        xaxis={"type": "category", "title": style.axis_title("seed", said)},
        yaxis={"title": {"text": f"{style.safe(results.ledger.metric, 60)} at rung {at}"}},
        legend=style.legend_below(),
        showlegend=True,
    )


def _agreement(found: SeedReport) -> str:
    if found.kendalls_w != found.kendalls_w or found.n_seeds < 2 or len(found.win_shares) < 2:
        return ""
    chance = found.by_chance.kendalls_w
    return f"Kendall's W {found.kendalls_w:.2f} ({chance})"
