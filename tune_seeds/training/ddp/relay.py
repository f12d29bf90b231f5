"""How the ranks of a run report: rank 0 hands each epoch to the trial, and all do what it says."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import torch

from tune_seeds.training.ddp.worker import Parcel, Stopped, Talk
from tune_seeds.training.reporting import RecordDue


class Relay:
    """The ``Report`` of a rank.

    Args:
        talk: where rank 0 meets the trial.
        rank: of this worker.
        describe: makes the environment record.
        first: whether the run has not reported before; its first report carries the record, and so
            does the first after it was trained again from its beginning.
    """

    def __init__(
        self,
        talk: Talk,
        rank: int,
        describe: Callable[[], dict[str, Any]],
        first: bool,
    ) -> None:
        self._talk = talk
        self._rank = rank
        self._describe = describe
        self._record_due = RecordDue(first=first)

    def __call__(
        self,
        metrics: dict[str, float],
        save: Callable[[Path], None] | None,
        fingerprints: Mapping[str, str],
    ) -> None:
        """Hand over one epoch; see ``run_callback.Report``.

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
        # All ranks restart a run together, so all of them come here.
        if self._record_due(fingerprints):
            records: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(records, self._describe())
            record = {**_common(records), **fingerprints}
        if self._rank == 0:
            parcel = Parcel(metrics, record, files)
            go_on = [self._talk.hand_over(parcel)]
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
