"""Read what a run reports: its epoch and its numbers, or why they can't be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tune_seeds.core.reported import OddReportError, described, number, whole
from tune_seeds.training.reporting import CHECKPOINT_BYTES

#: Kept beside a run's own metrics: Ray needs them to go on from a checkpoint.
RAY_METRICS = ("training_iteration", "time_total_s")

# What Ray Tune adds to every report.
_AUTOFILLED = frozenset(
    {
        "timestamp",
        "done",
        "pid",
        "time_this_iter_s",
        "time_since_restore",
        "iterations_since_restore",
        "timesteps_total",
        "timesteps_since_restore",
        "episodes_total",
        "warmup_time",
        "should_checkpoint",
        CHECKPOINT_BYTES,
        "experiment_tag",
    }
)


class MetricNotFoundError(OddReportError):
    """The metric to tune is not among what a run reports; it is misspelt or never logged."""


def read_report(
    result: Mapping[str, Any], time_attr: str, metric: str, period: int
) -> tuple[int, dict[str, float]]:
    """The epoch of a report and its numbers.

    Args:
        result: as Ray hands it to a scheduler.
        time_attr: the key that counts progress.
        metric: what is tuned.
        period: the metric is due at multiples of this many epochs.

    Raises:
        OddReportError: it has no whole epoch, or no number where the metric is due.
    """
    if time_attr not in result:
        raise MetricNotFoundError(
            f"the run reports no {time_attr!r}, by which the scheduler counts "
            f"(time_attr); it reports {_names(result)}"
        )
    epoch = whole(time_attr, result[time_attr])
    if metric not in result and epoch % period == 0:
        raise MetricNotFoundError(
            f"the metric {metric!r} was not reported at epoch {epoch}; the run reports "
            f"{_names(result)}: name one of these in TuneConfig(metric=...), or log {metric!r}"
        )
    numbers = _numbers(result)
    if metric in result and metric not in numbers:
        raise OddReportError(
            f"the metric {metric!r} must be a number, got {described(result[metric])} at epoch "
            f"{epoch}"
        )
    return epoch, numbers


def first_difference(
    first: Mapping[str, float], again: Mapping[str, float]
) -> tuple[str, float, float] | None:
    """The first metric that an epoch has another value of where it is reported again.

    Ray's own numbers, such as the time, don't count, and two NaN are equal.

    Returns:
        Its name, what it was and what it is; None where the reports agree on what both have.
    """
    for name, value in again.items():
        then = first.get(name, value)
        if name not in RAY_METRICS and then != value and not (then != then and value != value):
            return name, then, value
    return None


def _numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """The numbers that a run itself reported, and those of Ray's that a resume needs."""
    numbers: dict[str, float] = {}
    for name, value in result.items():
        if name in _AUTOFILLED or name.startswith("config/"):
            continue
        found = number(value)
        if found is not None:
            numbers[name] = found
    return numbers


def _names(result: Mapping[str, Any]) -> str:
    own = sorted(name for name in _numbers(result) if name not in RAY_METRICS)
    return ", ".join(repr(name) for name in own) or "no metric at all"
