"""Places of workers in the cluster that Ray does not give back by itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import ray
from ray import PlacementGroupID
from ray._private.state import state
from ray.core.generated import gcs_pb2
from ray.util.placement_group import PlacementGroup, remove_placement_group

_LOOK_S = 0.5


def free_leaked_places(bundles: Sequence[Mapping[str, float]], timeout_s: float = 0.0) -> None:
    """Give back what the workers of killed trials of this job still hold.

    Ray keeps a placement group when the actor that made it dies, until the whole job ends.

    Args:
        bundles: of the workers of one run.
        timeout_s: wait up to so long for those that are about to die.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        groups = _groups_of_actors(bundles)
        for group in groups:
            if group.creator_actor_dead:
                remove_placement_group(PlacementGroup(PlacementGroupID(group.placement_group_id)))
        if all(group.creator_actor_dead for group in groups) or time.monotonic() >= deadline:
            return
        time.sleep(_LOOK_S)


def _groups_of_actors(bundles: Sequence[Mapping[str, float]]) -> list[Any]:
    """The placement groups of such bundles that actors of this job, Ray Train's, have made."""
    accessor: Any = cast(Any, state)._connect_and_get_accessor()
    data: Any = cast(Any, gcs_pb2).PlacementGroupTableData
    job = bytes.fromhex(ray.get_runtime_context().get_job_id())
    groups = [data.FromString(entry) for entry in accessor.get_placement_group_table()]
    return [
        group
        for group in groups
        if group.creator_job_id == job
        and group.creator_actor_id.strip(b"\xff")  # the driver's are all ones
        and group.state != data.REMOVED
        and not group.is_detached
        and [dict(bundle.unit_resources) for bundle in group.bundles] == list(map(dict, bundles))
    ]
