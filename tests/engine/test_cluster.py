from __future__ import annotations

from typing import Any

import pytest
import ray
from ray import tune

from tune_seeds.engine import cluster

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
    with pytest.raises(ValueError, match=r"CPU: 2 and CPU: 1 at the same time.* no room for all"):
        cluster.check_resources(tune.PlacementGroupFactory([{"CPU": 2}, {"CPU": 1}]))


def several(*bundles: dict[str, float]) -> tune.PlacementGroupFactory:
    """A run whose trial only waits for its workers."""
    return tune.PlacementGroupFactory([{}, *bundles])


def test_workers_that_the_cluster_has_no_places_for():
    cluster.check_resources(several(*[{"CPU": 1.0}] * cpus()))
    with pytest.raises(ValueError, match=r"3 times CPU: 1 at the same time.*for fewer workers"):
        cluster.check_resources(several(*[{"CPU": 1.0}] * 3))
    with pytest.raises(ValueError, match="asks for CPU: 99, but no node"):
        cluster.check_resources(several(*[{"CPU": 99.0}] * 2))


@pytest.mark.parametrize(
    ("limit", "resources", "expected"),
    [
        (None, {"cpu": 1}, 2),
        (0, {"cpu": 1}, 2),
        (1, {"cpu": 1}, 1),
        (3, {"cpu": 1}, 2),
        (None, several(*[{"CPU": 1.0}] * 2), 1),
        (None, several(*[{"CPU": 0.5}] * 2), 2),
        (None, several(*[{"CPU": 0.1}] * 2), 10),
        (3, several(*[{"CPU": 0.1}] * 2), 3),
        (99, several(*[{"CPU": 0.5}] * 2), 2),
    ],
)
def test_how_many_runs_fit_at_a_time(limit: int | None, resources: Any, expected: int):
    assert cpus() == 2
    assert cluster.LiveSlots(resources, limit)() == expected


@pytest.mark.parametrize(
    ("bundles", "expected"),
    [
        ([{"CPU": 1.0}, {"CPU": 0.5}], 1),
        ([{"CPU": 0.5}, {"CPU": 0.25}], 2),
        ([{}, {"CPU": 1.0}], 2),
    ],
)
def test_how_many_runs_of_different_bundles_fit(bundles: list[dict[str, float]], expected: int):
    assert cluster.LiveSlots(tune.PlacementGroupFactory(bundles), None)() == expected
