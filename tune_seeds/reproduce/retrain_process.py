"""One run in a process of its own, outside of Tune; ``verify`` starts it.

python -m tune_seeds.reproduce.retrain_process JOB RESULT
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import ray
from ray.tune.utils import flatten_dict

from tune_seeds._compat.ray_tune import set_session
from tune_seeds.core.process_variables import start_environment
from tune_seeds.core.rungs import TO_THE_END
from tune_seeds.engine.cluster import check_resources
from tune_seeds.engine.trainable_file import load_trainable
from tune_seeds.training.reporting import ENVIRONMENT
from tune_seeds.training.trainable import Plan, set_plan


class _Finished(BaseException):
    """The last recorded epoch is there; not an Exception, so that no training loop catches it."""


class Session:
    """What ``tune.report`` and ``tune.get_checkpoint`` talk to where there is no Tune.

    Args:
        time_attr: the report key that counts progress.
        last: the epoch after which the run is ended.
        keep: where the last checkpoint is copied to; None for nowhere.
    """

    loaded_checkpoint = None
    trial_id = None
    world_rank = None

    def __init__(self, time_attr: str, last: int, keep: str | None = None) -> None:
        self.metrics: dict[int, dict[str, float]] = {}
        self.environment: dict[str, Any] = {}
        self._time_attr = time_attr
        self._last = last
        self._keep = keep

    def report(self, metrics: dict[str, Any], checkpoint: Any = None) -> None:
        """Note one report.

        Raises:
            _Finished: it is the last.
        """
        metrics = flatten_dict({"training_iteration": len(self.metrics) + 1, **metrics})
        if ENVIRONMENT in metrics:
            self.environment = json.loads(metrics[ENVIRONMENT])
        epoch = int(metrics[self._time_attr])
        self.metrics[epoch] = {
            name: float(value) for name, value in metrics.items() if isinstance(value, (int, float))
        }
        if epoch >= self._last:
            if self._keep is not None and checkpoint is not None:
                checkpoint.to_directory(self._keep)
            raise _Finished


def main(job_file: str, result_file: str) -> None:
    """Train the run of a job and write what it reports."""
    job: dict[str, Any] = cloudpickle.loads(Path(job_file).read_bytes())
    trainable = load_trainable(job["trainable"])
    session = Session(trainable.time_attr, job["last"], job.get("keep"))
    if trainable.n_workers > 1:
        start_environment()
        ray.init(include_dashboard=False, log_to_driver=False)
        check_resources(trainable.resources)
    set_session(session)
    last = TO_THE_END if trainable.max_epochs is None else trainable.max_epochs
    if "keep" in job:
        last = job["last"]
    plan = Plan(frozenset(), last)
    set_plan(plan)
    with contextlib.suppress(_Finished):
        trainable.train(job["config"], plan)
    result = {"metrics": session.metrics, "environment": session.environment}
    Path(result_file).write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
