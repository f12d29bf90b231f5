"""What the Ray cluster can hold, asked before any trial starts."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import ray
from ray.tune import PlacementGroupFactory

from tune_seeds._compat.ray_tune import grows_by_itself, joined_by_client
from tune_seeds.core.process_variables import start_environment
from tune_seeds.engine.resources import bundles_of, nodes_of_cluster
from tune_seeds.engine.sharing import Shared

logger = logging.getLogger(__name__)

# Counting asks Ray's head node; nodes come and go in more time than this.
_COUNT_AGAIN_S = 2.0

# Within a cluster's network an answer takes milliseconds.
_ANSWER_S = 10.0

# Far more than any driver carries out; keeps the count of a bundle of nothing finite.
_MOST_RUNS = 10_000


def start_ray(address: str | None = None) -> None:
    """Join a Ray cluster, or start a Ray on this machine where there is none.

    Args:
        address: of the cluster's head, ``host:port``, or ``"auto"`` for the one on this machine.
            None takes the environment's ``RAY_ADDRESS``, or what runs on this machine. A process
            that has joined a cluster already stays in it.

    Raises:
        ConnectionError: nothing answers at the address; it takes 15 seconds at most to find out.
        ValueError: the cluster is joined, or to be joined, through Ray Client.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    if joined_by_client() or (address or "").startswith("ray://"):
        raise ValueError(
            "a study can't be driven through Ray Client (ray://): its decisions need the storage "
            "and each report at once, and a lost connection would end it. Run the script on the "
            "cluster: `ray job submit --working-dir . -- python SCRIPT`, or on a node of it with "
            'ray.init(address="auto")'
        )
    if ray.is_initialized():
        return
    if address not in (None, "auto", "local"):
        _check_answers(address)
    start_environment()
    cast(Any, ray).init(address=address, include_dashboard=False)


def _check_answers(address: str) -> None:
    """Refuse an address where nothing listens; Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"the address of a Ray cluster is host:port or auto, got {address!r}")
    found: list[OSError | None] = []

    def connect() -> None:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
            found.append(None)
        except OSError as error:
            found.append(error)

    # Looking up a name has no timeout of its own.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_ANSWER_S)
    why = found[0] if found else f"no answer within {_ANSWER_S:.0f} s"
    if why is not None:
        raise ConnectionError(
            f"no Ray cluster answers at {address} ({why}); `ray status` on its head says whether "
            "it runs, and `ray start --head` prints its address"
        )


def gpus_of_a_run() -> int:
    """What ``gpus="auto"`` is on the cluster as it is now: 1 where any node has a GPU, else 0."""
    found = any(node.get("GPU", 0) > 0 for node in nodes_of_cluster())
    if not found and grows_by_itself():
        logger.warning(
            "the cluster grows by itself and has no GPU at the moment, so runs train on CPUs; give "
            "LightningTrainer(gpus=1) where they are to wait for GPUs"
        )
    return int(found)


def check_resources(
    resources: Mapping[str, float] | PlacementGroupFactory | None,
) -> None:
    """Refuse runs that the cluster can't hold, unless it grows by itself.

    Args:
        resources: of a run.

    Raises:
        ValueError: names what is asked for and what the nodes have.
    """
    if grows_by_itself():
        return
    own = bundles_of(resources)
    for bundle in own:
        if not _n_places(bundle):
            raise ValueError(
                f"a run asks for {_in_words(bundle)}, but no node of the cluster has that "
                f"({_nodes_in_words(bundle)}); ask for less per run, or start Ray with more"
            )
    if not n_runs(own):
        alike = len(own) > 1 and all(bundle == own[0] for bundle in own)
        asked = (
            f"{len(own)} times {_in_words(own[0])}" if alike else " and ".join(map(_in_words, own))
        )
        raise ValueError(
            f"a run asks for {asked} at the same time, but the cluster has no room for all of it "
            f"({_nodes_in_words(own[0])}); ask for less per run, for fewer workers, or start Ray "
            "with more"
        )


class LiveSlots:
    """How many runs may train at a time on the cluster as it is now; nodes come and go.

    Studies that run on one cluster at the same time share it.

    Args:
        resources: of a run.
        limit: ``max_concurrent_trials``; 0 and None are no limit.
        shared: the study among others of the cluster, with which it shares the slots; None where
            it is the only one.

    Attributes:
        bundles: what one run takes, each on one node.
    """

    def __init__(
        self,
        resources: Mapping[str, float] | PlacementGroupFactory | None,
        limit: int | None,
        shared: Shared | None = None,
    ) -> None:
        self.bundles = bundles_of(resources)
        self._limit = limit or None
        self._grows = grows_by_itself()
        self._counted: tuple[float, int] | None = None
        self._shared = shared

    def __call__(self, wanted: int | None = None) -> int:
        """How many; at least 1, since a cluster that has lost its nodes may get others.

        Args:
            wanted: how many the study can use, where it could not use any number of them.
        """
        now = time.monotonic()
        if self._counted is None or now - self._counted[0] >= _COUNT_AGAIN_S:
            n = max(1, n_runs(self.bundles))
            if self._shared is not None:
                usable = min(wanted or n, self._limit or n, n)
                n = max(1, int(n * self._shared.part(usable / n) + 1e-6))
            # Runs that wait for a place are what an autoscaler adds nodes for.
            n += max(1, n // 2) if self._grows else 0
            self._counted = now, min(n, self._limit or n)
        return self._counted[1]

    def leave(self) -> None:
        """Let other studies have the slots."""
        if self._shared is not None:
            self._shared.leave()


def n_runs(bundles: Sequence[Mapping[str, float]]) -> int:
    """How many runs the cluster holds at a time.

    Args:
        bundles: what one run takes, at least one; each fits on one node, two may lie on one.
    """
    if all(bundle == bundles[0] for bundle in bundles):
        return _n_places(bundles[0]) // len(bundles)
    free = nodes_of_cluster()
    for n in range(_MOST_RUNS):
        for bundle in bundles:
            node = next((node for node in free if _fits(bundle, node)), None)
            if node is None:
                return n
            for name, amount in bundle.items():
                node[name] = node.get(name, 0) - amount
    return _MOST_RUNS


def _fits(bundle: Mapping[str, float], node: Mapping[str, float]) -> bool:
    return all(node.get(name, 0) + 1e-6 >= amount for name, amount in bundle.items())


def _n_places(bundle: Mapping[str, float]) -> int:
    # A fraction of a CPU is counted in ten-thousandths by Ray, so 0.1 fits ten times.
    return sum(
        min((int(node.get(k, 0) / v + 1e-6) for k, v in bundle.items() if v), default=1)
        for node in nodes_of_cluster()
    )


def _in_words(bundle: Mapping[str, float]) -> str:
    return ", ".join(f"{k}: {v:g}" for k, v in bundle.items())


def _nodes_in_words(bundle: Mapping[str, float]) -> str:
    kinds = sorted({*bundle, "CPU", "GPU"})
    return "; ".join(_in_words({k: node.get(k, 0) for k in kinds}) for node in nodes_of_cluster())
