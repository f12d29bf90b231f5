"""``tune-seeds verify``: train a recorded run again, and compare every metric bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cloudpickle

from tune_seeds.analysis.environments import differences
from tune_seeds.analysis.errors import NoCompleteGroupError
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.events import GroupAdded
from tune_seeds.core.ledger import RunKey
from tune_seeds.core.process_variables import PROCESS_VARIABLES
from tune_seeds.engine.trainable_file import TRAINABLE, CannotLoadTrainableError, load_trainable
from tune_seeds.reproduce.subprocesses import ProcessFailedError, run_module
from tune_seeds.statistics.shown import Shown
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.journal import read_events
from tune_seeds.training.trainable import SeededTrainable

# Ray's own bookkeeping in a report; it is about the trial, not about the run.
_RAY_METRICS = frozenset({"training_iteration", "time_total_s"})


class CannotVerifyError(RuntimeError):
    """A run can't be trained again; the message says why."""


@dataclass(frozen=True, slots=True, repr=False)
class Verdict(Shown):
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

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        epoch, metric, then, now = self.difference or (None, None, None, None)
        yield {
            "group": self.key.group,
            "seed": self.key.seed,
            "identical": self.difference is None,
            "metrics": self.n_metrics,
            "epochs": self.n_epochs,
            "first difference at epoch": epoch,
            "in": metric,
            "was": then,
            "is": now,
        }

    def _notes(self) -> Sequence[str]:
        return (str(self),)

    def __str__(self) -> str:
        name = f"{self.key.group}, seed {self.key.seed}"
        if self.difference is None:
            head = f"{name}: identical, {self.n_metrics} metrics over {self.n_epochs} epochs"
        else:
            epoch, metric, then, now = self.difference
            head = f"{name}: differs first at epoch {epoch} in {metric}: was {then!r}, is {now!r}"
        lines = [f"  {entry}: was {a!r}, is {b!r}" for entry, (a, b) in self.environment.items()]
        return "\n".join([head, *lines])


def load_run(path: str, key: RunKey) -> tuple[SeededTrainable, dict[str, Any]]:
    """The trainable of one's own experiment, and a run's config without its seed.

    Raises:
        CannotVerifyError: it was not kept, or can't be unpickled here.
    """
    directory = ExperimentDir.at(path)
    config = _config(directory, key)
    del config["seed"]
    try:
        return load_trainable(_stored(directory)), config
    except CannotLoadTrainableError as error:
        raise CannotVerifyError(str(error)) from error


def verify(path: str, key: RunKey) -> Verdict:
    """Train one run again, in a new process and outside of Tune, and compare.

    Only for one's own experiments: the trainable is unpickled from ``path``, which runs code.

    Args:
        path: the experiment's directory, local or any URI that Ray takes.
        key: the run.

    Raises:
        CannotVerifyError: it has no reports, or can't be trained here.
    """
    directory = ExperimentDir.at(path)
    results = StudyRecord(path)
    run = results.ledger[key]
    if not run.reports:
        raise CannotVerifyError(f"{key.group} with seed {key.seed} has reported nothing")
    retrained, environment = _retrain(
        {
            "trainable": _stored(directory),
            "config": _config(directory, key),
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


def _stored(directory: ExperimentDir) -> bytes:
    if not directory.exists(TRAINABLE):
        raise CannotVerifyError(
            f"{directory.path} holds no {TRAINABLE}: the trainable was not kept"
        )
    return directory.read(TRAINABLE)


def _config(directory: ExperimentDir, key: RunKey) -> dict[str, Any]:
    for event in read_events(directory, unpickle=True):
        if isinstance(event, GroupAdded) and event.group == key.group:
            return {**event.config, "seed": key.seed}
    raise CannotVerifyError(f"the journal of {directory.path} holds no group {key.group}")


def _retrain(
    job: dict[str, Any], environment: Mapping[str, Any]
) -> tuple[dict[int, dict[str, float]], dict[str, Any]]:
    variables = {**PROCESS_VARIABLES}
    if environment.get("hash_seed") not in (None, "random"):
        variables["PYTHONHASHSEED"] = environment["hash_seed"]
    if environment.get("cublas_workspace"):
        variables["CUBLAS_WORKSPACE_CONFIG"] = environment["cublas_workspace"]
    try:
        result = run_module(
            "tune_seeds.reproduce.retrain_process", cloudpickle.dumps(job), variables
        )
    except ProcessFailedError as error:
        raise CannotVerifyError(f"the run can't be trained here: {error}") from None
    metrics = {int(epoch): values for epoch, values in result["metrics"].items()}
    return metrics, result["environment"]


def select(results: StudyRecord, group: str | None, run: str | None) -> Sequence[RunKey]:
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
