"""Launch the best configs of an experiment on fresh seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow.fs

from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core import checks
from tune_seeds.core.ledger import RunKey
from tune_seeds.core.seeds import check_fresh_seeds
from tune_seeds.engine.growth import Wish
from tune_seeds.engine.trainable_file import TRAINABLE, load_trainable
from tune_seeds.launch.launch import Launch
from tune_seeds.launch.restore import restored
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.training.lightning_trainer import (
    LightningTrainer,
)
from tune_seeds.training.trainable import SeededTrainable


def confirmation(
    path: str,
    seeds: Sequence[int] | int,
    top: int = 3,
    trainable: LightningTrainer | SeededTrainable | Callable[..., Any] | None = None,
    *,
    storage_filesystem: pyarrow.fs.FileSystem | None = None,
) -> Launch:
    """An experiment whose best configs are to be trained on fresh seeds; see ``confirm``."""
    checks.path("path", path)
    checks.whole_number("top", top, at_least=1)
    directory = ExperimentDir.at(path, storage_filesystem)
    record = StudyRecord(path, storage_filesystem)
    fresh = check_fresh_seeds(seeds, record.seeds)
    if not fresh:
        raise ValueError("no seeds to confirm on: give a list of integers, or how many")
    wish = None if trainable is None else Wish()
    if trainable is None:
        trainable = load_trainable(directory.read(TRAINABLE))
    launch = restored(path, trainable, wish=wish, storage_filesystem=storage_filesystem)
    print(_cost_of_confirming(record, fresh, top), flush=True)
    # The journal records which runs were opened, when they are; the header stays as it was.
    asked = dataclasses.replace(launch.header, confirm_seeds=fresh, confirm_top=top)
    return dataclasses.replace(launch, header=asked)


def _cost_of_confirming(record: StudyRecord, fresh: Sequence[int], top: int) -> str:
    """What is about to be trained, for the one who waits for it and may still leave."""
    best = record.race.finalists[:top]
    keys = [RunKey(group, seed) for group in best for seed in fresh]
    runs = [record.ledger.get(key) for key in keys]
    n_done = sum(run is not None and run.outcome is not None for run in runs)
    first = "" if record.completeness.finished else "once the study has come to its end, "
    which = f"the best {len(best)} configs ({', '.join(best)})" if best else f"the best {top}"
    return (
        f"{first}{which} on {len(fresh)} fresh seeds ({', '.join(map(str, fresh))}): "
        f"{len(keys) or top * len(fresh)} runs, {n_done} of them done before"
    )
