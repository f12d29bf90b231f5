"""What a user gave to ``SeedTuner``, kept beside the study for ``restore``."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any, cast

import cloudpickle
from ray import tune
from ray.tune.search.sample import Domain, Function

from tune_seeds.engine.earlier_study import EarlierStudy
from tune_seeds.statistics.aggregate import ScoreFunction
from tune_seeds.store.directory import ExperimentDir

_FILE = "study.pkl"


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of a study; its trainable is given to ``restore`` again."""

    param_space: dict[str, Any]
    tune_config: tune.TuneConfig
    run_config: tune.RunConfig
    aggregate: str | ScoreFunction
    reuse_actors: bool
    points: tuple[dict[str, Any], ...] = ()
    epoch_timeout_s: float | None = None
    earlier: EarlierStudy | None = None

    @classmethod
    def are_in(cls, directory: ExperimentDir) -> bool:
        """Whether a directory holds them."""
        return directory.exists(_FILE)

    @classmethod
    def read(cls, directory: ExperimentDir) -> Arguments:
        """Unpickle them, which runs code: only from one's own experiments."""
        found = cast(Arguments, cloudpickle.loads(directory.read(_FILE)))
        # Written before there were any.
        for name, default in (("points", ()), ("epoch_timeout_s", None), ("earlier", None)):
            if not hasattr(found, name):
                object.__setattr__(found, name, default)
        return found

    def write(self, directory: ExperimentDir) -> None:
        """Pickle them, without the file system: it is given again, and may hold credentials."""
        run_config = copy.copy(self.run_config)
        run_config.storage_filesystem = None
        kept = dataclasses.replace(self, run_config=run_config)
        directory.write(_FILE, cloudpickle.dumps(kept), private=True)


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
