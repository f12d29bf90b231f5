"""How a Lightning run reports to Ray Tune."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from ray import tune
from ray.train._internal.session import (
    get_session,  # pyright: ignore[reportUnknownVariableType]
)

from tune_seeds import environment

logger = logging.getLogger(__name__)

#: The report key of the environment record, as JSON, in a run's first report.
ENVIRONMENT = "environment_record"


def report_environment(config: Mapping[str, Any], device: str, code: Callable[..., Any]) -> None:
    """Let the first report of the function that runs in this process carry its environment record.

    A user's function calls ``tune.report`` itself, so the session that it calls is wrapped.
    """
    session = cast(Any, get_session())
    if session is None or session.loaded_checkpoint is not None:
        return
    report = session.report

    def first(metrics: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        session.report = report
        record = environment.record(config["seed"], config, device, code)
        report({**metrics, ENVIRONMENT: json.dumps(record, default=repr)}, *args, **kwargs)

    session.report = first


class TuneReport:
    """Reports to Ray Tune; the first report of a run carries its environment record.

    Args:
        config: of the run, with ``seed``.
        device: ``"cpu"`` or ``"cuda"``.
        code: the user's module class.
    """

    def __init__(self, config: Mapping[str, Any], device: str, code: Callable[..., Any]) -> None:
        self._config = config
        self._code = code
        self._device = device
        self._first = cast(Any, tune).get_checkpoint() is None

    def __call__(
        self,
        metrics: dict[str, float],
        save: Callable[[Path], None] | None,
        fingerprints: Mapping[str, str],
    ) -> None:
        """Report one epoch."""
        reported: dict[str, Any] = dict(metrics)
        if self._first:
            self._first = False
            record = environment.record(
                self._config["seed"], self._config, self._device, self._code
            )
            reported[ENVIRONMENT] = json.dumps({**record, **fingerprints}, default=repr)
        report = cast(Any, tune).report
        if save is None:
            report(reported)
            return
        with tempfile.TemporaryDirectory() as directory:
            save(Path(directory))
            report(reported, checkpoint=cast(Any, tune.Checkpoint).from_directory(directory))
