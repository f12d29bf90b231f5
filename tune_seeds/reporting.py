"""How a Lightning run reports to Ray Tune."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from ray import tune
from ray.train._internal.session import get_session

logger = logging.getLogger(__name__)

#: The report key of the environment record, as JSON, in a run's first report.
ENVIRONMENT = "environment_record"


def report_environment(describe: Callable[[], dict[str, Any]]) -> None:
    """Let the first report of the function that runs in this process carry its environment record.

    A user's function calls ``tune.report`` itself, so the session that it calls is wrapped.

    Args:
        describe: makes the environment record; called at the first report.
    """
    session = cast(Any, get_session())
    if session is None or session.loaded_checkpoint is not None:
        return
    report = session.report

    def first(metrics: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        session.report = report
        report({**metrics, ENVIRONMENT: json.dumps(describe(), default=repr)}, *args, **kwargs)

    session.report = first


class TuneReport:
    """Reports to Ray Tune; the first report of a run carries its environment record.

    Args:
        describe: makes the environment record.
    """

    def __init__(self, describe: Callable[[], dict[str, Any]]) -> None:
        self._describe = describe
        self._first = cast(Any, tune).get_checkpoint() is None

    def __call__(
        self,
        metrics: dict[str, float],
        save: Callable[[Path], None] | None,
        fingerprints: Mapping[str, str],
    ) -> None:
        """Report one epoch."""
        record = None
        if self._first:
            self._first = False
            record = {**self._describe(), **fingerprints}
        if save is None:
            report_epoch(metrics, record, None)
            return
        with tempfile.TemporaryDirectory() as directory:
            save(Path(directory))
            report_epoch(metrics, record, Path(directory))


def report_epoch(
    metrics: Mapping[str, float], record: Mapping[str, Any] | None, directory: Path | None
) -> None:
    """Report one epoch to Ray Tune.

    Args:
        metrics: of the epoch.
        record: the environment record, with a run's first report.
        directory: of the checkpoint, if there is one.
    """
    reported: dict[str, Any] = dict(metrics)
    if record is not None:
        reported[ENVIRONMENT] = json.dumps(record, default=repr)
    checkpoint = None if directory is None else cast(Any, tune.Checkpoint).from_directory(directory)
    cast(Any, tune).report(reported, checkpoint=checkpoint)
