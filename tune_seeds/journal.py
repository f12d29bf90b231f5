"""The ledger on disk: one JSON line per event, in the experiment's directory.

Ray snapshots an experiment every ten seconds at best, and forgets its scheduler (ray#30838). So
every event is written through as it happens; applied again in order, the lines rebuild the study.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import time
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, cast

import numpy as np
import pyarrow.fs
from ray import cloudpickle

from tune_seeds import events
from tune_seeds.events import Event
from tune_seeds.ledger import Rung

JOURNAL = "ledger.jsonl"
HEADER = "study.json"

# An object store has no append: there the journal is uploaded whole, at most this often.
_UPLOAD_PERIOD_S = 10.0

_KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        events.GroupAdded,
        events.Promoted,
        events.TrialAssigned,
        events.Reported,
        events.Scored,
        events.ConfirmationAdded,
        events.EnvironmentRecorded,
        events.RunCompleted,
        events.RunStopped,
        events.RunFailed,
        events.RunRetried,
        events.SearchExhausted,
        events.StudyLeft,
    )
}


class UnreadableExperimentError(ValueError):
    """The record of an experiment is damaged, or of another version of this package."""


class Journal:
    """The events of one experiment, appended as they happen.

    Args:
        fs: the experiment's file system.
        path: the experiment's directory on it.
    """

    def __init__(self, fs: pyarrow.fs.FileSystem, path: str) -> None:
        self._fs = fs
        self._file = str(PurePosixPath(path) / JOURNAL)
        self._local = isinstance(fs, pyarrow.fs.LocalFileSystem)
        self._lines: list[bytes] = []
        self._uploaded_at = -math.inf
        self._stream = None
        if exists(fs, self._file):
            # A kill can cut the last line; what follows must not be glued to it.
            whole = read_bytes(fs, self._file)
            whole = whole[: whole.rfind(b"\n") + 1]
            self._lines = whole.splitlines(keepends=True)
            write_atomically(fs, self._file, whole)
        if self._local:
            self._stream = open(self._file, "ab")  # noqa: SIM115 - open as long as the study

    def append(self, event: Event) -> None:
        """Write one event through."""
        line = encode(event) + b"\n"
        if self._stream is not None:
            self._stream.write(line)
            self._stream.flush()
            return
        self._lines.append(line)
        if time.monotonic() - self._uploaded_at >= _UPLOAD_PERIOD_S:
            self.flush()

    def flush(self) -> None:
        """Upload what an object store has not got yet."""
        if self._stream is None:
            write_atomically(self._fs, self._file, b"".join(self._lines))
            self._uploaded_at = time.monotonic()

    def close(self) -> None:
        """Flush and release the file."""
        self.flush()
        if self._stream is not None:
            self._stream.close()


def read_events(fs: pyarrow.fs.FileSystem, path: str, *, unpickle: bool = False) -> Iterator[Event]:
    """The events of an experiment in their order.

    Args:
        fs: the experiment's file system.
        path: the experiment's directory on it.
        unpickle: restore config values that JSON can't hold. Only for resuming one's own
            experiment: unpickling runs code. Otherwise such values are shown by their ``repr``.

    Raises:
        UnreadableExperimentError: a line is no event that this version knows.
    """
    file = str(PurePosixPath(path) / JOURNAL)
    if not exists(fs, file):
        return
    for number, line in enumerate(read_bytes(fs, file).split(b"\n")[:-1], 1):
        try:
            yield decode(line, unpickle=unpickle)
        except (ValueError, TypeError, KeyError) as error:
            raise UnreadableExperimentError(
                f"line {number} of {file} is no event that this version of tune-seeds knows "
                f"({type(error).__name__}: {error}): the file is damaged, or another version "
                "wrote it"
            ) from error


def encode(event: Event) -> bytes:
    """One JSON object; floats that JSON has no word for become strings."""
    record: dict[str, Any] = {"event": type(event).__name__}
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if isinstance(value, Rung):
            value = [value.epochs, value.n_seeds]
        elif field.name == "metrics":
            value = {k: v if math.isfinite(v) else repr(v) for k, v in value.items()}
        elif field.name == "environment":
            value = plain(value)  # it holds the config, and so any of its values
        record[field.name] = value
    if isinstance(event, events.GroupAdded):
        record["config"] = plain(event.config)
        if not _same(record["config"], event.config):
            pickled = cloudpickle.dumps(event.config)
            record["config_pickle"] = base64.b64encode(pickled).decode()
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode()


def decode(line: bytes, *, unpickle: bool = False) -> Event:
    """The event of one line; see ``read_events``."""
    record = cast(dict[str, Any], json.loads(line))
    if not isinstance(record, dict):
        raise ValueError(f"{record!r} is not an object")
    kind = _KINDS[record.pop("event")]
    pickled = record.pop("config_pickle", None)
    if pickled is not None and unpickle:
        record["config"] = cloudpickle.loads(base64.b64decode(pickled))
    if "rung" in record:
        record["rung"] = Rung(*record["rung"])
    if kind is events.Scored:
        scores = dict[str, Any](record["scores"])
        record["scores"] = {int(seed): float(v) for seed, v in scores.items()}
    if kind is events.ConfirmationAdded:
        record.update(groups=tuple(record["groups"]), seeds=tuple(record["seeds"]))
    if "metrics" in record:
        metrics = dict[str, Any](record["metrics"])
        record["metrics"] = {k: float(v) for k, v in metrics.items()}
    return kind(**record)


def plain(value: Any) -> Any:
    """A JSON value for a config value: numbers and text as they are, the rest by ``repr``."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in cast(dict[Any, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in cast(list[Any], value)]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return repr(value)


def identity(config: dict[str, Any]) -> bytes:
    """Bytes that are equal for equal configs, whatever the order of their keys."""
    ordered = dict(sorted(config.items()))
    text = plain(ordered)
    if _same(text, ordered):
        return json.dumps(text).encode()
    return cloudpickle.dumps(ordered)


def _same(decoded: Any, original: Any) -> bool:
    if type(decoded) is not type(original):
        return False
    if isinstance(decoded, dict):
        a, b = cast(dict[Any, Any], decoded), cast(dict[Any, Any], original)
        return list(a) == list(b) and all(_same(a[k], b[k]) for k in a)
    if isinstance(decoded, list):
        a, b = cast(list[Any], decoded), cast(list[Any], original)
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(decoded == original)


def exists(fs: pyarrow.fs.FileSystem, file: str) -> bool:
    """Whether there is something at a path."""
    return fs.get_file_info(file).type != pyarrow.fs.FileType.NotFound


def read_bytes(fs: pyarrow.fs.FileSystem, file: str) -> bytes:
    """A whole file."""
    with fs.open_input_stream(file) as stream:
        return stream.read()


def write_atomically(fs: pyarrow.fs.FileSystem, file: str, data: bytes) -> None:
    """Replace a file, so that a kill leaves the old one or the new one.

    An object store replaces atomically by itself, and has no cheap rename.
    """
    local = isinstance(fs, pyarrow.fs.LocalFileSystem)
    target = f"{file}.tmp" if local else file
    with fs.open_output_stream(target) as stream:
        stream.write(data)
    if local:
        fs.move(target, file)
