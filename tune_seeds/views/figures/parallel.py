"""All configs at once: a line through the values of each one's hyperparameters."""

from __future__ import annotations

from typing import Any

from tune_seeds.analysis.errors import NothingToCompareError
from tune_seeds.analysis.finalists.score_table import meeting_rung, score_table
from tune_seeds.analysis.group_summary import ranking
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.rungs import Rung
from tune_seeds.views.figures import style
from tune_seeds.views.figures.curve_styles import log_ticks
from tune_seeds.views.figures.hyperparameters import Hyperparameter, varied
from tune_seeds.views.figures.study_figure import StudyFigure, figure

# More different names than this can't be read beside an axis.
_MAX_NAMES = 30
# How many different values may stand apart from the numbers of an axis.
_MAX_APART = 3
# Values are told apart by more characters than there is room for.
_WHOLE, _TICK = 10_000, 16


def parallel_figure(results: StudyRecord, rung: Rung | None = None) -> StudyFigure:
    """One line per config through its hyperparameters, the rung it came to, and its score.

    The colour is the score at *one* rung, named beside the scale, so that all lines compare; bright
    is good. Numbers are on a log scale where the space searches them on one, or where they span a
    factor of 50 and it does not say; names and other values are in the order of the alphabet, and
    the few configs whose number is missing lie below it. Configs without a score at that rung are
    left out. In a page, drag along an axis to pick configs, and an axis's name to move it.

    Args:
        results: of the study.
        rung: whose score colours the lines; if None, the one where most configs meet, which in a
            default study is one epoch on one seed.

    Raises:
        NothingToCompareError: fewer than two configs have a score at that rung.
        ValueError: the study has no such rung.
    """
    race = results.race
    at = rung or meeting_rung(race)
    if rung is not None:
        score_table(race, rung)  # it refuses one that the study does not have
    groups = [name for name in ranking(race) if at in race.groups[name].scores]
    if not groups:
        raise NothingToCompareError(f"no config has a score at the rung {at}")
    if len(groups) < 2:
        raise NothingToCompareError(f"only one config has a score at the rung {at}")
    # The last line lies on top; it is the best config's.
    groups.reverse()
    metric = race.ledger.metric
    scores = [metric.own(race.groups[name].scores[at]) for name in groups]
    rungs = list(race.policy.rungs)
    reached = [
        max(rungs.index(rung) for rung in race.groups[name].scores if rung in rungs)
        for name in groups
    ]
    name = style.safe(metric, 40)
    dimensions = [_dimension(one, groups) for one in varied(results)]
    if len(rungs) > 1:
        dimensions.append(_of_names("rung reached", reached, [str(rung) for rung in rungs]))
    dimensions.append({"label": f"{name} at {at}", "values": scores})
    left_out = len(race.groups) - len(groups)
    said = (
        f"{left_out} of {len(race.groups)} configs have no score at rung {at}" if left_out else ""
    )
    return figure(
        [
            {
                "type": "parcoords",
                "dimensions": dimensions,
                "labelangle": -15,
                "line": {
                    "color": scores,
                    "colorscale": style.scale(reverse=not metric.higher_is_better),
                    "showscale": True,
                    "colorbar": {"title": {"text": f"{name}<br>at rung {at}"}, "thickness": 12},
                },
                "labelfont": {"color": style.FRONT, "size": 11},
                "tickfont": {"color": style.FRONT, "size": 10},
                "rangefont": {"color": style.QUIET, "size": 10},
            }
        ],
        height=420,
        margin={"l": 70, "r": 20, "t": 90, "b": 40 if said else 24},
        title={"text": said, "x": 0.01, "y": 0.01, "yanchor": "bottom", "font": {"size": 11}},
    )


def _dimension(one: Hyperparameter, groups: list[str]) -> dict[str, Any]:
    places = [one.place(name) for name in groups]
    known = sorted({place for place in places if place is not None})
    apart = list(
        dict.fromkeys(one.text(name, _WHOLE) for name in groups if one.place(name) is None)
    )
    label = style.safe(one.name, 24)
    if not known or len(apart) > _MAX_APART:
        texts = [one.text(name, _WHOLE) for name in groups]
        names = sorted(set(texts))
        return _of_names(label, [names.index(text) for text in texts], names)
    low, high = known[0], known[-1]
    step = 0.12 * ((high - low) or abs(low) or 1.0)
    below = {text: low - (k + 1) * step for k, text in enumerate(sorted(apart))}
    values = [
        below[one.text(name, _WHOLE)] if place is None else place
        for name, place in zip(groups, places, strict=True)
    ]
    dimension: dict[str, Any] = {"label": label, "values": values}
    ticks: list[tuple[float, str]] = []
    if one.is_log:
        ticks = log_ticks(low, high)
    elif len(known) <= 8:
        ticks = [(place, f"{place:.4g}") for place in known]
    elif below:
        ticks = [
            (low + k * (high - low) / 5, f"{low + k * (high - low) / 5:.3g}") for k in range(6)
        ]
    if ticks:
        ticks += [(place, text) for text, place in below.items()]
        dimension["tickvals"] = [place for place, _ in ticks]
        dimension["ticktext"] = [_cut(text) for _, text in ticks]
        ends = (min([low, *below.values()]), high)
        dimension["range"] = list(ends) if ends[0] < ends[1] else [low - step, low + step]
    return dimension


def _of_names(label: str, values: list[int], names: list[str]) -> dict[str, Any]:
    shown = range(len(names)) if len(names) <= _MAX_NAMES else ()
    # Plotly shows these texts as they are, without reading HTML in them.
    return {
        "label": label,
        "values": values,
        "range": [-0.5, len(names) - 0.5],
        "tickvals": list(shown),
        "ticktext": [_cut(names[k]) for k in shown],
    }


def _cut(text: str) -> str:
    """What fits between two axes; values that begin alike stay apart by their places."""
    return text if len(text) <= _TICK else f"{text[: _TICK - 1]}…"


def n_axes(shown: StudyFigure) -> int:
    """How many axes a figure of this kind has; each needs room for its name."""
    data: Any = shown.data[0]
    return len(data.dimensions)
