"""Private names of Ray's tracker callbacks, which give no public access to the runs they make.

Seen in Ray 2.44.1, 2.49.2, 2.53 and 2.60 (``ray.air.integrations.comet``,
``aimstack``'s callback in ``ray.tune.logger.aim``).
"""

# The trackers are optional, and Ray's callbacks carry no types.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from typing import Any


def aim_run_kwargs(callback: Any) -> dict[str, Any]:
    """What Ray's callback gives to each ``aim.Run`` that it makes."""
    return dict(callback._aim_run_kwargs)


def set_aim_run_kwargs(callback: Any, kwargs: dict[str, Any]) -> None:
    """Change what the next ``aim.Run`` is made with, such as ``run_hash`` of one that goes on."""
    callback._aim_run_kwargs = kwargs


def aim_run(callback: Any, trial: Any) -> tuple[Any, str]:
    """The ``aim.Run`` of a trial, and the repository that it lies in."""
    return callback._trial_to_run[trial], callback._repo_path or trial.local_experiment_path


def comet_experiment(callback: Any, trial: Any) -> Any:
    """The ``comet_ml.Experiment`` of a trial."""
    return callback._trial_experiments[trial]
