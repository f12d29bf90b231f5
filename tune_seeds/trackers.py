"""W&B, MLflow, Aim and Comet: a run is filed under its config, and each config is logged once.

The trackers are Ray's own callbacks, given in ``RunConfig(callbacks=[...])`` as ever. Ray files
each trial by itself; here each says where it belongs before it starts:

======  ================================================  =====================================
tool    a run                                             a config, once, at the end
======  ================================================  =====================================
W&B     ``group``; config ``config_id``, ``seed``         a run with ``job_type="config"``
MLflow  child of the config's run; tags                   the parent run
Aim     params ``config_id``, ``group``, ``seed``         a run with ``kind="config"``
Comet   parameters and a tag                              an experiment with the tag ``config``
======  ================================================  =====================================
"""

# The trackers are optional, and Ray's callbacks carry no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingImports=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from ray.tune import Callback
from ray.tune.experiment import Trial

from tune_seeds.labels import flat, value_text
from tune_seeds.standing import Standing, ranking, standing
from tune_seeds.study import Study


class Tool(Protocol):
    """What differs between trackers."""

    def before_start(self, trial: Trial, place: dict[str, Any]) -> None:
        """Say where a run belongs, in the way that the tool takes before it makes the run."""
        ...

    def after_start(self, trial: Trial, place: dict[str, Any]) -> None:
        """The same for a tool that takes it afterwards."""
        ...

    def log_config(
        self, place: dict[str, Any], config: dict[str, Any], scores: dict[str, float]
    ) -> None:
        """Log one config's aggregate."""
        ...


def filed(callback: Any, study: Study, experiment: str) -> Any:
    """A tracker of Ray's that files runs under their configs; any other callback as it is.

    Args:
        callback: from ``RunConfig.callbacks``.
        study: tells the config of a trial.
        experiment: its name, for tools whose groups are shared by all experiments.
    """
    for kind in type(callback).__mro__:
        if kind.__name__ in _TOOLS:
            return Filed(callback, _TOOLS[kind.__name__](callback), study, experiment)
    return callback


