"""Taking back a study that has come to nothing, so that its name can be used again."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import PurePosixPath

import pyarrow.fs

from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.journal import JOURNAL
from tune_seeds.store.study_spec import HEADER

# Everything else that makes a directory an experiment: ours, and Ray's snapshots of it.
_RECORDS = (
    JOURNAL,
    "study.pkl",
    "training.json",
    "trainable.pkl",
    "search.state",
    "experiment_state-*.json",
    "search_gen_state-*.json",
    "searcher-state-*.pkl",
    "tuner.pkl",
)


def withdraw(directory: ExperimentDir) -> None:
    """Delete the record of a study in which nothing was computed.

    The directories of its runs stay: they hold the tracebacks. The header goes last, so that a
    kill in between leaves an experiment without events, and never the events of another.
    """
    files = directory.fs.get_file_info(pyarrow.fs.FileSelector(directory.path))
    names = [PurePosixPath(f.path).name for f in files if f.type == pyarrow.fs.FileType.File]
    for name in names:
        if any(fnmatchcase(name, pattern) for pattern in _RECORDS):
            directory.delete(name)
    directory.delete(HEADER)
