"""A study as rows: one for each config, one for each run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tune_seeds.analysis.group_summary import Standing
from tune_seeds.core.jsonable import flat
from tune_seeds.core.ledger import Ledger, Outcome, RunKey
from tune_seeds.store.directory import ExperimentDir


def group_row(ledger: Ledger, found: Standing) -> dict[str, Any]:
    """One config, as a row of ``StudyRecord.groups``, which describes the columns.

    Args:
        ledger: has the runs of its confirmation.
        found: where its group stands.
    """
    values = list(found.values.values())
    fresh = {seed: ledger.get(RunKey(found.group, seed)) for seed in ledger.fresh_seeds}
    return {
        "group": found.group,
        **_config_columns(found.config),
        "state": str(found.state),
        "epochs": 0 if found.rung is None else found.rung.epochs,
        "n_seeds": len(values),
        "score": found.score,
        "mean": float(np.mean(values)) if values else math.nan,
        "std": found.std,
        "estimate": found.estimate,
        "low": found.interval.low,
        "high": found.interval.high,
        "seeds_low": found.seeds_interval.low,
        "seeds_high": found.seeds_interval.high,
        **{f"score/{seed}": value for seed, value in found.values.items()},
        **{
            f"fresh/{seed}": ledger.metric.own(run.curve[run.last_epoch])
            for seed, run in fresh.items()
            if run is not None and run.outcome is Outcome.COMPLETED
        },
        "why": "; ".join(f"seed {seed}: {error}" for seed, error in found.failures.items()),
    }


def run_rows(ledger: Ledger, directory: ExperimentDir) -> list[dict[str, Any]]:
    """Every run that was started: group, seed, config, epochs, metric, outcome, where it is.

    Args:
        ledger: read only.
        directory: of the experiment, in which the paths lie.
    """
    rows: list[dict[str, Any]] = []
    for key, run in ledger.items():
        if run.trial_id is None:
            continue
        last = run.last_epoch
        checkpoint = run.checkpoints[max(run.checkpoints)] if run.checkpoints else None
        rows.append(
            {
                "group": key.group,
                "seed": key.seed,
                **_config_columns(ledger.configs[key.group]),
                "epochs": last,
                ledger.metric.name: ledger.metric.own(run.curve[last]) if last else math.nan,
                "outcome": "unfinished" if run.outcome is None else str(run.outcome),
                "error": run.error or "",
                "trial_id": run.trial_id,
                "path": directory.join(run.trial_dir) if run.trial_dir else None,
                "checkpoint": directory.join(checkpoint) if checkpoint else None,
            }
        )
    return rows


def _config_columns(config: dict[str, Any]) -> dict[str, Any]:
    return {f"config/{key}": value for key, value in flat(config).items()}