class Filed(Callback):
    """Passes every hook on to a tracker, with the run's config told around its start.

    Args:
        inner: Ray's callback.
        tool: tells it.
        study: read only.
        experiment: its name.
    """

    def __init__(self, inner: Callback, tool: Tool, study: Study, experiment: str) -> None:
        self._inner = inner
        self._tool = tool
        self._study = study
        self._experiment = experiment
        self._started: set[str] = set()

    def setup(self, *args: Any, **info: Any) -> None:
        """Pass it on."""
        self._inner.setup(*args, **info)

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Tell the tool where the run belongs, before and after it makes one."""
        key = self._study.keys[trial.trial_id]
        place = {**self._place(key.group), "seed": key.seed}
        if key.seed in self._study.race.ledger.fresh_seeds:
            place["fresh_seed"] = True
        self._tool.before_start(trial, place)
        self._inner.on_trial_start(iteration, trials, trial, **info)
        self._tool.after_start(trial, place)
        self._started.add(trial.trial_id)

    def on_trial_result(self, *args: Any, **info: Any) -> None:
        """Pass it on."""
        self._inner.on_trial_result(*args, **info)

    def on_trial_save(self, *args: Any, **info: Any) -> None:
        """Pass it on."""
        self._inner.on_trial_save(*args, **info)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Pass it on, but for a run that did not start since a restore: the tools know none."""
        if trial.trial_id in self._started:
            self._inner.on_trial_complete(iteration, trials, trial, **info)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Likewise."""
        if trial.trial_id in self._started:
            self._inner.on_trial_error(iteration, trials, trial, **info)

    def on_trial_recover(self, *args: Any, **info: Any) -> None:
        """Pass it on."""
        self._inner.on_trial_recover(*args, **info)

    def on_checkpoint(self, *args: Any, **info: Any) -> None:
        """Pass it on."""
        self._inner.on_checkpoint(*args, **info)

    def on_step_begin(self, *args: Any, **info: Any) -> None:
        """Pass it on."""
        self._inner.on_step_begin(*args, **info)

    def on_step_end(self, *args: Any, **info: Any) -> None:
        """Pass it on."""
        self._inner.on_step_end(*args, **info)

    def on_experiment_end(self, *args: Any, **info: Any) -> None:
        """Log every config once, and pass it on."""
        race = self._study.race
        for name in ranking(race):
            item = standing(race, name)
            self._tool.log_config(self._place(name), params(item.config), cells(item))
        self._inner.on_experiment_end(*args, **info)

    def _place(self, group: str) -> dict[str, Any]:
        return {"config_id": group, "group": f"{self._experiment}/{group}"}


class _Wandb:
    """W&B groups runs by ``group``; the callback has one for all trials, so it is set for each."""

    def __init__(self, callback: Any) -> None:
        self._callback = callback
        self._kwargs = dict(callback.kwargs)

    def before_start(self, trial: Trial, place: dict[str, Any]) -> None:
        config = {**self._kwargs.get("config", {}), **params(trial.config), **place}
        self._callback.kwargs = {**self._kwargs, "group": place["group"], "config": config}

    def after_start(self, trial: Trial, place: dict[str, Any]) -> None: ...

    def log_config(
        self, place: dict[str, Any], config: dict[str, Any], scores: dict[str, float]
    ) -> None:
        import wandb

        run = wandb.init(
            **{
                **self._kwargs,
                "project": self._callback.project,
                "group": place["group"],
                "name": place["config_id"],
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

    def before_start(self, trial: Trial, place: dict[str, Any]) -> None:
        tags = {key: str(value) for key, value in place.items()}
        parent = {"mlflow.parentRunId": self._parent(place)}
        self._callback.tags = {**self._tags, **tags, **parent}

    def after_start(self, trial: Trial, place: dict[str, Any]) -> None: ...

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
        if place["group"] not in self._parents:
            tags = {"kind": "config", "config_id": place["config_id"], "group": place["group"]}
            run = self._client().create_run(
                self._callback.mlflow_util.experiment_id,
                tags={**self._tags, **tags},
                run_name=place["config_id"],
            )
            self._parents[place["group"]] = run.info.run_id
        return self._parents[place["group"]]

    def _client(self) -> Any:
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=self._callback.tracking_uri)


class _Aim:
    """Aim has params only; a run that was paused goes on in its own run, not in a new one."""

    def __init__(self, callback: Any) -> None:
        self._callback = callback
        self._kwargs = dict(callback._aim_run_kwargs)
        self._hashes: dict[str, str] = {}
        self._repo: tuple[Any, str] | None = None

    def before_start(self, trial: Trial, place: dict[str, Any]) -> None:
        known = self._hashes.get(trial.trial_id)
        self._callback._aim_run_kwargs = self._kwargs | ({"run_hash": known} if known else {})

    def after_start(self, trial: Trial, place: dict[str, Any]) -> None:
        run = self._callback._trial_to_run[trial]
        self._hashes[trial.trial_id] = run.hash
        self._repo = (self._callback._repo_path or trial.local_experiment_path, run.experiment)
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

    def before_start(self, trial: Trial, place: dict[str, Any]) -> None:
        self._callback.tags = [*self._tags, place["config_id"]]

    def after_start(self, trial: Trial, place: dict[str, Any]) -> None:
        self._callback._trial_experiments[trial].log_parameters(place)

    def log_config(
        self, place: dict[str, Any], config: dict[str, Any], scores: dict[str, float]
    ) -> None:
        import comet_ml

        kind = comet_ml.Experiment if self._callback.online else comet_ml.OfflineExperiment
        experiment = kind(**self._callback.experiment_kwargs)
        experiment.set_name(place["config_id"])
        experiment.add_tags([*self._tags, "config", place["config_id"]])
        experiment.log_parameters({**config, **place})
        experiment.log_metrics(scores)
        experiment.end()


_TOOLS: dict[str, Callable[[Any], Tool]] = {
    "WandbLoggerCallback": _Wandb,
    "MLflowLoggerCallback": _Mlflow,
    "AimLoggerCallback": _Aim,
    "CometLoggerCallback": _Comet,
}


def params(config: dict[str, Any]) -> dict[str, Any]:
    """A config as trackers take it: without nesting, long values cut."""
    return {
        key: value if isinstance(value, (bool, int, float)) else value_text(value, 200)
        for key, value in flat(config).items()
    }


def cells(item: Standing) -> dict[str, float]:
    """What is logged of a config: its score and what is known of it, where it is defined."""
    low, high = item.interval
    found = {
        "score": item.score,
        "std": item.std,
        "interval_low": low,
        "interval_high": high,
        "seeds": float(len(item.values)),
        "seeds_failed": float(len(item.failures)),
        "epochs": float(item.epochs),
    }
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}
