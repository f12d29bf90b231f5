"""Why a run failed: the exception at the root of what Python, Ray and others wrote about it.

A worker's exception reaches the driver as text. Its object may not survive the way (its class may
exist on the worker only, or refuse to be pickled), its traceback never does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<where>.+))?$')
_EXCEPTION = re.compile(r"^(?P<kind>[A-Za-z_][\w.<>]*(?:\([\w.]+\))?)(?:: (?P<message>.*))?$")
_CHAINED = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
# What begins a traceback; Ray puts its own in the place of Python's.
_HEADER = re.compile(r"ray::.*\(pid=\d+, |Traceback \(most recent call last\):$")
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
# Ray adds this to the text of some errors.
_INTERNAL = re.compile(r"^\s*An unexpected internal error occurred while .*$", re.MULTILINE)

# Where there is no traceback, only a name like these shows that a line is an exception.
_NAMED = re.compile(r"^((?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit))(?:: (.*))?$")

# Exceptions of Ray's that only say that another one was raised elsewhere.
_WRAPPERS = re.compile(
    r"^(ray\..*|.*\bRay(Task|Actor|System)?Error\b.*|TuneError|ActorDiedError|WorkerGroupError"
    r"|TrainingFailedError|.*_TuneStopTrialError)$"
)
_WRAPPING = ("failed to import on the worker", "isn't serializable", "System error: ")

# Where the code of installed packages, of Python itself and of this package lies. The first group
# of a path's folders may differ between the machines of a cluster.
_NOT_THE_USERS = re.compile(
    r"(/(site|dist)-packages/|/lib/python3[.\d]*/|^<frozen |^<string>$|\.pyx$"
    r"|/tune_seeds/(training|engine|_compat|core|race|store)/|^python/ray/)"
)
_MACHINERY = re.compile(
    r"(/ray/|^python/ray/|\.pyx$|/cloudpickle/|/pickle\.py$|^<frozen |/tune_seeds/)"
)

_MOST_LINES = 12
_MOST_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class RootCause:
    """The exception that others only pass on.

    Attributes:
        kind: name of its class.
        message: its text; may have several lines, or none.
        place: ``file:line`` of the innermost code of the user's own that was at work, or else of
            a library; empty where neither was.
        became: the exception of the user's that it was turned into, if any, as one text.
    """

    kind: str
    message: str
    place: str = ""
    became: str = ""

    def __str__(self) -> str:
        text = f"{self.kind}: {self.message}" if self.message else self.kind
        place = f" ({self.place})" if self.place else ""
        head, mark, rest = text.partition("\n")
        became = f", which became {self.became}" if self.became else ""
        return f"{head}{place}{became}{mark}{rest}"

    @property
    def line(self) -> str:
        """The cause on one line, as tables show it."""
        text = " ".join(str(self).split())
        return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"

    @property
    def missing_module(self) -> str | None:
        """The module that was not found, where that is the cause."""
        found = re.search(r"No module named '?([\w.]+)'?", self.message)
        return found[1] if self.kind == "ModuleNotFoundError" and found else None

    def like(self, own: Mapping[str, str]) -> RootCause:
        """The cause without what differs from run to run though the fault is the same.

        Args:
            own: what names the run in texts (its seed, trial and directories), and what to write
                in place of each.
        """
        message = self.message
        for text, word in sorted(own.items(), key=lambda item: -len(item[0])):
            if text:
                whole = rf"(?<![\w.]){re.escape(text)}(?!\w|\.\d)"
                message = re.sub(whole, word, message)
        message = re.sub(r"0x[0-9a-fA-F]{6,}", "0x", message)
        message = re.sub(r"(/tmp/)[\w.-]+", r"\1", message)
        message = re.sub(r"\b(pid|ip|port|actor_id|node_id)=[\w.]+", r"\1=", message)
        return RootCause(self.kind, message, self.place)


@dataclass(slots=True)
class _Raised:
    """One exception of a text, with what led to it."""

    kind: str
    message: str
    frames: list[tuple[str, int]]
    chained: bool  # the one before it in the text is its cause, and not told in its message

    @property
    def is_wrapper(self) -> bool:
        if _WRAPPERS.match(self.kind):
            return True
        return self.kind == "RuntimeError" and any(w in self.message for w in _WRAPPING)

    @property
    def place(self) -> str:
        """The innermost frame in the user's own code, or else outside of what carries runs out."""
        own = [frame for frame in self.frames if not _NOT_THE_USERS.search(frame[0])]
        others = [frame for frame in self.frames if not _MACHINERY.search(frame[0])]
        last = next(iter((own or others)[-1:]), None)
        return "" if last is None else f"{last[0]}:{last[1]}"

    @property
    def is_the_users(self) -> bool:
        return bool(self.place) and not _NOT_THE_USERS.search(self.place.rpartition(":")[0])


