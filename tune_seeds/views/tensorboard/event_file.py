"""TensorBoard event files, written without a thread and without an open file per run.

A study holds thousands of runs, most of them waiting. tensorboardX keeps a thread and a file for
each writer; here a file is opened, appended to and closed at each write.
"""

# TensorBoard's protocol messages carry no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

_count = itertools.count()


class EventFile:
    """One event file of one TensorBoard run, made at the first write.

    Args:
        directory: the run's directory, which names the run.
        ending: of the file's name.
    """

    def __init__(self, directory: Path, ending: str = "") -> None:
        self.directory = directory
        self._ending = ending
        self._pending: list[Event] = []
        self._path: Path | None = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add numbers of one step, kept until ``flush``."""
        summary = Summary(
            value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        )
        self.add(summary, step)

    def add(self, summary: Summary, step: int = 0) -> None:
        """Add any summary, kept until ``flush``."""
        self._pending.append(Event(wall_time=time.time(), step=step, summary=summary))

    def flush(self) -> None:
        """Append what was added."""
        if not self._pending:
            return
        events: Sequence[Event] = self._pending
        if self._path is None:
            self.directory.mkdir(parents=True, exist_ok=True)
            # TensorBoard reads the files of a run in the order of their names.
            name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}"
            name = f"{name}.{os.getpid()}.{next(_count)}{self._ending}"
            self._path = self.directory / name
            version = Event(wall_time=time.time(), file_version="brain.Event:2")
            events = [version, *events]
        with open(self._path, "ab") as stream:
            writer = RecordWriter(stream)
            for event in events:
                writer.write(event.SerializeToString())
        self._pending = []
