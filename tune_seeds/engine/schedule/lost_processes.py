"""Runs whose process or node is gone: whether each is tried again, which Ray does not count."""

from __future__ import annotations

import logging
from collections import Counter

from ray.tune.experiment import Trial

from tune_seeds._compat.tune_controller import ended_itself
from tune_seeds.core.ledger import RunKey

logger = logging.getLogger(__name__)

#: How often a run is tried again whose process or node is gone.
MAX_LOST_PROCESSES = 10

#: How often in a row, with no report between, where its process ended by itself: the run does it.
MAX_IN_A_ROW = 3


class LostProcesses:
    """Counts the processes that each run loses; a run that kills each that it gets is given up."""

    def __init__(self) -> None:
        self._n_lost = Counter[RunKey]()
        self._n_in_a_row = Counter[RunKey]()
        self._reported_next: Trial | None = None

    def is_tried_again(self, key: RunKey, trial: Trial, error: Exception) -> bool:
        """Whether a run goes on in another process, from its last checkpoint.

        Args:
            key: the run.
            trial: its trial.
            error: by which Ray knows that the process is gone.
        """
        if self._n_lost[key] >= MAX_LOST_PROCESSES:
            return False
        if ended_itself(error):
            self._n_in_a_row[key] += 1
            if self._n_in_a_row[key] >= MAX_IN_A_ROW:
                return False
        self._n_lost[key] += 1
        self._reported_next = trial
        logger.warning(
            "group %s, seed %s lost its process and is tried again from its last checkpoint, for "
            "the %d. time of %d: %s",
            key.group,
            key.seed,
            self._n_lost[key],
            MAX_LOST_PROCESSES,
            (str(error).strip().splitlines() or [type(error).__name__])[-1],
        )
        return True

    def is_settled(self, trial: Trial) -> bool:
        """Whether the failure that Ray reports now is of a lost process whose run goes on.

        Ray reports a trial as failed before it tries it again, though its code did not fail.
        """
        if trial is not self._reported_next:
            return False
        self._reported_next = None
        return True

    def note_progress(self, key: RunKey) -> None:
        """A run reported an epoch that it had not reported before."""
        self._n_in_a_row.pop(key, None)
