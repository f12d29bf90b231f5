"""The figures of the page: the places where they are drawn, and what is drawn there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tune_seeds.analysis.curves import metric_names
from tune_seeds.analysis.errors import NothingToCompareError
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.jsonable import plain
from tune_seeds.core.printable import printable
from tune_seeds.views.figures.curves import curves_figure
from tune_seeds.views.figures.marginals import keys_with_marginals, marginals_figure
from tune_seeds.views.figures.parallel import n_axes, parallel_figure
from tune_seeds.views.figures.ranking import ranking_figure
from tune_seeds.views.figures.regret import regret_figure
from tune_seeds.views.figures.seeds import seeds_figure
from tune_seeds.views.figures.spending import spending_figure
from tune_seeds.views.figures.study_figure import StudyFigure
from tune_seeds.views.report import html

# Each metric's curves are part of the page; ``results.plot.curves`` draws any of the others.
_MAX_METRICS = 8
_AXIS_WIDTH = 96


class Charts:
    """Collects figures while the page is put together.

    Each method returns the HTML of one place, or nothing where the study has nothing to show there.

    Args:
        results: of the study.
    """

    def __init__(self, results: StudyRecord) -> None:
        self._results = results
        #: id of a place → the figures that can be drawn there, as Plotly's JSON.
        self.figures: dict[str, list[Any]] = {}

    def ranking(self) -> str:
        """Scores by config."""
        return self._place("ranking", lambda: ranking_figure(self._results))

    def seeds(self) -> str:
        """Scores by seed."""
        return self._place("seeds", lambda: seeds_figure(self._results))

    def spending(self) -> str:
        """Epochs by rung."""
        return self._place("spending", lambda: spending_figure(self._results))

    def regret(self) -> str:
        """The best so far, over epochs."""
        return self._place("regret", lambda: regret_figure(self._results))

    def parallel(self) -> str:
        """All configs."""

        def width(figure: StudyFigure) -> int:
            return _AXIS_WIDTH * (n_axes(figure) + 1)

        return self._place("parallel", lambda: parallel_figure(self._results), width)

    def marginals(self) -> str:
        """A small figure for each hyperparameter, as many side by side as there is room for."""
        try:
            keys = keys_with_marginals(self._results)
        except NothingToCompareError:
            return ""
        places = [
            self._place(f"marginals-{k}", lambda key=key: marginals_figure(self._results, [key]))
            for k, key in enumerate(keys)
        ]
        return f'<div class="panels">{"".join(places)}</div>' if places else ""

    def curves(self) -> str:
        """The tuned metric, and a menu for the others that runs report."""
        names = metric_names(self._results.race)
        place = self._place("curves", lambda: curves_figure(self._results))
        if not place:
            return ""
        shown = [str(self._results.ledger.metric)]
        for name in names[1:_MAX_METRICS]:
            self.figures["curves"].append(_json(curves_figure(self._results, name)))
            shown.append(printable(name))
        return (html.choice("curves", "metric", shown) if len(shown) > 1 else "") + place

    def _place(
        self,
        name: str,
        make: Callable[[], StudyFigure],
        width: Callable[[StudyFigure], int] = lambda _: 0,
    ) -> str:
        try:
            figure = make()
        except NothingToCompareError:
            return ""
        self.figures[name] = [_json(figure)]
        height: Any = figure.layout.height
        return html.chart(name, height=height, min_width=width(figure))


def _json(figure: StudyFigure) -> Any:
    return plain(figure.to_plotly_json(), document=True)
