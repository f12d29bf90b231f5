"""What a user gave to ``SeedTuner``, kept beside the study for ``restore``."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, cast

import pyarrow.fs
from ray import cloudpickle, tune
from ray.train._internal.storage import StorageContext
from ray.tune.search.sample import Domain, Function

from tune_seeds.journal import exists, read_bytes, write_atomically
from tune_seeds.statistics.aggregate import ScoreFunction

_FILE = "study.pkl"


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of a study; its trainable is given to ``restore`` again."""

    param_space: dict[str, Any]
    tune_config: tune.TuneConfig
    run_config: tune.RunConfig
    aggregate: str | ScoreFunction
    reuse_actors: bool

    @classmethod
    def are_in(cls, fs: pyarrow.fs.FileSystem, path: str) -> bool:
        """Whether a directory holds them."""
        return exists(fs, str(PurePosixPath(path) / _FILE))

    @classmethod
    def read(cls, fs: pyarrow.fs.FileSystem, path: str) -> Arguments:
        """Unpickle them, which runs code: only from one's own experiments."""
        return cast(Arguments, cloudpickle.loads(read_bytes(fs, str(PurePosixPath(path) / _FILE))))

    def write(self, fs: pyarrow.fs.FileSystem, path: str) -> None:
        """Pickle them, without the file system: it is given again, and may hold credentials."""
        run_config = copy.copy(self.run_config)
        run_config.storage_filesystem = None
        kept = dataclasses.replace(self, run_config=run_config)
        write_atomically(fs, str(PurePosixPath(path) / _FILE), cloudpickle.dumps(kept))


def in_words(space: dict[str, Any]) -> dict[str, Any]:
    """A search space with its domains in words, such as ``float, loguniform in (0.0001, 0.1)``."""
    described: dict[str, Any] = {}
    for key, value in space.items():
        if isinstance(value, Domain):
            sampler = str(value.get_sampler()).lower()
            kind = type(value).__name__.lower()
            described[key] = f"{kind}, {sampler if sampler.isalpha() else 'sampled'}"
            if not isinstance(value, Function):
                described[key] += f" in {value.domain_str}"
        elif isinstance(value, dict):
            described[key] = in_words(cast(dict[str, Any], value))
        else:
            described[key] = value
    return described


def place(run_config: tune.RunConfig) -> tuple[pyarrow.fs.FileSystem, str]:
    """The file system of an experiment and its directory there."""
    storage = StorageContext(
        storage_path=cast(str, run_config.storage_path),
        experiment_dir_name=cast(str, run_config.name),
        storage_filesystem=run_config.storage_filesystem,
    )
    return storage.storage_filesystem, storage.experiment_fs_path
