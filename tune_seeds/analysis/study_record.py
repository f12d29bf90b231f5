"""What an experiment holds, read from its journal: the best group, every group, every run."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.fs
from jaxtyping import Float

from tune_seeds.analysis.best_record import BestRecord, best_record
from tune_seeds.analysis.collapses import collapses
from tune_seeds.analysis.completeness import Completeness, completeness
from tune_seeds.analysis.environments import differences_by_group, restarts
from tune_seeds.analysis.errors import NoCompleteGroupError
from tune_seeds.analysis.finalists.contention import Contention, contention
from tune_seeds.analysis.finalists.fresh_confirmation import FreshConfirmation, fresh_confirmation
from tune_seeds.analysis.finalists.hyperparameters import importance_table, marginal_tables
from tune_seeds.analysis.finalists.possible_best import contention_among_all
from tune_seeds.analysis.finalists.score_table import meeting_rung, score_table
from tune_seeds.analysis.finalists.seed_report import SeedReport, seed_report
from tune_seeds.analysis.group_summary import Standing, ranking, standing
from tune_seeds.analysis.growth import growth_lines
from tune_seeds.analysis.metric_values import (
    metric_range,
    range_contradiction,
    reported_values,
    resolution_of_scores,
)
from tune_seeds.analysis.study_model import expected_by_group, told_of_collapses
from tune_seeds.analysis.study_tables import group_row, run_rows
from tune_seeds.core import checks
from tune_seeds.core.ledger import RunKey
from tune_seeds.core.rungs import Rung
from tune_seeds.policies.base import Policy
from tune_seeds.race.kept_checkpoints import n_kept
from tune_seeds.statistics.aggregate import ScoreFunction
from tune_seeds.statistics.collapse import Collapse
from tune_seeds.statistics.importance import Importances
from tune_seeds.statistics.marginals import Marginals
from tune_seeds.statistics.metric_range import MetricRange
from tune_seeds.statistics.random_effects import Expected
from tune_seeds.store.directory import ExperimentDir, full_location
from tune_seeds.store.rebuild.race import new_race, rebuild
from tune_seeds.store.study_spec import Header

logger = logging.getLogger(__name__)


class StudyRecord:
    """One experiment, read only; neither Ray nor a trial is needed for it.

    Args:
        path: the experiment's directory, local or any URI that Ray takes.
        storage_filesystem: the file system of ``path`` where it is a custom one.
        aggregate: the function that the study aggregated with, if it was the user's own; needed
            for its interval and its confirmation only, the scores are on record.
        policy: the policy that steered the study, if it was the user's own; needed to know who
            leads an unfinished study. Without it that is the best group at the highest rung.

    Raises:
        FileNotFoundError: there is no experiment of this package.
        IntegrityError: the journal contradicts what the study declared.
    """

    def __init__(
        self,
        path: str,
        storage_filesystem: pyarrow.fs.FileSystem | None = None,
        *,
        aggregate: str | ScoreFunction | None = None,
        policy: Policy | None = None,
    ) -> None:
        given = checks.path("path", path)
        #: In full, so that it leads here from any directory.
        self.path = given if storage_filesystem is not None else full_location(given)
        self.directory = ExperimentDir.at(path, storage_filesystem)
        #: What the study was begun with.
        self.begun = Header.read(self.directory)
        self.race = new_race(self.begun, aggregate, policy=policy)
        self.ledger = self.race.ledger
        self._policy_is_missing = self.begun.has_own_policy and policy is None
        #: What of a damaged journal is left out; None where it is whole.
        self.damage = rebuild(self.race, self.directory)
        #: What was asked for after the study had begun, in its order.
        self.growths = tuple(self.race.growths)
        #: What holds now.
        self.header = self.begun.grown(self.growths)
        self.seeds = self.header.seeds
        if self.damage is not None:
            logger.warning(
                "%s: %s. `tune-seeds repair %s` writes a whole journal, and keeps this one",
                self.path,
                self.damage,
                self.path,
            )

    @property
    def growth_lines(self) -> list[str]:
        """What was added to the study after it had begun, and when; one line for each time."""
        return growth_lines(self.begun, self.growths)

    @cached_property
    def resolution(self) -> float:
        """The step of the metric's values, such as 1/N for an accuracy over N examples."""
        return resolution_of_scores(self.race)

    @cached_property
    def metric_range(self) -> MetricRange | None:
        """The range that the metric was declared to have, or (0, 1) where it plainly is a share.

        None where neither is so, and where runs reported values outside the declared range
        (``range_contradiction`` names one): a wrong range would give wrong intervals.
        """
        return metric_range(self.header.metric, self._values, self.header.metric_range)

    @cached_property
    def range_contradiction(self) -> str | None:
        """Why the declared ``metric_range`` is not used, None where it is or there is none."""
        return range_contradiction(self._values, self.header.metric_range)

    @cached_property
    def _values(self) -> Float[np.ndarray, " report"]:
        return reported_values(self.race)

    @cached_property
    def expected(self) -> dict[str, Expected]:
        """Group → what it is expected to score on a fresh seed, from all configs together.

        Of every group at the epochs of its last complete rung; empty where the study ranks by
        something else than the mean.
        """
        found = expected_by_group(self.race, within=self.metric_range, resolution=self.resolution)
        return told_of_collapses(found, self.race, self.collapse)

    def standing(self, name: str) -> Standing:
        """Where one group stands, with what it is expected to score."""
        return standing(
            self.race,
            name,
            resolution=self.resolution,
            expected=self.expected.get(name),
            within=self.metric_range,
        )

    @property
    def completeness(self) -> Completeness:
        """How far the study has come; an unfinished one can be restored."""
        return completeness(self.race, self.header.num_samples, self.header.n_finalists)

    @property
    def policy_note(self) -> str | None:
        """How the leader was found where that was not by the study's policy; None where it was.

        A study's own policy may be out of reach of who reads it; that makes a difference only
        before the end of the study, since ``best`` is chosen by its score afterwards.
        """
        if not self._policy_is_missing or self.completeness.finished:
            return None
        return (
            f"the policy {self.header.policy} was not asked who leads; this is the best config at "
            "the highest rung. Give the policy as SeedResults(path, policy=...), or let it be "
            "loaded, with unpickle=True"
        )

    @property
    def leader(self) -> str | None:
        """The name of the group that ``best`` is, None where none can be called that."""
        if not self.completeness.finished:
            return self.race.policy.leader()
        top = self.header.rungs[-1]
        alive = (n for n in ranking(self.race, 1) if not self.race.groups[n].lost)
        return next((name for name in alive if top in self.race.groups[name].scores), None)

    @property
    def best(self) -> BestRecord:
        """The best of the groups that hold every epoch on every seed.

        Of a study that was left before its end, the group that its policy would have answered with
        at that moment; ``complete`` and ``rung`` say what it is judged on.

        Raises:
            NoCompleteGroupError: no group has a score; the message says what each lacks.
        """
        name = self.leader
        if name is None:
            raise NoCompleteGroupError(
                "no config can be called best, because each one failed or none has come to a rung:"
                f"\n{self}"
            )
        return self.group(name)

    def group(self, name: str) -> BestRecord:
        """One config at its last complete rung, as ``best`` describes the best one.

        Before its first rung it has no score (nan), and ``rung`` is the one that it heads for.

        Raises:
            KeyError: the study has no such group.
        """
        if name not in self.race.groups:
            known = ", ".join(list(self.race.groups)[:5]) or "none yet"
            raise KeyError(f"no group {name!r}; groups are called {known}, ...")
        collapse = self._collapses.get(name)
        return best_record(self.race, self.standing(name), collapse, self.directory)

    @property
    def groups(self) -> pd.DataFrame:
        """One row per config, best first: highest rung, then score; groups that failed last.

        Columns: ``group``; ``config/…`` for each hyperparameter; ``state``; ``epochs`` and
        ``n_seeds`` of the highest rung it is scored at (0 before the first); ``score``, the
        aggregate, and ``mean`` and ``std`` of the metric over exactly those seeds at exactly that
        epoch; ``estimate``, ``low`` and ``high``, what the config is expected to score on a fresh
        seed and its 95 % interval, from all configs together; ``seeds_low`` and ``seeds_high``, the
        interval from these seeds alone, chosen or not; ``score/SEED`` for each of them;
        ``fresh/SEED`` for confirmation seeds; ``why``, what failed.
        """
        return pd.DataFrame(
            [group_row(self.ledger, self.standing(name)) for name in ranking(self.race)]
        )

    @cached_property
    def collapse(self) -> Collapse | None:
        """Of the runs that trained far enough, how many came to nothing; None before any did.

        That is: how many ended at the level of doing nothing, as ``Collapse.level`` has it, or
        diverged, over all runs of the study and over those of the best config.
        """
        name = self.leader or next(iter(self.race.groups), "")
        return self._collapses.get(name)

    @cached_property
    def _collapses(self) -> dict[str, Collapse]:
        return collapses(self.race, self.race.groups)

    def contenders(
        self,
        level: float = 0.95,
        rung: Rung | None = None,
        *,
        among: Literal["finished", "all"] = "finished",
    ) -> Contention:
        """The configs that can't be told apart from the best, corrected for choosing among many.

        Args:
            level: probability with which the truly best config of those compared is kept; higher
                keeps more.
            rung: compare the groups scored there; the last rung if None. Only among the finished.
            among: ``"finished"`` compares the groups that are scored at ``rung``, in pairs over
                their common seeds. The best of all configs may have been stopped, and is then in no
                such set. ``"all"`` keeps every config that may be the best of all, those that were
                stopped included, by a forecast from the runs of all; that is often most of them.

        Raises:
            NothingToCompareError: no group has every seed at that rung.
            ValueError: ``among`` is neither, or a rung is given with ``"all"``.
        """
        _check_level(level)
        if among not in ("finished", "all"):
            raise ValueError(f'among must be "finished" or "all", got {among!r}')
        if among == "finished":
            return contention(score_table(self.race, rung), level)
        if rung is not None:
            raise ValueError(f'among="all" looks at every rung, so give no rung (got {rung})')
        if level not in self._among_all:
            self._among_all[level] = contention_among_all(self.race, level)
        return self._among_all[level]

    @cached_property
    def _among_all(self) -> dict[float, Contention]:
        return {}

    def seed_effect(self, rung: Rung | None = None) -> SeedReport:
        """How much of the spread is config, seed and the rest, and whether choices depend on it.

        Raises:
            NothingToCompareError: no group has every seed at that rung.
        """
        return seed_report(score_table(self.race, rung))

    def marginals(self, level: float = 0.95, rung: Rung | None = None) -> Marginals:
        """The effect of each hyperparameter's values, averaged over the others and over seeds.

        Args:
            level: of the intervals, which hold for other configs on other seeds.
            rung: of the groups scored there; if None, where most groups meet, which in a default
                study is one epoch on one seed. The finalists were chosen, and are few.

        Raises:
            NothingToCompareError: no group has every seed at that rung.
        """
        _check_level(level)
        table = score_table(self.race, rung or meeting_rung(self.race))
        return marginal_tables(table, self.ledger.metric, level)

    def importances(self, level: float = 0.95, rung: Rung | None = None) -> Importances:
        """How much each hyperparameter matters, for searched spaces.

        Args:
            level: of the intervals, which hold for other configs on other seeds.
            rung: as in ``marginals``.

        Raises:
            NothingToCompareError: no group has every seed at that rung.
        """
        _check_level(level)
        return importance_table(score_table(self.race, rung or meeting_rung(self.race)), level)

    @property
    def confirmation(self) -> FreshConfirmation | None:
        """The best configs on fresh seeds; None where none were asked for."""
        return fresh_confirmation(self.race, 0.95)

    @property
    def checkpoints(self) -> tuple[int, int]:
        """How many checkpoints the study keeps, and their bytes as far as its runs told them."""
        return n_kept(self.race)

    @property
    def runs(self) -> pd.DataFrame:
        """One row per run that was started: group, seed, epochs, metric, outcome, where it is."""
        return pd.DataFrame(run_rows(self.ledger, self.directory))

    @property
    def environment_differences(self) -> dict[str, dict[str, dict[Any, list[int]]]]:
        """What the runs of a group differ in beside the seed; empty where all were run alike.

        Returns:
            group → entry of the environment record (``packages/torch``, ``device``, …) → value →
            the seeds that ran with it.
        """
        return differences_by_group(self.ledger)

    @property
    def restarts(self) -> dict[RunKey, tuple[int, str]]:
        """The runs that were trained again from their beginning, since a pause would change them.

        Returns:
            run → how often, and what the pause had changed, by name.
        """
        return restarts(self.ledger)


def _check_level(level: float) -> None:
    if not 0 < checks.real_number("level", level) < 1:
        raise ValueError(f"level must be between 0 and 1, such as 0.95, got {level}")
