"""Which kind of GPU the runs of a group train on, where a cluster has several.

The bits of a run depend on the kind of its GPU, and the seeds of a group are compared with each
other, so they share one; a run that was paused goes back to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from ray.tune import PlacementGroupFactory

from tune_seeds.engine.resources import bundles_of, nodes_of_cluster
from tune_seeds.training.environment import ACCELERATOR_TYPE, kind_of_gpu

# A node has one of this resource, whatever its GPUs, so that a sliver of it names the kind.
_SLIVER = 0.001


class GpuKinds:
    """Gives each group the kind of GPU that has the fewest groups for its number of GPUs.

    Args:
        resources: of a run.
        nodes: what each node has, asked anew each time.
    """

    def __init__(
        self,
        resources: Mapping[str, float] | PlacementGroupFactory | None,
        nodes: Callable[[], list[dict[str, float]]] = nodes_of_cluster,
    ) -> None:
        self._nodes = nodes
        self._of_group: dict[str, str] = {}
        parts = bundles_of(resources)
        self._bundles = [{k: v for k, v in part.items() if v} for part in parts]
        if isinstance(resources, PlacementGroupFactory) and resources.head_bundle_is_empty:
            # A trial's own process, which only waits for its workers, comes first.
            self._bundles.insert(0, {})
        #: A part of a run that takes GPUs; all such parts are alike.
        self._bundle = next((b for b in self._bundles if b.get("GPU")), {})

    def resources(self, group: str, known: str | None = None) -> PlacementGroupFactory | None:
        """What a run of a group takes; None where its kind of GPU does not matter or is gone.

        Args:
            group: its name.
            known: the kind on which a run of the group has trained, where one has.
        """
        if not self._bundle:
            return None
        if any(name.startswith(ACCELERATOR_TYPE) for name in self._bundle):
            return None  # the user has chosen
        n_gpus: Counter[str] = Counter()
        for node in self._nodes():
            kind = kind_of_gpu(node)
            if kind is not None and all(node.get(k, 0) >= v for k, v in self._bundle.items()):
                n_gpus[kind] += int(node["GPU"])
        kind = known or self._of_group.get(group)
        if kind is None:
            if len(n_gpus) < 2:
                return None
            taken = Counter(self._of_group.values())
            kind = min(n_gpus, key=lambda k: ((taken[k] + 1) / n_gpus[k], k))
        self._of_group[group] = kind
        if kind not in n_gpus or len(n_gpus) < 2:
            return None
        named = {f"{ACCELERATOR_TYPE}{kind}": _SLIVER}
        return PlacementGroupFactory([{**b, **named} if b.get("GPU") else b for b in self._bundles])
