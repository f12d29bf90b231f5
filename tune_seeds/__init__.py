"""Tune hyperparameters with Ray Tune and Lightning while the random seeds stay fixed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune_seeds.analysis.best_record import BestRecord
    from tune_seeds.analysis.completeness import Completeness
    from tune_seeds.analysis.errors import NoCompleteGroupError, NothingToCompareError
    from tune_seeds.analysis.finalists.contention import Contention
    from tune_seeds.analysis.finalists.fresh_confirmation import FreshConfirmation
    from tune_seeds.analysis.finalists.seed_report import SeedReport
    from tune_seeds.analysis.group_summary import Standing, State
    from tune_seeds.analysis.study_comparison import StudyComparison
    from tune_seeds.core.ledger import RunKey
    from tune_seeds.core.reported import OddReportError
    from tune_seeds.core.rungs import Rung
    from tune_seeds.engine.schedule.run_report import MetricNotFoundError
    from tune_seeds.engine.trainable_file import CannotLoadTrainableError
    from tune_seeds.handover.ensemble import SeedEnsemble
    from tune_seeds.handover.retraining import Retrained
    from tune_seeds.policies.base import Policy, Promotion
    from tune_seeds.race.common_failure import CommonFailureError
    from tune_seeds.race.race import RungMissedError
    from tune_seeds.reproduce.audit import AuditError, AuditReport, audit
    from tune_seeds.reproduce.audit.finding import Cause, Finding
    from tune_seeds.reproduce.audit.trace import Stage
    from tune_seeds.reproduce.subprocesses import ProcessFailedError
    from tune_seeds.reproduce.verify import CannotVerifyError, Verdict, verify
    from tune_seeds.results import BestGroup, GroupResult, SeedResults
    from tune_seeds.statistics.aggregate import IncompleteGroupError
    from tune_seeds.statistics.collapse import Collapse, Share
    from tune_seeds.statistics.comparison import SeedsToSeparate, WinProbability
    from tune_seeds.statistics.confirmation import (
        Confirmation,
        ConfirmedConfig,
        OverlappingSeedsError,
    )
    from tune_seeds.statistics.importance import Importance, Importances
    from tune_seeds.statistics.intervals import Interval
    from tune_seeds.statistics.marginals import Marginals
    from tune_seeds.statistics.metric_range import MetricRange
    from tune_seeds.statistics.random_effects import Expected
    from tune_seeds.statistics.seed_effect import Chance, Choice, SeedChances, VarianceShares
    from tune_seeds.store.errors import (
        CannotLoadPolicyError,
        IntegrityError,
        JournalNotStoredError,
        StudyInUseError,
        StudyLostError,
        UnreadableExperimentError,
    )
    from tune_seeds.training.function import load_rng_state, save_rng_state, should_checkpoint
    from tune_seeds.training.lightning_trainer import LightningTrainer
    from tune_seeds.training.run_info import RunInfo, run_info
    from tune_seeds.tuner import SeedTuner
    from tune_seeds.views.figures.plot import Plots
    from tune_seeds.views.figures.study_figure import StudyFigure

# Where each public name is defined. They are imported when they are first asked for: reading
# results then needs neither Ray nor torch, whose imports take seconds.
_HOMES = {
    "AuditError": "tune_seeds.reproduce.audit",
    "AuditReport": "tune_seeds.reproduce.audit",
    "BestGroup": "tune_seeds.results",
    "BestRecord": "tune_seeds.analysis.best_record",
    "CannotLoadPolicyError": "tune_seeds.store.errors",
    "CannotLoadTrainableError": "tune_seeds.engine.trainable_file",
    "CannotVerifyError": "tune_seeds.reproduce.verify",
    "Cause": "tune_seeds.reproduce.audit.finding",
    "Chance": "tune_seeds.statistics.seed_effect",
    "Choice": "tune_seeds.statistics.seed_effect",
    "Collapse": "tune_seeds.statistics.collapse",
    "CommonFailureError": "tune_seeds.race.common_failure",
    "Completeness": "tune_seeds.analysis.completeness",
    "Confirmation": "tune_seeds.statistics.confirmation",
    "ConfirmedConfig": "tune_seeds.statistics.confirmation",
    "Contention": "tune_seeds.analysis.finalists.contention",
    "Expected": "tune_seeds.statistics.random_effects",
    "Finding": "tune_seeds.reproduce.audit.finding",
    "FreshConfirmation": "tune_seeds.analysis.finalists.fresh_confirmation",
    "GroupResult": "tune_seeds.results",
    "Importance": "tune_seeds.statistics.importance",
    "Importances": "tune_seeds.statistics.importance",
    "IncompleteGroupError": "tune_seeds.statistics.aggregate",
    "IntegrityError": "tune_seeds.store.errors",
    "Interval": "tune_seeds.statistics.intervals",
    "JournalNotStoredError": "tune_seeds.store.errors",
    "LightningTrainer": "tune_seeds.training.lightning_trainer",
    "Marginals": "tune_seeds.statistics.marginals",
    "MetricNotFoundError": "tune_seeds.engine.schedule.run_report",
    "MetricRange": "tune_seeds.statistics.metric_range",
    "NoCompleteGroupError": "tune_seeds.analysis.errors",
    "NothingToCompareError": "tune_seeds.analysis.errors",
    "OddReportError": "tune_seeds.core.reported",
    "OverlappingSeedsError": "tune_seeds.statistics.confirmation",
    "Plots": "tune_seeds.views.figures.plot",
    "Policy": "tune_seeds.policies.base",
    "ProcessFailedError": "tune_seeds.reproduce.subprocesses",
    "Promotion": "tune_seeds.policies.base",
    "Retrained": "tune_seeds.handover.retraining",
    "RunInfo": "tune_seeds.training.run_info",
    "RunKey": "tune_seeds.core.ledger",
    "Rung": "tune_seeds.core.rungs",
    "RungMissedError": "tune_seeds.race.race",
    "SeedChances": "tune_seeds.statistics.seed_effect",
    "SeedEnsemble": "tune_seeds.handover.ensemble",
    "SeedReport": "tune_seeds.analysis.finalists.seed_report",
    "SeedResults": "tune_seeds.results",
    "SeedTuner": "tune_seeds.tuner",
    "SeedsToSeparate": "tune_seeds.statistics.comparison",
    "Share": "tune_seeds.statistics.collapse",
    "Stage": "tune_seeds.reproduce.audit.trace",
    "Standing": "tune_seeds.analysis.group_summary",
    "State": "tune_seeds.analysis.group_summary",
    "StudyComparison": "tune_seeds.analysis.study_comparison",
    "StudyFigure": "tune_seeds.views.figures.study_figure",
    "StudyInUseError": "tune_seeds.store.errors",
    "StudyLostError": "tune_seeds.store.errors",
    "UnreadableExperimentError": "tune_seeds.store.errors",
    "VarianceShares": "tune_seeds.statistics.seed_effect",
    "Verdict": "tune_seeds.reproduce.verify",
    "WinProbability": "tune_seeds.statistics.comparison",
    "audit": "tune_seeds.reproduce.audit",
    "load_rng_state": "tune_seeds.training.function",
    "run_info": "tune_seeds.training.run_info",
    "save_rng_state": "tune_seeds.training.function",
    "should_checkpoint": "tune_seeds.training.function",
    "verify": "tune_seeds.reproduce.verify",
}

__all__ = [
    "AuditError",
    "AuditReport",
    "BestGroup",
    "BestRecord",
    "CannotLoadPolicyError",
    "CannotLoadTrainableError",
    "CannotVerifyError",
    "Cause",
    "Chance",
    "Choice",
    "Collapse",
    "CommonFailureError",
    "Completeness",
    "Confirmation",
    "ConfirmedConfig",
    "Contention",
    "Expected",
    "Finding",
    "FreshConfirmation",
    "GroupResult",
    "Importance",
    "Importances",
    "IncompleteGroupError",
    "IntegrityError",
    "Interval",
    "JournalNotStoredError",
    "LightningTrainer",
    "Marginals",
    "MetricNotFoundError",
    "MetricRange",
    "NoCompleteGroupError",
    "NothingToCompareError",
    "OddReportError",
    "OverlappingSeedsError",
    "Plots",
    "Policy",
    "ProcessFailedError",
    "Promotion",
    "Retrained",
    "RunInfo",
    "RunKey",
    "Rung",
    "RungMissedError",
    "SeedChances",
    "SeedEnsemble",
    "SeedReport",
    "SeedResults",
    "SeedTuner",
    "SeedsToSeparate",
    "Share",
    "Stage",
    "Standing",
    "State",
    "StudyComparison",
    "StudyFigure",
    "StudyInUseError",
    "StudyLostError",
    "UnreadableExperimentError",
    "VarianceShares",
    "Verdict",
    "WinProbability",
    "audit",
    "load_rng_state",
    "run_info",
    "save_rng_state",
    "should_checkpoint",
    "verify",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
