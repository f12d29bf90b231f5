"""Between rank 0 of several workers and their trial: epochs go one way, answers the other."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import ray
import torch
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


class Parcel(NamedTuple):
    """One epoch, on its way from rank 0 to the trial."""

    metrics: dict[str, float]
    record: dict[str, Any] | None
    files: ray.ObjectRef[dict[str, bytes]] | None


class Exchange(NamedTuple):
    """Where rank 0 and the trial meet."""

    parcels: Queue
    answers: Queue

    @classmethod
    def make(cls) -> Exchange:
        """Queues on this node that take no slot; they end with the process that made them."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"num_cpus": 0, "scheduling_strategy": here}
        return cls(*(Queue(actor_options=options) for _ in range(2)))

    def hand_over(self, parcel: Parcel) -> bool:
        """Give the trial an epoch, and wait for whether to go on."""
        self.parcels.put(parcel)
        return self.answers.get()

    def take(self, timeout_s: float) -> Parcel | None:
        """The next epoch, or None where there is none in time."""
        try:
            return self.parcels.get(timeout=timeout_s)
        except Empty:
            return None


class Answer:
    """The one answer to an epoch, whoever gives it first."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._lock = threading.Lock()
        self._given = False

    def give(self, go_on: bool) -> bool:
        """Answer the workers.

        Returns:
            False where they have been answered already.
        """
        with self._lock:
            if self._given:
                return False
            self._given = True
            self._exchange.answers.put(go_on)
            return True


class Stopped(BaseException):
    """The trial is paused or over; not an Exception, so that no training loop catches it."""


class Relay:
    """The ``Report`` of a rank: rank 0 hands over, and all do what the trial says."""

    def __init__(
        self, exchange: Exchange, rank: int, describe: Callable[[], dict[str, Any]] | None
    ) -> None:
        self._exchange = exchange
        self._rank = rank
        self._describe = describe

    def __call__(
        self,
        metrics: dict[str, float],
        save: Callable[[Path], None] | None,
        fingerprints: Mapping[str, str],
    ) -> None:
        """Hand over one epoch; see ``fitting.Report``.

        Raises:
            Stopped: the trial is paused or over.
        """
        files = None
        with tempfile.TemporaryDirectory() as directory:
            if save is not None:
                save(Path(directory))  # all ranks take part; rank 0 alone writes
                files = ray.put(pack(Path(directory))) if self._rank == 0 else None
        go_on: list[Any] = [True]
        record = None
        if self._describe is not None:
            records: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(records, self._describe())
            record = {**_common(records), **fingerprints}
            self._describe = None
        if self._rank == 0:
            parcel = Parcel(metrics, record, files)
            go_on = [self._exchange.hand_over(parcel)]
        torch.distributed.broadcast_object_list(go_on, src=0)
        if not go_on[0]:
            raise Stopped


def _common(records: list[dict[str, Any]]) -> dict[str, Any]:
    """One environment record of all ranks; where they differ, what each has."""
    first = records[0]
    return {
        key: value
        if all(record[key] == value for record in records)
        else [record[key] for record in records]
        for key, value in first.items()
    }


def pack(directory: Path) -> dict[str, bytes]:
    """The files of a checkpoint by their paths in it, to be sent to another node."""
    files = (file for file in directory.rglob("*") if file.is_file())
    return {str(file.relative_to(directory)): file.read_bytes() for file in files}


@contextmanager
def unpacked(files: ray.ObjectRef[dict[str, bytes]] | None) -> Generator[Path | None]:
    """A directory with the files, as long as it is used; None where there are none."""
    if files is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as directory:
        for name, content in ray.get(files).items():
            file = Path(directory) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        yield Path(directory)
