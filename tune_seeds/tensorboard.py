"""The study in TensorBoard: each run's scalars, and one HPARAMS row per config."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.logger.tensorboardx import TBXLoggerCallback
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboardX.proto.summary_pb2 import Summary

from tune_seeds.journal import plain
from tune_seeds.study import Study


class SeedTBXLoggerCallback(TBXLoggerCallback):
    """Ray's TensorBoard logger, with the runs of a config as one session group of HPARAMS.

    Ray's own rows are one per trial, with the seed as a hyperparameter, written at the end of a
    trial. Here a run announces its config and its group at its first result; the plugin averages
    over the runs of a group.

    Args:
        study: tells the group of a trial.
    """

    def __init__(self, study: Study) -> None:
        super().__init__()
        self._study = study
        self._announced: set[Trial] = set()

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Write the scalars of a result, the hyperparameters before the first."""
        super().log_trial_result(iteration, trial, result)
        if trial in self._announced:
            return
        self._announced.add(trial)
        key = self._study.keys[trial.trial_id]
        config = plain(self._study.race.ledger.configs[key.group])
        hparams = {
            name: value if isinstance(value, (bool, int, float, str)) else repr(value)
            for name, value in _flat(config).items()
        }
        # TensorBoard's message and tensorboardX's are the same protocol, compiled twice.
        summary = Summary.FromString(hparams_pb(hparams, trial_id=key.group).SerializeToString())
        self._trial_writer[trial].file_writer.add_summary(summary)
        self._trial_writer[trial].file_writer.flush()

    def _try_log_hparams(self, trial: Trial, result: dict[str, Any]) -> None:
        """Nothing: Ray's row per trial would stand beside the row of its group."""


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}/"))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
