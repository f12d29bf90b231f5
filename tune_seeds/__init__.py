"""Tune hyperparameters with Ray Tune and Lightning while the random seeds stay fixed."""

from tune_seeds.auditing import AuditError, AuditReport, audit
from tune_seeds.lightning import LightningTrainer
from tune_seeds.race import RungMissedError
from tune_seeds.results import BestGroup, NoCompleteGroupError, SeedResults
from tune_seeds.run_info import RunInfo, run_info
from tune_seeds.schedule import MetricNotFoundError
from tune_seeds.trainable import load_rng_state, save_rng_state, should_checkpoint
from tune_seeds.tuner import SeedTuner

__all__ = [
    "AuditError",
    "AuditReport",
    "BestGroup",
    "LightningTrainer",
    "MetricNotFoundError",
    "NoCompleteGroupError",
    "RunInfo",
    "RungMissedError",
    "SeedResults",
    "SeedTuner",
    "audit",
    "load_rng_state",
    "run_info",
    "save_rng_state",
    "should_checkpoint",
]
