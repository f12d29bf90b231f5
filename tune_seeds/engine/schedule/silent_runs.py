"""Runs that have not reported for too long, whose process is ended."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from ray.tune.experiment import Trial

from tune_seeds._compat.tune_controller import Controller
from tune_seeds.core.ledger import RunKey

logger = logging.getLogger(__name__)


class SilentRuns:
    """Ends the process of each run that takes too long from one report to the next.

    Args:
        timeout_s: how long a run may take; None: any time.
    """

    def __init__(self, timeout_s: float | None) -> None:
        self._timeout_s = timeout_s
        self._since: dict[RunKey, float] = {}
        self._ended: set[RunKey] = set()

    def __contains__(self, key: RunKey) -> bool:
        """Whether the process of a run was ended, and Ray has not told of it yet."""
        return key in self._ended

    def note_sign_of_life(self, key: RunKey) -> None:
        """A run reported or failed; its time begins anew when it is next seen to train."""
        self._since.pop(key, None)

    def end_overdue(
        self,
        busy: Iterable[RunKey],
        trials: Mapping[RunKey, Trial],
        controller: Controller,
        now: float,
    ) -> None:
        """End the process of each run that has not reported for too long.

        Args:
            busy: the runs that hold a slot.
            trials: the trial of each run that has one.
            controller: ends processes.
            now: seconds, from any start.
        """
        if self._timeout_s is None:
            return
        for key in busy:
            trial = trials.get(key)
            if trial is None or trial.status != Trial.RUNNING:
                self._since.pop(key, None)
                continue
            since = self._since.setdefault(key, now)
            if now - since < self._timeout_s or key in self._ended:
                continue
            self._ended.add(key)
            logger.warning(
                "group %s, seed %s has not reported for %g s (epoch_timeout_s): its process is "
                "ended",
                key.group,
                key.seed,
                self._timeout_s,
            )
            controller.kill(trial)

    def take_error(self, key: RunKey) -> str | None:
        """Why a run failed whose process was ended; None where it failed by itself."""
        if key not in self._ended:
            return None
        self._ended.discard(key)
        return f"TimeoutError: no report within epoch_timeout_s={self._timeout_s:g}"
