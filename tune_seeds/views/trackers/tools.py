"""How each tracker is told where a run belongs, through the attributes of Ray's callback."""

# The trackers are optional, and Ray's callbacks carry no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingImports=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable
from typing import Any, Protocol

from ray.tune.utils import flatten_dict

from tune_seeds._compat.ray_callbacks import (
    aim_run,
    aim_run_kwargs,
    comet_experiment,
    set_aim_run_kwargs,
)
from tune_seeds.views.trackers.config_log import params


class Tool(Protocol):
    """What differs between trackers."""

    def named(self, values: dict[str, Any]) -> dict[str, Any]:
        """The same values by names that the tool takes."""
        ...

    def before_start(self, trial: Any, place: dict[str, Any]) -> None:
        """Say where a run belongs, in the way that the tool takes before it makes the run."""
        ...

    def after_start(self, trial: Any, place: dict[str, Any]) -> None:
        """The same for a tool that takes it afterwards."""
        ...

    def log_config(
        self, place: dict[str, Any], config: dict[str, Any], scores: dict[str, float]
    ) -> None:
        """Log one config's aggregate."""
        ...


class _Wandb:
    """W&B groups runs by ``group``; the callback has one for all trials, so it is set for each."""

    def __init__(self, callback: Any) -> None:
        self._callback = callback
        self._kwargs = dict(callback.kwargs)

    def named(self, values: dict[str, Any]) -> dict[str, Any]:
        return values

    def before_start(self, trial: Any, place: dict[str, Any]) -> None:
        config = {**self._kwargs.get("config", {}), **params(trial.config), **place}
        self._callback.kwargs = {**self._kwargs, "group": in_project(place), "config": config}

    def after_start(self, trial: Any, place: dict[str, Any]) -> None: ...

    def log_config(
        self, place: dict[str, Any], config: dict[str, Any], scores: dict[str, float]
    ) -> None:
        import wandb

        run = wandb.init(
            **{
                **self._kwargs,
                "project": self._callback.project,
                "group": in_project(place),
                "name": place["group"],
                "job_type": "config",
                "config": {**config, **place},
                "reinit": "create_new",
            }
        )
        run.summary.update(scores)
        run.finish()


class _Mlflow:
    """MLflow nests: a parent run for the config, and its runs point to it."""

    def __init__(self, callback: Any) -> None:
        self._callback = callback
        self._tags = dict(callback.tags or {})
        self._parents: dict[str, str] = {}

    def named(self, values: dict[str, Any]) -> dict[str, Any]:
        items = flatten_dict(values, delimiter="/").items()
        return {mlflow_name(str(name)): value for name, value in items}

    def before_start(self, trial: Any, place: dict[str, Any]) -> None:
        tags = {key: str(value) for key, value in place.items()}
        parent = {"mlflow.parentRunId": self._parent(place)}
        self._callback.tags = {**self._tags, **tags, **parent}

    def after_start(self, trial: Any, place: dict[str, Any]) -> None: ...

    def log_config(
        self, place: dict[str, Any], config: dict[str, Any], scores: dict[str, float]
    ) -> None:
        client, run = self._client(), self._parent(place)
        for name, value in config.items():
            client.log_param(run, name, value)
        for name, value in scores.items():
            client.log_metric(run, name, value)
        client.set_terminated(run)

    def _parent(self, place: dict[str, Any]) -> str:
        group = place["group"]
        if group not in self._parents:
            self._parents |= self._earlier(place["experiment"], group)
        if group not in self._parents:
            tags = {"kind": "config", "experiment": place["experiment"], "group": group}
            run = self._client().create_run(
                self._callback.mlflow_util.experiment_id,
                tags={**self._tags, **tags},
                run_name=group,
            )
            self._parents[group] = run.info.run_id
        return self._parents[group]

    def _earlier(self, experiment: str, group: str) -> dict[str, str]:
        """The parent that an earlier process made, before the study was restored."""
        quoted = experiment.replace("'", "\\'")
        query = f"tags.kind = 'config' and tags.experiment = '{quoted}' and tags.group = '{group}'"
        ids = [self._callback.mlflow_util.experiment_id]
        runs = self._client().search_runs(ids, query, max_results=1)
        return {group: runs[0].info.run_id} if runs else {}

    def _client(self) -> Any:
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=self._callback.tracking_uri)


class _Aim:
    """Aim has params only; a run that was paused goes on in its own run, not in a new one."""

    def __init__(self, callback: Any) -> None:
        self._callback = callback
        self._kwargs = aim_run_kwargs(callback)
        self._hashes: dict[str, str] = {}
        self._repo: tuple[Any, str] | None = None

    def named(self, values: dict[str, Any]) -> dict[str, Any]:
        return values

    def before_start(self, trial: Any, place: dict[str, Any]) -> None:
        known = self._hashes.get(trial.trial_id)
        going_on = {"run_hash": known} if known else {}
        set_aim_run_kwargs(self._callback, self._kwargs | going_on)

    def after_start(self, trial: Any, place: dict[str, Any]) -> None:
        run, repository = aim_run(self._callback, trial)
        self._hashes[trial.trial_id] = run.hash
        self._repo = (repository, run.experiment)
        for name, value in {**place, "kind": "run"}.items():
            run[name] = value

    def log_config(
        self, place: dict[str, Any], config: dict[str, Any], scores: dict[str, float]
    ) -> None:
        if self._repo is None:
            return
        import aim

        run = aim.Run(repo=self._repo[0], experiment=self._repo[1], **self._kwargs)
        run["hparams"] = config
        for name, value in {**place, "kind": "config", "aggregate": scores}.items():
            run[name] = value
        run.close()


class _Comet:
    """Comet has parameters and tags."""

    def __init__(self, callback: Any) -> None:
        self._callback = callback
        self._tags = list(callback.tags or [])

    def named(self, values: dict[str, Any]) -> dict[str, Any]:
        return values

    def before_start(self, trial: Any, place: dict[str, Any]) -> None:
        self._callback.tags = [*self._tags, place["group"]]

    def after_start(self, trial: Any, place: dict[str, Any]) -> None:
        comet_experiment(self._callback, trial).log_parameters(place)

    def log_config(
        self, place: dict[str, Any], config: dict[str, Any], scores: dict[str, float]
    ) -> None:
        import comet_ml

        kind = comet_ml.Experiment if self._callback.online else comet_ml.OfflineExperiment
        experiment = kind(**self._callback.experiment_kwargs)
        experiment.set_name(place["group"])
        experiment.add_tags([*self._tags, "config", place["group"]])
        experiment.log_parameters({**config, **place})
        experiment.log_metrics(scores)
        experiment.end()


def in_project(place: dict[str, Any]) -> str:
    """The group with its experiment, where a tool keeps several experiments in one project."""
    return f"{place['experiment']}/{place['group']}"


def mlflow_name(name: str) -> str:
    """A name of at most 250 of the characters that MLflow takes, and as a path no other one.

    Where it has to differ, it ends in a digest, so that different names stay different.
    """
    kept = re.sub(r"[^/\w.\- :]", "_", name)
    if posixpath.normpath(kept) != kept or kept.startswith((".", "/")):
        kept = kept.replace("/", "_").replace(".", "_") or "_"
    if kept == name and len(name) <= 250:
        return name
    return f"{kept[:200]}_{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:6]}"


#: The name of Ray's callback → its tool.
TOOLS: dict[str, Callable[[Any], Tool]] = {
    "WandbLoggerCallback": _Wandb,
    "MLflowLoggerCallback": _Mlflow,
    "AimLoggerCallback": _Aim,
    "CometLoggerCallback": _Comet,
}
