"""What the Ray cluster can hold, asked before any trial starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import ray
from ray.tune import PlacementGroupFactory
from ray.tune.execution.cluster_info import (
    _is_ray_cluster,  # pyright: ignore[reportPrivateUsage]
)

from tune_seeds.environment import start_environment


def start_ray() -> None:
    """Start a Ray on this machine, unless one is running or this process has joined one."""
    if not ray.is_initialized():
        start_environment()
        ray.init(include_dashboard=False)


def check_resources(
    resources: Mapping[str, float] | PlacementGroupFactory | None,
    workers: Sequence[Mapping[str, float]] = (),
) -> None:
    """Refuse runs that the cluster can't hold, unless it grows by itself.

    Args:
        resources: of a run's trial.
        workers: a bundle for each of its DDP workers, all alike.

    Raises:
        ValueError: names what is asked for and what the nodes have.
    """
    if _is_ray_cluster():
        return
    if isinstance(resources, PlacementGroupFactory):
        bundles = [dict(bundle) for bundle in resources.bundles]
    else:
        upper = {"cpu": "CPU", "gpu": "GPU"}
        bundles = [{upper.get(k, k): v for k, v in (resources or {"cpu": 1}).items()}]
    for bundle in (*bundles, *workers[:1]):
        if not _n_places(bundle):
            raise ValueError(
                f"a run asks for {_in_words(bundle)}, but no node of the cluster has that "
                f"({_nodes_in_words(bundle)}); ask for less per run, or start Ray with more"
            )
    if workers and not n_runs(workers):
        raise ValueError(
            f"a run asks for {len(workers)} workers with {_in_words(workers[0])} each, but the "
            f"cluster has places for {_n_places(workers[0])} ({_nodes_in_words(workers[0])}); ask "
            "for less per worker, for fewer workers, or start Ray with more"
        )


def n_runs(workers: Sequence[Mapping[str, float]]) -> int:
    """How many runs of several workers the cluster holds at a time.

    Tune can't tell: what it sees of such a run is a trial that takes next to nothing.

    Args:
        workers: a bundle for each worker of a run, all alike, at least one.
    """
    return _n_places(workers[0]) // len(workers)


def concurrent_runs(limit: int | None, workers: Sequence[Mapping[str, float]]) -> int | None:
    """How many runs may hold a slot at a time; None where Tune's own count is enough.

    Args:
        limit: ``max_concurrent_trials``; 0 and None are no limit.
        workers: a bundle for each DDP worker of a run; none where the trial itself trains.

    Raises:
        ValueError: the cluster grows by itself, and there is no limit.
    """
    if not workers:
        return limit or None
    if not _is_ray_cluster():
        return min(n_runs(workers), limit or n_runs(workers))
    if not limit:
        raise ValueError(
            "on a cluster that grows by itself, runs of several workers need a limit: give "
            "TuneConfig(max_concurrent_trials=...), the runs that the full cluster holds"
        )
    return limit


def _nodes() -> list[dict[str, float]]:
    return [node["Resources"] for node in cast(list[Any], ray.nodes()) if node["Alive"]]


def _n_places(bundle: Mapping[str, float]) -> int:
    # A fraction of a CPU is counted in ten-thousandths by Ray, so 0.1 fits ten times.
    return sum(
        min((int(node.get(k, 0) / v + 1e-6) for k, v in bundle.items() if v), default=1)
        for node in _nodes()
    )


def _in_words(bundle: Mapping[str, float]) -> str:
    return ", ".join(f"{k}: {v:g}" for k, v in bundle.items())


def _nodes_in_words(bundle: Mapping[str, float]) -> str:
    kinds = sorted({*bundle, "CPU", "GPU"})
    return "; ".join(_in_words({k: node.get(k, 0) for k in kinds}) for node in _nodes())
