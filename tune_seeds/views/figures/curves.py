"""Learning curves of configs: any metric that runs report, over epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tune_seeds.analysis.curves import mean_curve, metric_names, run_curve
from tune_seeds.analysis.errors import NothingToCompareError
from tune_seeds.analysis.group_summary import ranking
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core import checks
from tune_seeds.core.ledger import RunKey
from tune_seeds.views.figures import style
from tune_seeds.views.figures.curve_styles import Look, looks
from tune_seeds.views.figures.study_figure import StudyFigure, figure

_MAX_POINTS = 200
# Bands over one another hide what they are the bands of.
_MAX_BANDS = 12


@dataclass(slots=True)
class _Lines:
    """Lines of several runs or configs in one trace, with gaps between them."""

    x: list[float | None] = field(default_factory=list[float | None])
    y: list[float | None] = field(default_factory=list[float | None])
    names: list[str] = field(default_factory=list[str])
    single: list[int] = field(default_factory=list[int])

    def add(self, points: Sequence[tuple[int, float]], name: str) -> None:
        """One more line; a gap ends it."""
        shown = _thinned(points)
        self.x += [*(float(epoch) for epoch, _ in shown), None]
        self.y += [*style.numbers([value for _, value in shown]), None]
        self.names += [name] * (len(shown) + 1)
        # A line of one point is no line; it is drawn as a mark.
        self.single += [int(len(shown) == 1)] * len(shown) + [0]

    def trace(self, size: int, **more: Any) -> dict[str, Any]:
        """The lines as Plotly takes them; the gap after the last one is no point."""
        end = -1 if len(self.x) > 1 else None
        marks: dict[str, Any] = {"mode": "lines"}
        if any(self.single):
            sizes = [size * mark for mark in self.single[:end]]
            marks = {"mode": "lines+markers", "marker": {"size": sizes, "opacity": 1}}
            marks["marker"]["color"] = more["line"]["color"]
        return {
            "type": "scatter",
            "x": self.x[:end] or [None],
            "y": self.y[:end] or [None],
            "customdata": self.names[:end] or [""],
            "connectgaps": False,
            **marks,
            **more,
        }


def curves_figure(
    results: StudyRecord,
    metric: str | None = None,
    color: str | None = None,
    dash: str | None = None,
    top: int | None = None,
) -> StudyFigure:
    """What runs reported over their training: thick the mean of a config's seeds, thin each seed.

    Horizontal: epochs (steps, where rungs count those). Vertical: the metric as it was reported.
    The mean goes as far as all seeds of the config's last complete rung have come, and has a band
    of one standard deviation over them where 12 configs or fewer are shown. A value that is not
    finite leaves a gap.

    Args:
        results: of the study.
        metric: any that runs reported; the tuned one if None, as configs are compared by it.
        color: the hyperparameter that colours the lines, by its short name or its whole key. More
            than six numbers get a colour scale instead of a legend; of more than six names the
            less frequent ones share a colour.
        dash: the hyperparameter that chooses among four line styles; more than four numbers are
            cut into ranges.
        top: at most so many of the best configs, at least 1; if None 40 where lines are coloured by
            a hyperparameter, and 16 where they are not, since each has an entry in the legend then.

    With neither ``color`` nor ``dash``, configs that differ in one or two hyperparameters of few
    values are shown by these; any others get a colour each, and the best six are shown at first.

    Raises:
        ValueError: no run reported such a metric, or the study has no such hyperparameter; the
            message lists those that there are.
        NothingToCompareError: no run has reported anything.
    """
    _check_metric(results, metric)
    names = ranking(results.race)
    top = None if top is None else checks.whole_number("top", top, at_least=1)
    look = looks(results, names, color, dash, top)
    shown = names[: look.top]
    traces: list[dict[str, Any]] = []
    for one in look.of_groups(shown):
        traces += _traces(results, metric, one, with_band=len(shown) <= _MAX_BANDS)
    if not traces:
        raise NothingToCompareError("no run has reported anything yet, so there is no curve")
    traces += look.extra
    said = f"the best {len(shown)} of {len(names)} configs" if len(names) > len(shown) else ""
    title = style.safe(results.ledger.metric if metric is None else metric, 80)
    return figure(
        traces,
        height=420 + look.legend_height,
        xaxis={"title": style.axis_title(results.header.unit, said), **_ticks(traces)},
        yaxis={"title": {"text": title}},
        legend=look.legend,
        **look.layout,
    )


def _ticks(traces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A few epochs are whole numbers; Plotly would halve them."""
    last = max(x for trace in traces for x in trace["x"] if x is not None)
    return {"dtick": 1} if last <= 12 else {}


def _check_metric(results: StudyRecord, metric: str | None) -> None:
    reports = [row for run in results.ledger.values() for row in run.reports.values()]
    if metric is not None and not any(metric in row for row in reports):
        known = ", ".join(map(repr, metric_names(results.race))) if reports else "none yet"
        raise ValueError(f"no run reported the metric {metric!r}; there are {known}")


def _traces(
    results: StudyRecord, metric: str | None, one: Look, *, with_band: bool
) -> list[dict[str, Any]]:
    """The lines of all configs with one look: bands at the back, means in front."""
    race, single, mean = results.race, _Lines(), _Lines()
    band_x: list[float | None] = []
    band_y: list[float | None] = []
    for group in one.groups:
        for seed in results.seeds:
            run = run_curve(race, race.ledger[RunKey(group, seed)], metric)
            if run:
                single.add(list(run.items()), f"{group}, seed {seed}")
        points = mean_curve(race, group, metric)
        if not points:
            continue
        mean.add([(p.epoch, p.mean) for p in points], _named(group, one.names))
        wide = _thinned([p for p in points if abs(p.std) < float("inf")])
        if with_band and len(wide) > 1:
            band_x += [*(p.epoch for p in wide), *(p.epoch for p in wide[::-1]), None]
            up, down = [p.mean + p.std for p in wide], [p.mean - p.std for p in wide[::-1]]
            band_y += [*style.numbers(up), *style.numbers(down), None]
    if not single.x:
        return []
    common = {"legendgroup": one.key, "visible": one.visible, "showlegend": False}
    traces: list[dict[str, Any]] = []
    if band_x:
        traces.append(
            {
                **common,
                "type": "scatter",
                "mode": "lines",
                "x": band_x[:-1],
                "y": band_y[:-1],
                "fill": "toself",
                "fillcolor": one.band,
                "line": {"width": 0},
                "hoverinfo": "skip",
            }
        )
    line = {"color": one.color, "dash": one.dash}
    hover = f"%{{customdata}}<br>{results.header.unit[:-1]} %{{x}}: %{{y}}<extra></extra>"
    thin = single.trace(4, line={**line, "width": 0.8}, opacity=0.55, hovertemplate=hover)
    thick = mean.trace(7, line={**line, "width": 2.5}, hovertemplate=hover)
    traces.append({**common, **thin})
    traces.append({**common, **thick, "name": one.label, "showlegend": bool(one.label)})
    return traces


def _named(group: str, names: Mapping[str, str]) -> str:
    return f"{group}, mean over seeds<br>{style.safe(names[group])}"


def _thinned(points: Sequence[Any]) -> list[Any]:
    """At most about ``_MAX_POINTS``, the last one among them."""
    step = -(-len(points) // _MAX_POINTS) or 1
    return list(points[::-1][::step][::-1])
