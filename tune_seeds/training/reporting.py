"""How runs report to Ray Tune."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from ray import tune

from tune_seeds._compat.ray_tune import current_session
from tune_seeds.core.jsonable import plain
from tune_seeds.core.reported import OddReportError, described, with_plain_numbers

logger = logging.getLogger(__name__)

#: The report key of the environment record, as JSON, in a run's first report.
ENVIRONMENT = "environment_record"

#: The report key of a checkpoint's size.
CHECKPOINT_BYTES = "checkpoint_bytes"

#: The entry of a run's environment record that counts how often it was trained again from its
#: beginning, because a pause would have changed it.
RESTARTS = "restarts"


def watch_reports(describe: Callable[[], dict[str, Any]]) -> None:
    """Let what the function that runs in this process reports pass through here.

    Numbers of any kind become Python's own (``core.reported``), and the first report carries the
    environment record. A user's function calls ``tune.report`` itself, so the session that it
    calls is wrapped.

    Args:
        describe: makes the environment record; called at the first report.
    """
    session = current_session()
    if session is None:
        return
    report = session.report
    first = True

    def watched(metrics: Any, *args: Any, **kwargs: Any) -> None:
        nonlocal first
        if not isinstance(metrics, Mapping):
            raise OddReportError(
                f"tune.report takes a dict of metrics, got {described(metrics)}; write "
                'tune.report({"name": value})'
            )
        reported = with_plain_numbers(cast(Mapping[Any, Any], metrics))
        if first:
            first = False
            reported[ENVIRONMENT] = json.dumps(plain(describe()))
        given = kwargs.get("checkpoint", args[0] if args else None)
        if given is not None and os.path.isdir(given.path):
            reported[CHECKPOINT_BYTES] = size_of(given.path)
        report(reported, *args, **kwargs)

    session.report = watched


class RecordDue:
    """Says which reports of a run carry its environment record.

    Args:
        first: whether its next report does, as the first of a process that trains it.
    """

    def __init__(self, *, first: bool) -> None:
        self._first = first
        self._restart_told = False

    def __call__(self, fingerprints: Mapping[str, str]) -> bool:
        """Whether a report carries the record; to be asked once for each report, in their order.

        The first does, and so does the first after the run was trained again from its beginning.

        Args:
            fingerprints: of the run at this report; they say whether it was trained again.
        """
        restarted = RESTARTS in fingerprints
        if not self._first and (not restarted or self._restart_told):
            return False
        self._first, self._restart_told = False, restarted
        return True


class TuneReport:
    """Reports to Ray Tune; the first report carries the run's environment record.

    So does the first after a pause, where the run may have gone on somewhere else. Where it could
    not go on from the pause, the record says how often it was trained again from its beginning,
    and why.

    Args:
        describe: makes the environment record.
    """

    def __init__(self, describe: Callable[[], dict[str, Any]]) -> None:
        self._describe = describe
        self._record_due = RecordDue(first=True)

    def __call__(
        self,
        metrics: dict[str, float],
        save: Callable[[Path], None] | None,
        fingerprints: Mapping[str, str],
    ) -> None:
        """Report one epoch."""
        record = None
        if self._record_due(fingerprints):
            record = {**self._describe(), **fingerprints}
        if save is None:
            report_epoch(metrics, record, None)
            return
        with tempfile.TemporaryDirectory() as directory:
            save(Path(directory))
            report_epoch(metrics, record, Path(directory))


def size_of(directory: str | Path) -> int:
    """The bytes of all files in a directory."""
    return sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file())


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
        reported[ENVIRONMENT] = json.dumps(plain(dict(record)))
    if directory is not None:
        reported[CHECKPOINT_BYTES] = size_of(directory)
    checkpoint = None if directory is None else cast(Any, tune.Checkpoint).from_directory(directory)
    cast(Any, tune).report(reported, checkpoint=checkpoint)
