from __future__ import annotations

import pytest
import ray
from ray import tune

from tune_seeds import cluster

pytestmark = pytest.mark.usefixtures("ray_session")


def cpus() -> int:
    return int(ray.nodes()[0]["Resources"]["CPU"])


def test_resources_that_no_node_has():
    cluster.check_resources({"cpu": 2})
    cluster.check_resources(tune.PlacementGroupFactory([{"CPU": 1}, {"CPU": 1}]))
    with pytest.raises(ValueError, match=f"asks for CPU: 99.*CPU: {cpus():g}, GPU: 0"):
        cluster.check_resources({"cpu": 99})
    with pytest.raises(ValueError, match="asks for CPU: 1, GPU: 1"):
        cluster.check_resources({"cpu": 1, "gpu": 1})


def test_workers_that_the_cluster_has_no_places_for():
    trial = tune.PlacementGroupFactory([{"memory": 1}])
    cluster.check_resources(trial, [{"CPU": 1}] * cpus())
    with pytest.raises(ValueError, match=r"3 workers with CPU: 1 each.*has places for 2"):
        cluster.check_resources(trial, [{"CPU": 1.0}] * 3)
    with pytest.raises(ValueError, match="asks for CPU: 99, but no node"):
        cluster.check_resources(trial, [{"CPU": 99.0}] * 2)


@pytest.mark.parametrize(
    ("limit", "workers", "expected"),
    [
        (None, [], None),
        (0, [], None),
        (3, [], 3),
        (None, [{"CPU": 1.0}] * 2, 1),
        (None, [{"CPU": 0.5}] * 2, 2),
        (None, [{"CPU": 0.1}] * 2, 10),
        (3, [{"CPU": 0.1}] * 2, 3),
        (99, [{"CPU": 0.5}] * 2, 2),
    ],
)
def test_how_many_runs_fit_at_a_time(
    limit: int | None, workers: list[dict[str, float]], expected: int | None
):
    assert cpus() == 2
    assert cluster.concurrent_runs(limit, workers) == expected