def root_cause(text: str) -> RootCause:
    """Find the root of a failure in the text that Ray has of it.

    Of exceptions that were raised while others were handled, the first is the root; of those that
    are told in the message of another (by Ray, by a loader's worker), the innermost.
    """
    text = _INTERNAL.sub("", _COLORS.sub("", text))
    found = [raised for raised in _raised(text.splitlines()) if raised.kind]
    if not found:
        return _without_traceback(text)
    first = 0
    while first + 1 < len(found) and not found[first + 1].chained:
        first += 1
    inner = [raised for raised in found[first:] if not raised.is_wrapper]
    inner = inner or [raised for raised in found if not raised.is_wrapper] or found
    root = inner[0]
    last = inner[-1]
    became = ""
    if last is not root and last.is_the_users and last.chained:
        place = f" ({last.place})" if last.place else ""
        became = f"{last.kind}: {last.message.splitlines()[0] if last.message else ''}{place}"
    name = root.kind.rpartition(".")[2]
    return RootCause(name, root.message, root.place, became)


def _raised(lines: list[str]) -> Iterator[_Raised]:
    """The exceptions of a text, in its order."""
    frames: list[tuple[str, int]] = []
    headed, chained, number = False, False, 0
    while number < len(lines):
        line = lines[number]
        number += 1
        frame = _FRAME.match(line)
        if frame is not None:
            frames.append((frame["file"], int(frame["line"])))
            continue
        if line.strip() in _CHAINED:
            chained = True
            continue
        if _HEADER.search(line):
            headed = True  # Ray leaves out the first frame, which may be the only one
            continue
        exception = _EXCEPTION.match(line)
        if not (frames or headed) or exception is None:
            continue
        message = [exception["message"] or ""]
        while number < len(lines) and not _starts_another(lines[number]):
            message.append(lines[number])
            number += 1
        whole = "\n".join(message[:_MOST_LINES]).strip()
        yield _Raised(exception["kind"], whole, frames, chained)
        frames, headed, chained = [], False, False


def _starts_another(line: str) -> bool:
    return (
        line.strip() in _CHAINED
        or _FRAME.match(line) is not None
        or _HEADER.search(line) is not None
    )


def _without_traceback(text: str) -> RootCause:
    """Of a process that has died, Ray says how; the rest of its text says what that may mean."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Failure # ")]
    detail = re.search(r"Worker exit type: (.*?) Worker exit detail: (.*)", " ".join(lines))
    if detail is not None:
        told = re.split(r"(?<=[.!]) (?=Some common causes|There are some)", detail[2])[0]
        return RootCause("the run's process died", told)
    for line in lines:
        exception = re.match(
            r"^((?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit))(?:: (.*))?$", line
        )
        if exception is not None and not _WRAPPERS.match(exception[1]):
            return RootCause(exception[1].rpartition(".")[2], exception[2] or "")
    return RootCause(lines[0] if lines else "the run failed, and nothing says why", "")
