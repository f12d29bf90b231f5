"""Deletes checkpoints, each once the journal that says so is stored.

In the other order a kill in between would leave a study that goes on from a checkpoint that is not
there. An object store takes its time, so a thread does it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque

from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.journal import Journal

logger = logging.getLogger(__name__)

_PERIOD_S = 1.0


class Deletions:
    """Directories of an experiment that are to be deleted.

    Args:
        directory: of the experiment.
        journal: of its events.
    """

    def __init__(self, directory: ExperimentDir, journal: Journal) -> None:
        self._directory = directory
        self._journal = journal
        self._queue = deque[tuple[int, str]]()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._warned = False

    def add(self, relative: str) -> None:
        """Delete a directory, once all events that were appended so far are stored."""
        self._queue.append((self._journal.n_appended, relative))
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="tune_seeds deletions")
            self._thread.daemon = True
            self._thread.start()

    def close(self) -> None:
        """Delete what is left; call it when the journal is closed."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        self._delete_stored()

    def _keep(self) -> None:
        while not self._closing.wait(_PERIOD_S):
            self._delete_stored()

    def _delete_stored(self) -> None:
        while self._queue and self._queue[0][0] <= self._journal.n_stored:
            _, relative = self._queue.popleft()
            try:
                self._directory.fs.delete_dir(self._directory.join(relative))
            except FileNotFoundError:
                continue
            except OSError as error:
                if not self._warned:
                    self._warned = True
                    logger.warning(
                        "the checkpoint %s, which no run needs, could not be deleted (%s)",
                        self._directory.join(relative),
                        error,
                    )
