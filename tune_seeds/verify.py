"""``tune-seeds verify``: train a recorded run again, and compare every metric bit for bit."""

from __future__ import annotations

import argparse
import os
import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, cast

import pyarrow.fs
from ray import cloudpickle
from ray.train._internal.storage import get_fs_and_path

from tune_seeds.environment import PROCESS_VARIABLES, differences
from tune_seeds.events import GroupAdded
from tune_seeds.journal import exists, read_bytes, read_events, write_atomically
from tune_seeds.ledger import RunKey
from tune_seeds.processes import ProcessFailedError, run_module
from tune_seeds.results import NoCompleteGroupError, SeedResults
from tune_seeds.trainable import SeededTrainable

TRAINABLE = "trainable.pkl"

IDENTICAL, DIFFERENT, NOT_RUN = 0, 1, 2

# Ray's own bookkeeping in a report; it is about the trial, not about the run.
_RAY_METRICS = frozenset({"training_iteration", "time_total_s"})


class CannotVerifyError(RuntimeError):
    """A run can't be trained again; the message says why."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What retraining one run came to.

    Attributes:
        key: the run.
        n_metrics: how many different metrics were compared.
        n_epochs: over how many epochs.
        difference: (epoch, metric, recorded, retrained) of the first difference, or None.
        environment: entry → (recorded, now), where the environment records differ.
    """

    key: RunKey
    n_metrics: int
    n_epochs: int
    difference: tuple[int, str, float | None, float | None] | None
    environment: dict[str, tuple[Any, Any]]

    def __str__(self) -> str:
        name = f"{self.key.group}, seed {self.key.seed}"
        if self.difference is None:
            head = f"{name}: identical, {self.n_metrics} metrics over {self.n_epochs} epochs"
        else:
            epoch, metric, then, now = self.difference
            head = f"{name}: differs first at epoch {epoch} in {metric}: was {then!r}, is {now!r}"
        lines = [f"  {entry}: was {a!r}, is {b!r}" for entry, (a, b) in self.environment.items()]
        return "\n".join([head, *lines])


def store_trainable(fs: pyarrow.fs.FileSystem, path: str, trainable: SeededTrainable) -> None:
    """Keep a study's trainable beside it, and where its modules are found."""
    places = [os.path.abspath(place) for place in sys.path if os.path.isdir(place or ".")]
    data = pickle.dumps((places, cast(bytes, cloudpickle.dumps(trainable))))
    write_atomically(fs, str(PurePosixPath(path) / TRAINABLE), data)


def load_run(path: str, key: RunKey) -> tuple[SeededTrainable, dict[str, Any]]:
    """The trainable of one's own experiment, and a run's config without its seed.

    Raises:
        CannotVerifyError: it was not kept, or can't be unpickled here.
    """
    fs, fs_path = get_fs_and_path(path)
    config = _config(fs, fs_path, key)
    del config["seed"]
    return load_trainable(_stored(fs, fs_path)), config


def load_trainable(stored: bytes) -> SeededTrainable:
    """What ``store_trainable`` wrote.

    Raises:
        CannotVerifyError: a module it needs is not there any more, usually.
    """
    places, pickled = pickle.loads(stored)
    sys.path.extend(place for place in places if place not in sys.path)
    try:
        return cast(SeededTrainable, cloudpickle.loads(pickled))
    except Exception as error:  # whatever the user's modules raise when they are imported
        raise CannotVerifyError(f"the trainable can't be loaded: {error!r}") from error


def verify(path: str, key: RunKey) -> Verdict:
    """Train one run again, in a new process and outside of Tune, and compare.

    Only for one's own experiments: the trainable is unpickled from ``path``, which runs code.

    Args:
        path: the experiment's directory, local or any URI that Ray takes.
        key: the run.

    Raises:
        CannotVerifyError: it has no reports, or can't be trained here.
    """
    fs, fs_path = get_fs_and_path(path)
    results = SeedResults(path)
    run = results.ledger[key]
    if not run.reports:
        raise CannotVerifyError(f"{key.group} with seed {key.seed} has reported nothing")
    retrained, environment = _retrain(
        {
            "trainable": _stored(fs, fs_path),
            "config": _config(fs, fs_path, key),
            "last": max(run.reports),
        },
        run.environment or {},
    )
    ignored = {*_RAY_METRICS, results.header.time_attr}
    recorded = {
        epoch: {k: v for k, v in metrics.items() if k not in ignored}
        for epoch, metrics in run.reports.items()
    }
    return Verdict(
        key=key,
        n_metrics=len({name for metrics in recorded.values() for name in metrics}),
        n_epochs=len(recorded),
        difference=first_difference(recorded, retrained),
        environment=differences(run.environment or {}, environment) if environment else {},
    )


