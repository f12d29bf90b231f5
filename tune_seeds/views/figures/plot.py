"""``results.plot``: the figures of a study, made when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.rungs import Rung

if TYPE_CHECKING:
    from tune_seeds.views.figures.study_figure import StudyFigure


class Plots:
    """The figures of a study, ``results.plot``; the HTML report shows the same ones.

    Each method returns a ``StudyFigure``, which is a ``plotly.graph_objects.Figure`` with
    ``save_png``. All values are in the metric's own unit and direction.

    Example:
        >>> figure = results.plot.curves("train_loss", color="lr")  # doctest: +SKIP
        >>> figure.save_png("loss.png")  # doctest: +SKIP
    """

    # Plotly takes a second to import, so each method does when it is called.

    def __init__(self, results: StudyRecord) -> None:
        self._results = results

    def ranking(self, top: int = 25) -> StudyFigure:
        """One row per config, best first; one chart for each rung, because these do not compare.

        Horizontal: the metric. Small open marks are the scores of single seeds. The diamond is what
        the config is expected to score on a fresh seed, by the model of all configs, and the line
        through it the 95 % interval. Configs without a score are left out.

        Args:
            top: at most so many of the best configs, at least 1.

        Raises:
            NothingToCompareError: no config has a score.
        """
        from tune_seeds.views.figures.ranking import ranking_figure

        return ranking_figure(self._results, top)

    def curves(
        self,
        metric: str | None = None,
        *,
        color: str | None = None,
        dash: str | None = None,
        top: int | None = None,
    ) -> StudyFigure:
        """What runs reported over their training: thick the mean of a config's seeds, thin each.

        Horizontal: epochs (or steps). Vertical: the metric. The band is one standard deviation over
        the seeds, where 12 configs or fewer are shown; a value that is not finite leaves a gap.

        Args:
            metric: any that runs reported; the tuned one if None.
            color: the hyperparameter that colours the lines, by its short name or its whole key.
                More than six numbers get a colour scale instead of a legend; of more than six names
                the less frequent ones share a colour.
            dash: the hyperparameter that chooses among four line styles; more than four numbers
                are cut into ranges.
            top: at most so many of the best configs, at least 1; if None 40 where lines are
                coloured by a hyperparameter, and 16 where each config has an entry of its own in
                the legend.

        With neither ``color`` nor ``dash``, configs that differ in one or two hyperparameters of
        few values are shown by these; any others get a colour each, and the best six are shown at
        first.

        Raises:
            ValueError: no run reported such a metric, or the study has no such hyperparameter; the
                message lists those that there are.
            NothingToCompareError: no run has reported anything.
        """
        from tune_seeds.views.figures.curves import curves_figure

        return curves_figure(self._results, metric, color, dash, top)

    def parallel(self, rung: Rung | None = None) -> StudyFigure:
        """One line per config through its hyperparameters, the rung it came to, and its score.

        The colour is the score at one rung, which the scale names; bright is good. Configs without
        a score there are left out. Numbers that are searched on a log scale are shown on one.

        Args:
            rung: whose score colours the lines; if None, the one where most configs meet.

        Raises:
            NothingToCompareError: fewer than two configs have a score at that rung.
            ValueError: the study has no such rung.
        """
        from tune_seeds.views.figures.parallel import parallel_figure

        return parallel_figure(self._results, rung)

    def marginals(self, *names: str, level: float = 0.95, rung: Rung | None = None) -> StudyFigure:
        """One chart per hyperparameter: its values, and the mean score of the configs with each.

        Vertical: the metric at one rung. Diamonds are the means of ``results.marginals()`` with
        their intervals, faint dots single configs. Horizontal: the values; numbers that were cut
        into ranges stand on their scale, logarithmic where they were searched on one, and a
        diamond's horizontal line is its range.

        Args:
            names: the hyperparameters, by short names or whole keys; if none, all that differ, up
                to 24.
            level: of the intervals, in (0, 1); higher is wider.
            rung: of the groups scored there; if None, the one where most configs meet.

        Raises:
            NothingToCompareError: no config has every seed at that rung, or none of the
                hyperparameters differs there.
            ValueError: the study has no such hyperparameter or rung, or the level is out of range.
        """
        from tune_seeds.views.figures.marginals import marginals_figure

        return marginals_figure(self._results, names, level, rung)

    def seeds(self, rung: Rung | None = None, *, top: int = 12) -> StudyFigure:
        """The score of each config on each seed, at one rung: where lines cross, seeds disagree.

        Horizontal: the seeds. Vertical: the metric. One line per config that has every seed there.
        Below stands how far the seeds agree on the order (Kendall's W) beside what chance gives.

        Args:
            rung: where configs are compared; the last one if None.
            top: at most so many of the best configs there, at least 1.

        Raises:
            NothingToCompareError: no config has every seed at that rung.
            ValueError: the study has no such rung.
        """
        from tune_seeds.views.figures.seeds import seeds_figure

        return seeds_figure(self._results, rung, top)

    def spending(self) -> StudyFigure:
        """One bar for each rung: the epochs trained on the way to it, by what came of the configs.

        Raises:
            NothingToCompareError: nothing was trained yet.
        """
        from tune_seeds.views.figures.spending import spending_figure

        return spending_figure(self._results)

    def regret(self) -> StudyFigure:
        """How much worse the best config so far was than the best at the end, over the epochs.

        Horizontal: epochs (or steps) of all runs together. Vertical: the difference, in the
        metric's unit, between the best score at a rung when the study was over and the best one
        there so far; a line for each rung. Each ends at 0: the regret is to the best that this
        study found, and how far that is from the best there is, no study knows.

        Raises:
            NothingToCompareError: no config has a score, or the journal is no longer there.
        """
        from tune_seeds.views.figures.regret import regret_figure

        return regret_figure(self._results)
