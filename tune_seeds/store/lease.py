"""Who drives a study: one process at a time, on any file system.

Two drivers of one experiment would each append to a journal that the other does not know. The one
that may is named in a small file in the experiment's directory, with a sign of life that it renews;
every other is refused until the file is gone, its owner is known to have ended, or the user says
that it has.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import threading
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.errors import StudyInUseError, StudyLostError

# On a restore Ray 2.60 takes copies of every .json here and writes them back later; so not that.
LEASE = "driver.lease"

#: How often the owner gives a sign of life.
PERIOD_S = 10.0
#: An owner on another machine that has given none for so long may be taken for gone.
GONE_AFTER_S = 60.0
# A write is read again after so long, in case that two processes saw the same owner gone.
_SETTLE_S = 0.3

_held_here: set[str] = set()  # tokens of this process; its own pid says nothing about them


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that drives a study.

    Attributes:
        host: its machine, for people.
        machine: tells machines (and containers) apart; processes are looked up on one's own only.
        pid: of the process.
        started: when that process started, as the system counts it; a pid is used again later.
        token: of this one drive.
        since: when it began, in seconds since the epoch.
        beat: its last sign of life.
    """

    host: str
    machine: str
    pid: int
    started: str
    token: str
    since: float
    beat: float

    @classmethod
    def here(cls) -> Owner:
        """This process, from now on."""
        now = time.time()
        pid = os.getpid()
        return cls(platform.node(), _machine(), pid, _started(pid), secrets.token_hex(8), now, now)

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since).isoformat(" ", "seconds")
        ago = max(time.time() - self.beat, 0)
        return (
            f"process {self.pid} on {self.host!r} drives it since {since} (last sign of life "
            f"{ago:.0f} s ago)"
        )

    def has_ended(self) -> bool:
        """Whether it ran on this machine and is not there any more."""
        if self.machine != _machine():
            return False
        if self.pid == os.getpid() and self.started == _started(self.pid):
            return self.token not in _held_here
        return not _is_alive(self.pid) or _started(self.pid) != self.started

    def is_silent(self) -> bool:
        """Whether it has given no sign of life for long, by this machine's clock."""
        return time.time() - self.beat > GONE_AFTER_S


class Lease:
    """The right to drive one study; held until ``release``, and renewed by a thread.

    Args:
        directory: of the experiment; it exists.
        owner: this process; its lease lies in the directory.
    """

    def __init__(self, directory: ExperimentDir, owner: Owner) -> None:
        self._directory = directory
        self._owner = owner
        self._lost: str | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="tune_seeds lease", daemon=True)
        _held_here.add(owner.token)
        self._thread.start()

    @classmethod
    def take(cls, directory: ExperimentDir, *, take_over: bool = False) -> Self:
        """Become the driver of a study.

        Args:
            directory: of the experiment; it exists.
            take_over: also where another process seems to drive it. That one stops as soon as it
                notices, within ten seconds.

        Raises:
            StudyInUseError: another process drives it; the message says which, since when.
        """
        present = read_owner(directory)
        if present is not None and not (take_over or _is_gone(directory, present)):
            raise StudyInUseError(_refusal(directory, present))
        owner = Owner.here()
        if present is None and directory.is_local:
            _create(directory, owner)
        else:
            _write(directory, owner)
            time.sleep(_SETTLE_S)
        winner = read_owner(directory)
        if winner is None or winner.token != owner.token:
            raise StudyInUseError(_refusal(directory, winner))
        return cls(directory, owner)

    def check(self) -> None:
        """Let a driver stop that is not the driver any more.

        Raises:
            StudyLostError: another process took the study over, or its directory was deleted.
        """
        if self._lost is not None:
            raise StudyLostError(self._lost)

    def confirm(self) -> None:
        """As ``check``, after a look at the directory itself.

        Raises:
            StudyLostError: as for ``check``.
        """
        self._look()
        self.check()

    def release(self) -> None:
        """Give the study free."""
        self._end.set()
        self._thread.join()
        _held_here.discard(self._owner.token)
        try:
            owner = read_owner(self._directory)
            if owner is not None and owner.token == self._owner.token:
                self._directory.delete(LEASE)
        except OSError:
            pass  # it lies there until it is found that this process has ended

    def _renew(self) -> None:
        while not self._end.wait(PERIOD_S):
            try:
                self._look()
                if self._lost is not None:
                    return
                _write(self._directory, self._owner)
            except OSError:
                continue  # the storage is away for a while; the journal says so itself

    def _look(self) -> None:
        if not self._directory.exists():
            self._lost = (
                f"{self._directory.path} was deleted (or moved) while the study ran; what runs "
                "reported since can't be kept, so the study ends here"
            )
            return
        owner = read_owner(self._directory)
        if owner is not None and owner.token != self._owner.token:
            self._lost = (
                f"{self._directory.path} was taken over: {owner}; this process stops, and what its "
                "runs report from now on is not recorded"
            )


def read_owner(directory: ExperimentDir) -> Owner | None:
    """Who drives a study; None where nobody does, or the record of it can't be read."""
    try:
        data = json.loads(directory.read(LEASE))
        return Owner(**{name: data[name] for name in Owner.__dataclass_fields__})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        return None  # cut by a crash: nobody who renews it wrote it


def _is_gone(directory: ExperimentDir, owner: Owner) -> bool:
    if owner.has_ended():
        return True
    if owner.machine == _machine() or not owner.is_silent():
        return False
    # Clocks of two machines may differ: see whether it gives another sign of life.
    time.sleep(1.5 * PERIOD_S)
    return read_owner(directory) == owner


def _refusal(directory: ExperimentDir, owner: Owner | None) -> str:
    who = "another process has just taken it" if owner is None else str(owner)
    return (
        f"the study {directory.path} is in use: {who}. Two drivers would each lose what the other "
        "records: wait for that one, end it, or, if you know that it has ended, call "
        "SeedTuner.restore(..., take_over=True)"
    )


def _create(directory: ExperimentDir, owner: Owner) -> None:
    """Create the record where there is none; a link is made by one process only, also on NFS."""
    target, source = directory.join(LEASE), directory.join(f"{LEASE}.{owner.token}")
    Path(source).write_bytes(_encoded(owner))
    try:
        os.link(source, target)
    except FileExistsError:
        if read_owner(directory) is None:  # cut by a crash
            os.replace(source, target)
            return
    except OSError:  # a file system without links
        os.replace(source, target)
        time.sleep(_SETTLE_S)
        return
    os.unlink(source)


def _write(directory: ExperimentDir, owner: Owner) -> None:
    directory.write(LEASE, _encoded(owner))


def _encoded(owner: Owner) -> bytes:
    return json.dumps({**asdict(owner), "beat": time.time()}).encode()


def _machine() -> str:
    """The boot of this machine and the processes that one sees in it, which differ by container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def _started(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state != "Z"  # killed, and not yet waited for by its parent
