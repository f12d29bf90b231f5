"""One run in a process of its own, outside of Tune; ``verify`` starts it.

python -m tune_seeds.retraining JOB RESULT
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any, cast

import ray
from ray import cloudpickle
from ray._private.dict import flatten_dict
from ray.train._internal import session as ray_session

from tune_seeds.cluster import check_resources
from tune_seeds.environment import start_environment
from tune_seeds.ledger import TO_THE_END
from tune_seeds.reporting import ENVIRONMENT
from tune_seeds.trainable import Plan, set_plan
from tune_seeds.verify import load_trainable


class _Finished(BaseException):
    """The last recorded epoch is there; not an Exception, so that no training loop catches it."""


class Session:
    """What ``tune.report`` and ``tune.get_checkpoint`` talk to where there is no Tune.

    Args:
        time_attr: the report key that counts progress.
        last: the epoch after which the run is ended.
    """

    loaded_checkpoint = None
    world_rank = None

    def __init__(self, time_attr: str, last: int) -> None:
        self.metrics: dict[int, dict[str, float]] = {}
        self.environment: dict[str, Any] = {}
        self._time_attr = time_attr
        self._last = last

    def report(self, metrics: dict[str, Any], checkpoint: object = None) -> None:
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
            raise _Finished


def main(job_file: str, result_file: str) -> None:
    """Train the run of a job and write what it reports."""
    job: dict[str, Any] = cloudpickle.loads(Path(job_file).read_bytes())
    trainable = load_trainable(job["trainable"])
    session = Session(trainable.time_attr, job["last"])
    if trainable.workers:
        start_environment()
        ray.init(include_dashboard=False, log_to_driver=False)
        check_resources(trainable.resources, trainable.workers)
    # Ray's functions look for the session in this one place, and offer no way to give another.
    cast(Any, ray_session)._session = session
    last = TO_THE_END if trainable.max_epochs is None else trainable.max_epochs
    plan = Plan(frozenset(), last)
    set_plan(plan)
    with contextlib.suppress(_Finished):
        trainable.train(job["config"], plan)
    result = {"metrics": session.metrics, "environment": session.environment}
    Path(result_file).write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
