"""The ledger on disk: one JSON line per event, in the experiment's directory.

Ray snapshots an experiment every ten seconds at best, and forgets its scheduler (ray#30838). So
every event is written through as it happens; applied again in order, the lines rebuild the study.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tune_seeds.core.events import Event
from tune_seeds.store.codec import decode, encode
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.errors import JournalNotStoredError

logger = logging.getLogger(__name__)

JOURNAL = "ledger.jsonl"

#: An object store has no append: there the journal is uploaded whole, at most this often.
UPLOAD_PERIOD_S = 5.0
#: A disk has everything that was appended after so long, even if the machine's power fails.
SYNC_PERIOD_S = 1.0
#: How long the end of a study waits for storage that does not answer.
PATIENCE_S = 60.0
LONGEST_WAIT_S = 60.0


class Journal:
    """The events of one experiment, appended as they happen.

    On a disk every event is written before ``append`` returns, and synced by a thread within a
    second (a crash of this process loses nothing, one of the machine at most that second). For any
    other storage the journal is kept in a local file, and a thread uploads it within
    ``UPLOAD_PERIOD_S``, however long the next event takes; an upload that fails is tried again, in
    growing intervals, and the study goes on meanwhile.

    Args:
        directory: of the experiment.
        check: raises where this process may not write to the study any more.
    """

    def __init__(self, directory: ExperimentDir, check: Callable[[], None] = lambda: None) -> None:
        self._directory = directory
        self._check = check
        whole = b""
        if directory.exists(JOURNAL):
            # A kill can cut the last line; what follows must not be glued to it.
            found = directory.read(JOURNAL)
            whole = found[: found.rfind(b"\n") + 1]
            if whole != found:
                directory.write(JOURNAL, whole)
        self._spool: Path | None = None
        if directory.is_local:
            file = Path(directory.join(JOURNAL))
        else:
            self._spool = Path(tempfile.mkdtemp(prefix="tune_seeds-journal-"))
            file = self._spool / JOURNAL
            file.write_bytes(whole)
        self._file = file
        # Open as long as the study; unbuffered, so that a write that fails leaves nothing behind.
        self._stream: BinaryIO = open(file, "ab", buffering=0)  # noqa: SIM115
        self._n_pending = 0
        #: How many events were appended.
        self.n_appended = 0
        self._error: OSError | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def append(self, event: Event) -> None:
        """Write one event through.

        Raises:
            OSError: the disk is full, or gone; nothing of the event is left in the file.
        """
        self._check()
        line = encode(event) + b"\n"
        end = os.fstat(self._stream.fileno()).st_size
        try:
            written = self._stream.write(line)
            if written != len(line):
                raise OSError(f"{written} of {len(line)} bytes were written; the disk is full")
        except OSError as error:
            os.ftruncate(self._stream.fileno(), end)
            raise OSError(f"the journal {self._file} can't be written: {error}") from error
        with self._lock:
            self._n_pending += 1
            self.n_appended += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="tune_seeds journal")
            self._thread.daemon = True
            self._thread.start()

    @property
    def n_stored(self) -> int:
        """How many of the appended events would survive the loss of this machine's memory."""
        with self._lock:
            return self.n_appended - self._n_pending

    def close(self) -> None:
        """Wait until everything is stored, and release the file.

        Raises:
            JournalNotStoredError: the storage did not take the last events; a local copy has them.
        """
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        self._stream.close()
        if self._n_pending:
            raise JournalNotStoredError(
                f"the last {self._n_pending} events of {self._directory.path} could not be stored "
                f"({self._error}). The whole journal is {self._file}: copy it to "
                f"{self._directory.join(JOURNAL)}, and nothing is lost"
            )
        if self._spool is not None:
            shutil.rmtree(self._spool, ignore_errors=True)

    def _keep(self) -> None:
        """Store what is new, again and again, until the journal is closed."""
        period = SYNC_PERIOD_S if self._spool is None else UPLOAD_PERIOD_S
        wait, give_up = period, math.inf
        while self._n_pending or not self._closing.is_set():
            if self._closing.wait(wait):
                give_up = min(give_up, time.monotonic() + PATIENCE_S)
            n = self._n_pending
            try:
                if n:
                    self._store()
            except OSError as error:
                if time.monotonic() >= give_up:
                    self._error = error
                    return
                wait = min(2 * wait, LONGEST_WAIT_S)
                logger.warning(
                    "the journal of %s could not be stored (%s), and is tried again; the study "
                    "goes on, and %s has everything",
                    self._directory.path,
                    error,
                    self._file,
                )
                if self._closing.is_set():
                    time.sleep(min(1.0, PATIENCE_S / 10))
                continue
            wait = period
            with self._lock:
                self._n_pending -= n

    def _store(self) -> None:
        if self._spool is None:
            os.fsync(self._stream.fileno())
        else:
            self._directory.write(JOURNAL, self._file.read_bytes())


class Line(NamedTuple):
    """One line of a journal that holds an event."""

    number: int
    raw: bytes
    event: Event


class Damage(NamedTuple):
    """One line of a journal that can't be used."""

    number: int
    reason: str


def read_lines(
    directory: ExperimentDir, *, unpickle: bool = False
) -> tuple[list[Line], list[Damage]]:
    """The lines of a journal: those that hold an event, and those that are damaged.

    A last line without an end was cut by a kill; its event was not decided on, so it is left out
    and is no damage.

    Args:
        directory: of the experiment.
        unpickle: restore config values that JSON can't hold. Only for resuming one's own
            experiment: unpickling runs code. Otherwise such values are shown by their ``repr``.
    """
    whole: list[Line] = []
    damaged: list[Damage] = []
    if directory.exists(JOURNAL):
        for number, raw in enumerate(directory.read(JOURNAL).split(b"\n")[:-1], 1):
            try:
                whole.append(Line(number, raw, decode(raw, unpickle=unpickle)))
            except ValueError as error:
                damaged.append(Damage(number, f"no event that this version knows ({error})"))
    return whole, damaged


def read_events(directory: ExperimentDir, *, unpickle: bool = False) -> Iterator[Event]:
    """The events of an experiment in their order, without its damaged lines; see ``read_lines``."""
    return (line.event for line in read_lines(directory, unpickle=unpickle)[0])
