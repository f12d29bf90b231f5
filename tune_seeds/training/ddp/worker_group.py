"""The workers of a trial, which it keeps for the runs that follow."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.util.placement_group import PlacementGroup, get_current_placement_group, placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from tune_seeds.training.ddp.worker import Host, Job, Parcel, as_actor, ranks_of

# How long the other workers of one that has failed may take to notice, in seconds.
_TO_NOTICE_S = 10.0

# How long workers may take to stop at the end of an epoch, in seconds.
_TO_STOP_S = 120.0


class WorkerGroup:
    """Workers that train one run after the other.

    Args:
        bundles: what each worker takes, by Ray's names.
        places: a placement group with a bundle for each.
    """

    def __init__(self, bundles: Sequence[Mapping[str, float]], places: PlacementGroup) -> None:
        self.bundles = tuple(dict(bundle) for bundle in bundles)
        self.places = places
        actor = as_actor()
        self._workers = [
            actor.options(
                **_options(bundle),
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    places, placement_group_bundle_index=k
                ),
            ).remote()
            for k, bundle in enumerate(self.bundles)
        ]
        hosts: list[Host] = ray.get([worker.host.remote() for worker in self._workers])
        ranks = ranks_of(hosts)
        ray.get([w.become.remote(rank) for w, rank in zip(self._workers, ranks, strict=True)])
        first = [rank.rank for rank in ranks].index(0)
        self._first, self._address = self._workers[first], hosts[first].address
        self._training: list[Any] = []
        self._next: Any = None

    def begin(self, job: Job) -> None:
        """Let every worker train its rank of a run."""
        port = ray.get(self._first.open.remote(self._address))
        sent = ray.put(job)
        self._training = [w.train.remote(sent, self._address, port) for w in self._workers]
        self._next = None

    def next_parcel(self) -> Parcel | None:
        """The next epoch, once it is there; None where the run is over.

        Raises:
            Exception: what a worker raised.
            ray.exceptions.RayActorError: a worker has died.
        """
        self._next = self._next or self._first.next_parcel.remote()
        training = list(self._training)
        try:
            while True:
                ready, _ = ray.wait([*training, self._next], num_returns=1)
                if ready[0] == self._next:
                    parcel: Parcel | None = cast(Any, ray.get(self._next))
                    self._next = None
                    if parcel is None:
                        ray.get(self._training)
                        self._training = []
                    return parcel
                ray.get(ready[0])
                training.remove(ready[0])
        except Exception:
            raise self._failure() from None

    def answer(self, go_on: bool) -> None:
        """Say whether to train another epoch."""
        self._first.answer.remote(go_on)

    def stop(self) -> None:
        """End the run where it hears of it; the workers wait for the next one."""
        if not self._training:
            return
        try:
            # Waited for: an answer that comes later would stop the next run.
            ray.get(self._first.answer.remote(False))
        except RayActorError:
            self.kill()
        _, training = ray.wait(self._training, num_returns=len(self._training), timeout=_TO_STOP_S)
        if training:
            self.kill()
        self._training = []

    def kill(self) -> None:
        """End the processes."""
        for worker in self._workers:
            ray.kill(worker)
        if _Kept.group is self:
            _Kept.group = None

    def _failure(self) -> BaseException:
        """The one failure of a worker that tells why the run failed; the workers are ended.

        Where a worker has died, the others fail too, in what they wanted to do together: then it is
        the dead one's. Otherwise it is that of the worker that was the first to fail.
        """
        failures: list[Exception] = []
        training = list(self._training)
        while training:
            ready, training = ray.wait(training, num_returns=1, timeout=_TO_NOTICE_S)
            if not ready:
                break
            try:
                ray.get(ready[0])
            except Exception as error:
                failures.append(error)
        self._training = []
        self.kill()
        dead = [failure for failure in failures if isinstance(failure, RayActorError)]
        failure = next(iter(dead or failures), RuntimeError("the workers ended without a word"))
        if isinstance(failure, RayTaskError) and isinstance(failure.cause, Exception):
            failure.cause.__cause__ = failure  # with the worker's own traceback
            return failure.cause
        return failure


class _Kept:
    """The workers of this process's trial."""

    group: WorkerGroup | None = None


def kept_group(bundles: Sequence[Mapping[str, float]]) -> WorkerGroup:
    """The workers of this trial: those that trained its last run, or new ones.

    Args:
        bundles: what each takes; a trial's placement group has one for each, and no others.
    """
    here = get_current_placement_group()
    kept = _Kept.group
    if kept is not None and (
        kept.bundles != tuple(map(dict, bundles)) or (here is not None and here != kept.places)
    ):
        kept.kill()
        kept = None
    if kept is None:
        if here is None:  # outside of Tune
            here = placement_group([dict(bundle) for bundle in bundles], strategy="PACK")
            ray.get(here.ready())
        kept = _Kept.group = WorkerGroup(bundles, here)
    return kept


def _options(bundle: Mapping[str, float]) -> dict[str, Any]:
    others = {k: v for k, v in bundle.items() if k not in ("CPU", "GPU", "memory")}
    found: dict[str, Any] = {
        "num_cpus": bundle.get("CPU", 0),
        "num_gpus": bundle.get("GPU", 0),
        "resources": others,
    }
    return {**found, "memory": bundle["memory"]} if "memory" in bundle else found
