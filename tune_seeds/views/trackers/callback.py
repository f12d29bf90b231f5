"""W&B, MLflow, Aim and Comet: a run is filed under its config, and each config is logged once.

The trackers are Ray's own callbacks, given in ``RunConfig(callbacks=[...])`` as ever. Ray files
each trial by itself; here each says where it belongs before it starts:

======  ================================================  =====================================
tool    a run                                             a config, once, at the end
======  ================================================  =====================================
W&B     ``group``; config ``group``, ``seed``             a run with ``job_type="config"``
MLflow  child of the config's run; tags                   the parent run
Aim     params ``experiment``, ``group``, ``seed``        a run with ``kind="config"``
Comet   parameters and a tag                              an experiment with the tag ``config``
======  ================================================  =====================================
"""

# The trackers are optional, and Ray's callbacks carry no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingImports=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from tune_seeds.analysis.group_summary import Standing
from tune_seeds.store.live_study import Study
from tune_seeds.views.labels import shortened
from tune_seeds.views.trackers.config_log import cells, log_once, params
from tune_seeds.views.trackers.tools import TOOLS, Tool

logger = logging.getLogger(__name__)


def filed(callback: Any, study: Study, experiment: str) -> Any:
    """A tracker of Ray's that files runs under their configs; any other callback as it is.

    Args:
        callback: from ``RunConfig.callbacks``.
        study: tells the config of a trial.
        experiment: its name, for tools whose groups are shared by all experiments.
    """
    for kind in type(callback).__mro__:
        if kind.__name__ in TOOLS:
            return Filed(callback, TOOLS[kind.__name__](callback), study, experiment)
    return callback


class Filed(Callback):
    """Passes every hook on to a tracker, with the run's config told around its start.

    A tracker that refuses something, or that is not reached, is warned of and ends no study.

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
        self._shown: dict[str, Any] = {}
        self._told: set[str] = set()

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
        if trial.trial_id not in self._shown:
            self._shown[trial.trial_id] = ShownTrial(trial, self._tool.named(params(trial.config)))
        shown = self._shown[trial.trial_id]
        with self._warning():
            self._tool.before_start(shown, place)
            self._inner.on_trial_start(iteration, trials, shown, **info)
            self._tool.after_start(shown, place)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Pass it on, with the config as the tool was shown it."""
        shown = self._shown.get(trial.trial_id)
        if shown is not None:
            own = {key: value for key, value in result.items() if key != "config"}
            told = {**self._tool.named(own), "config": shown.config}
            with self._warning():
                self._inner.on_trial_result(iteration, trials, shown, told, **info)

    def on_trial_save(self, *args: Any, **info: Any) -> None:
        """Pass it on."""
        self._pass_on("on_trial_save", *args, **info)

    def on_trial_complete(self, *args: Any, **info: Any) -> None:
        """Pass it on, but for a run that did not start since a restore: the tools know none."""
        self._pass_on("on_trial_complete", *args, **info)

    def on_trial_error(self, *args: Any, **info: Any) -> None:
        """Likewise."""
        self._pass_on("on_trial_error", *args, **info)

    def on_trial_recover(self, *args: Any, **info: Any) -> None:
        """Likewise."""
        self._pass_on("on_trial_recover", *args, **info)

    def on_checkpoint(self, *args: Any, **info: Any) -> None:
        """Likewise."""
        self._pass_on("on_checkpoint", *args, **info)

    def on_step_begin(self, *args: Any, **info: Any) -> None:
        """Pass it on."""
        self._inner.on_step_begin(*args, **info)

    def on_step_end(self, *args: Any, **info: Any) -> None:
        """Pass it on."""
        self._inner.on_step_end(*args, **info)

    def on_experiment_end(self, *args: Any, **info: Any) -> None:
        """Log every config, unless the study was left and goes on later; and pass it on."""
        if self._study.race.done:
            log_once(self._study, type(self._inner).__name__, self._log_config)
        with self._warning():
            self._inner.on_experiment_end(*args, **info)

    def _log_config(self, item: Standing) -> None:
        config = self._tool.named(params(item.config))
        self._tool.log_config(self._place(item.group), config, cells(item))

    def _place(self, group: str) -> dict[str, Any]:
        return {"experiment": self._experiment, "group": group}

    def _pass_on(
        self, hook: str, iteration: int, trials: list[Trial], trial: Trial, *args: Any, **info: Any
    ) -> None:
        shown = self._shown.get(trial.trial_id)
        if shown is not None:
            with self._warning():
                getattr(self._inner, hook)(iteration, trials, shown, *args, **info)

    @contextmanager
    def _warning(self) -> Generator[None]:
        try:
            yield
        except Exception as error:  # of somebody else's package, server or network
            text = shortened(f"{type(error).__name__}: {error}", 300)
            if text not in self._told:
                self._told.add(text)
                logger.warning("%s did not take something: %s", type(self._inner).__name__, text)


class ShownTrial:
    """A trial as a tracker is shown it: with a config that it takes; otherwise the same.

    Args:
        trial: Ray's.
        config: flat.
    """

    def __init__(self, trial: Trial, config: dict[str, Any]) -> None:
        self._trial = trial
        self.config = self.evaluated_params = config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def __str__(self) -> str:
        return str(self._trial)
