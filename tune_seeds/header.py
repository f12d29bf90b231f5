"""What a study fixes before its first run, recorded beside the journal."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any, cast

import pyarrow.fs

from tune_seeds.adaptive import Adaptive
from tune_seeds.journal import (
    HEADER,
    UnreadableExperimentError,
    exists,
    read_bytes,
    write_atomically,
)
from tune_seeds.ledger import Rung
from tune_seeds.policy import Policy, SuccessiveHalving
from tune_seeds.seeding import MAX_SEED
from tune_seeds.statistics.confirmation import require_fresh


@dataclass(frozen=True, slots=True)
class Header:
    """The constants of a study.

    Attributes:
        seeds: the distinct seeds, in the order in which rungs take them.
        metric: what is tuned.
        mode: ``"max"`` or ``"min"``.
        time_attr: the report key that counts progress.
        policy: who goes on: ``"halving"`` or ``"adaptive"``.
        rungs: (epochs, seeds) of each rung, lowest first.
        reduction_factor: η of successive halving, and of what an adaptive study may cost.
        n_finalists: groups that are to hold every epoch and every seed.
        aggregate: how one score is made of a config's scores over seeds.
        on_seed_failure: what a failed seed means for its config.
        confirm_seeds: fresh seeds for the best configs; empty where none were asked for.
        confirm_top: how many of the best configs are trained on them.
        num_samples: configs to be suggested; with grids, how often the whole grid is.
        search_seed: of random sampling; None with a searcher, which has its own.
        param_space: the search space, for people.
        version: of this package.
    """

    seeds: tuple[int, ...]
    metric: str
    mode: str
    time_attr: str
    policy: str
    rungs: tuple[Rung, ...]
    reduction_factor: float
    n_finalists: int
    aggregate: str
    on_seed_failure: str
    confirm_seeds: tuple[int, ...]
    confirm_top: int
    num_samples: int
    search_seed: int | None
    param_space: dict[str, Any]
    version: str

    def make_policy(self) -> Policy:
        """A new policy, as the study declared it."""
        if self.policy == "halving":
            return SuccessiveHalving(self.rungs, self.reduction_factor, self.n_finalists)
        epochs = sorted({rung.epochs for rung in self.rungs})
        return Adaptive(epochs, len(self.seeds), self.reduction_factor, self.n_finalists)

    def write(self, fs: pyarrow.fs.FileSystem, path: str) -> None:
        """Record it in an experiment's directory."""
        data = {**asdict(self), "rungs": [[rung.epochs, rung.n_seeds] for rung in self.rungs]}
        text = json.dumps(data, indent=2, default=repr)
        write_atomically(fs, str(PurePosixPath(path) / HEADER), text.encode())

    @classmethod
    def read(cls, fs: pyarrow.fs.FileSystem, path: str) -> Header:
        """The header of an experiment.

        Raises:
            FileNotFoundError: there is none; usually the path is not an experiment of this package.
            UnreadableExperimentError: it is damaged, or of another version of this package.
        """
        file = str(PurePosixPath(path) / HEADER)
        if not exists(fs, file):
            raise FileNotFoundError(
                f"{path} holds no {HEADER}: it is not the directory of an experiment that "
                "SeedTuner ran; give storage_path/name"
            )
        try:
            data = cast(dict[str, Any], dict(json.loads(read_bytes(fs, file))))
        except (ValueError, TypeError) as error:
            raise UnreadableExperimentError(f"{file} is damaged: {error}") from error
        names = {field.name for field in fields(cls)}
        if missing := sorted(names - set(data)):
            raise _of_another_version(file, data, f"lacks {', '.join(missing)}")
        if unknown := sorted(set(data) - names):
            raise _of_another_version(file, data, f"holds {', '.join(unknown)}")
        try:
            data["seeds"] = check_seeds(data["seeds"])
            data["confirm_seeds"] = tuple(data["confirm_seeds"])
            data["rungs"] = tuple(Rung(*rung) for rung in data["rungs"])
            header = cls(**data)
            header.make_policy()
        except (ValueError, TypeError, AttributeError) as error:
            raise UnreadableExperimentError(f"{file} is damaged: {error}") from error
        return header


def _of_another_version(file: str, data: dict[str, Any], what: str) -> UnreadableExperimentError:
    return UnreadableExperimentError(
        f"{file} {what}: tune-seeds {data.get('version', 'of an unknown version')} wrote it, and "
        f"this is {version('tune-seeds')}; read the experiment with the version that made it"
    )


def check_fresh_seeds(seeds: Sequence[int] | int, tuned: Sequence[int]) -> tuple[int, ...]:
    """The seeds of a confirmation; none is fine.

    Args:
        seeds: as for ``check_seeds``; an empty list or 0 for none.
        tuned: the seeds that the search uses.

    Raises:
        ValueError: as ``check_seeds``.
        OverlappingSeedsError: a seed is one of those tuned on.
    """
    if isinstance(seeds, bool):
        raise ValueError(f"confirm_seeds must be a list of integers or a count, got {seeds!r}")
    if isinstance(seeds, int):
        if seeds == 0:
            return ()
        drawn: tuple[int, ...] = ()
        while len(drawn) < seeds:
            drawn = tuple(seed for seed in check_seeds(seeds) if seed not in tuned)
        return drawn
    if len(seeds) == 0:
        return ()
    checked = check_seeds(seeds)
    require_fresh(tuned, checked)
    return checked


def check_seeds(seeds: Sequence[int] | int) -> tuple[int, ...]:
    """The seeds of a study.

    Args:
        seeds: distinct integers in 0 … 2³²−1; or how many to draw from the system's entropy.

    Raises:
        ValueError: none, a repeated one, or one that is not an integer in that range.
    """
    if isinstance(seeds, (bool, str, bytes)):
        raise ValueError(f"seeds must be a list of integers or a count, got {seeds!r}")
    if isinstance(seeds, int):
        if seeds < 1:
            raise ValueError(f"seeds={seeds}: a study needs at least one seed")
        drawn: list[int] = []
        while len(drawn) < seeds:
            seed = secrets.randbelow(MAX_SEED + 1)
            if seed not in drawn:
                drawn.append(seed)
        return tuple(drawn)
    checked: list[int] = []
    for seed in seeds:
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            raise ValueError(f"seed {seed!r} is not an integer; give integers in 0 … 2³²−1")
        value = seed.__index__()
        if not 0 <= value <= MAX_SEED:
            raise ValueError(f"seed {value} is outside 0 … 2³²−1 ({MAX_SEED})")
        if value in checked:
            raise ValueError(f"seed {value} is given twice; a repeated seed repeats the same run")
        checked.append(value)
    if not checked:
        raise ValueError("seeds is empty: a study needs at least one seed")
    return tuple(checked)
