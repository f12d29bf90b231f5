"""Signals that end a study: it is left in order, and says by what."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

# What a cluster's scheduler sends before it kills, and a terminal that is closed.
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Received:
    """The signal that ended a study, once one has."""

    def __init__(self) -> None:
        self._number: signal.Signals | None = None

    @property
    def number(self) -> signal.Signals | None:
        """The last one; None where there was none."""
        return self._number

    def take(self, number: int) -> None:
        """Note that one has come."""
        self._number = signal.Signals(number)


@contextmanager
def ending_signals() -> Generator[Received]:
    """Take SIGTERM and SIGHUP as Ray Tune takes Ctrl-C: it ends trials and saves what it knows.

    Without this SIGTERM raises ``SystemExit`` in the middle of whatever the driver does. Handlers
    can be set in the main thread only; elsewhere signals stay as they are.
    """
    received = Received()
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def end(number: int, frame: FrameType | None) -> None:
        received.take(number)
        os.kill(os.getpid(), signal.SIGINT)

    before = {number: signal.signal(number, end) for number in _ENDING}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
