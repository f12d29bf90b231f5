"""What Ray calls its results, where a study over seeds has another word for it."""

from __future__ import annotations

import math

import pandas as pd

from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.jsonable import flat

#: Attributes of Ray's ``Result`` that one config over several seeds can't have, and what to write.
NOT_OF_A_CONFIG = {
    "checkpoint": "each seed has its own: write best.checkpoints[{seed}], or best.load(Module)",
    "path": "each seed has its own directory: write best.paths[{seed}]",
    "best_checkpoints": "runs are compared at equal epochs, so there is no best epoch of a config: "
    "write best.checkpoints[{seed}]; files of a ModelCheckpoint are best.model_checkpoints[{seed}]",
    "get_best_checkpoint": "runs are compared at equal epochs: write best.checkpoints[{seed}]",
    "from_path": "write SeedResults(path).best",
}

_MODES = ("min", "max")


def last_reports(
    record: StudyRecord, filter_metric: str | None = None, filter_mode: str | None = None
) -> pd.DataFrame:
    """One row for each run that has reported, as Ray's ``ResultGrid.get_dataframe`` has one.

    Args:
        record: of the study.
        filter_metric: take the report in which this metric is best, instead of the last one.
        filter_mode: ``"min"`` or ``"max"``; for the study's metric its own mode if None.

    Raises:
        ValueError: a mode without a metric, or a metric that no run has reported.
    """
    if filter_metric is None and filter_mode is not None:
        raise ValueError(f"filter_mode={filter_mode!r} needs filter_metric=...")
    if filter_metric is not None:
        if filter_metric == record.header.metric:
            filter_mode = filter_mode or record.header.mode
        if filter_mode not in _MODES:
            raise ValueError(f"filter_mode must be 'min' or 'max', got {filter_mode!r}")
        check_reported(record, filter_metric)
    rows: list[dict[str, object]] = []
    for key, run in record.ledger.items():
        epochs = [
            e for e, m in run.reports.items() if filter_metric is None or _in(m, filter_metric)
        ]
        if not epochs:
            continue
        epoch = max(epochs)
        if filter_metric is not None:
            sign = 1 if filter_mode == "max" else -1
            # The first of equal ones, as Ray takes it.
            epoch = max(sorted(epochs), key=lambda e: sign * run.reports[e][filter_metric])
        config = {**record.ledger.configs[key.group], "seed": key.seed}
        rows.append(
            {
                **run.reports[epoch],
                record.header.time_attr: epoch,
                "group": key.group,
                "trial_id": run.trial_id,
                "logdir": record.directory.join(run.trial_dir) if run.trial_dir else None,
                **{f"config/{name}": value for name, value in flat(config).items()},
            }
        )
    return pd.DataFrame(rows)


def check_reported(record: StudyRecord, metric: str) -> None:
    """Refuse a metric that no run has reported.

    Raises:
        ValueError: there is none of that name; the message lists those that are there.
    """
    known = {
        name
        for run in record.ledger.values()
        for metrics in run.reports.values()
        for name in metrics
    }
    if metric not in known:
        raise ValueError(
            f"no run reported the metric {metric!r}; they report {', '.join(sorted(known)) or '-'}"
        )


def _in(metrics: dict[str, float], name: str) -> bool:
    return name in metrics and not math.isnan(metrics[name])