def first_difference(
    recorded: Mapping[int, Mapping[str, float]], retrained: Mapping[int, Mapping[str, float]]
) -> tuple[int, str, float | None, float | None] | None:
    """The first epoch and metric that are not equal, and both values; None where all are.

    Metrics that only the retraining reports are ignored; nan equals nan.
    """
    for epoch, metrics in sorted(recorded.items()):
        now = retrained.get(epoch, {})
        for name, then in metrics.items():
            value = now.get(name)
            if value != then and not (value is not None and value != value and then != then):
                return epoch, name, then, value
    return None


def _stored(fs: pyarrow.fs.FileSystem, path: str) -> bytes:
    file = str(PurePosixPath(path) / TRAINABLE)
    if not exists(fs, file):
        raise CannotVerifyError(f"{path} holds no {TRAINABLE}: the trainable was not kept")
    return read_bytes(fs, file)


def _config(fs: pyarrow.fs.FileSystem, path: str, key: RunKey) -> dict[str, Any]:
    for event in read_events(fs, path, unpickle=True):
        if isinstance(event, GroupAdded) and event.group == key.group:
            return {**event.config, "seed": key.seed}
    raise CannotVerifyError(f"the journal of {path} holds no group {key.group}")


def _retrain(
    job: dict[str, Any], environment: Mapping[str, Any]
) -> tuple[dict[int, dict[str, float]], dict[str, Any]]:
    variables = {**PROCESS_VARIABLES}
    if environment.get("hash_seed") not in (None, "random"):
        variables["PYTHONHASHSEED"] = environment["hash_seed"]
    if environment.get("cublas_workspace"):
        variables["CUBLAS_WORKSPACE_CONFIG"] = environment["cublas_workspace"]
    try:
        result = run_module("tune_seeds.retraining", cloudpickle.dumps(job), variables)
    except ProcessFailedError as error:
        raise CannotVerifyError(f"the run can't be trained here: {error}") from None
    metrics = {int(epoch): values for epoch, values in result["metrics"].items()}
    return metrics, result["environment"]


def select(results: SeedResults, group: str | None, run: str | None) -> Sequence[RunKey]:
    """The runs that a command line names.

    Args:
        results: of the experiment.
        group: a group's name, or ``best``.
        run: a trial id, or ``GROUP/SEED``.

    Raises:
        CannotVerifyError: there is no such group or run, or no group is complete.
    """
    if run is not None:
        for key, known in results.ledger.items():
            if run in (known.trial_id, f"{key.group}/{key.seed}"):
                return [key]
        raise CannotVerifyError(f"no run {run!r}; give a trial id or GROUP/SEED")
    if group in (None, "best"):
        try:
            group = results.best.group
        except NoCompleteGroupError as error:
            raise CannotVerifyError(
                f"{str(error).splitlines()[0]}; name a --group or --run"
            ) from None
    keys = [key for key, known in results.ledger.items() if key.group == group and known.reports]
    if not keys:
        raise CannotVerifyError(f"no group {group!r} with reports")
    return keys


def add_parser(subparsers: Any) -> None:
    """Add ``verify`` to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "verify",
        help="train recorded runs again and compare every metric bit for bit",
        description=(
            "Trains recorded runs again, each in a new process and outside of Tune, and compares "
            "every recorded metric bit for bit. Exit status: 0 identical, 1 different, 2 can't be "
            "run. Use it on your own experiments only: it unpickles the trainable, which runs code."
        ),
    )
    parser.add_argument("experiment", help="directory of the experiment")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--group", default=None, help="a group, or 'best' (default): all its runs")
    which.add_argument("--run", default=None, metavar="ID", help="a trial id, or GROUP/SEED")
    parser.set_defaults(func=_command)


def _command(arguments: argparse.Namespace) -> int:
    path = os.path.expanduser(arguments.experiment)
    try:
        keys = select(SeedResults(path), arguments.group, arguments.run)
        verdicts: list[Verdict] = []
        for key in keys:
            verdicts.append(verify(path, key))
            print(verdicts[-1], flush=True)
    except (CannotVerifyError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return NOT_RUN
    different = any(verdict.difference is not None for verdict in verdicts)
    return DIFFERENT if different else IDENTICAL
