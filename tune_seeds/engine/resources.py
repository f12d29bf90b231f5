"""What a run takes and what each node has, by Ray's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import ray
from ray.tune import PlacementGroupFactory


def bundles_of(
    resources: Mapping[str, float] | PlacementGroupFactory | None,
) -> list[dict[str, float]]:
    """The parts of a run that take something, each on one node; one CPU where nothing is said."""
    if isinstance(resources, PlacementGroupFactory):
        return [dict(bundle) for bundle in resources.bundles]
    upper = {"cpu": "CPU", "gpu": "GPU"}
    return [{upper.get(k, k): v for k, v in (resources or {"cpu": 1}).items()}]


def nodes_of_cluster() -> list[dict[str, float]]:
    """What each node that is alive has."""
    return [dict(node["Resources"]) for node in cast(list[Any], ray.nodes()) if node["Alive"]]
