"""Whether every node of the cluster sees the storage, found out before a run needs it."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tune_seeds.core.root_cause import root_cause
from tune_seeds.store.directory import ExperimentDir

logger = logging.getLogger(__name__)

# A network file system may show a new file only after a while.
_PATIENCE_S = 5.0
# A node that is busy starts a process late; its runs would say by themselves what is missing.
_ANSWER_S = 60.0


def check_shared(directory: ExperimentDir, bundles: Sequence[Mapping[str, float]]) -> None:
    """Refuse storage in which some node does not find what this process writes.

    Args:
        directory: of the experiment; it exists.
        bundles: what a run takes; nodes that can't hold any of them are not asked.

    Raises:
        ValueError: names the nodes, and what to do.
    """
    here = ray.get_runtime_context().get_node_id()
    others = {
        str(node["NodeID"]): str(node["NodeManagerAddress"])
        for node in cast(list[Any], ray.nodes())
        if node["Alive"]
        and node["NodeID"] != here
        and any(all(node["Resources"].get(k, 0) >= v for k, v in b.items()) for b in bundles)
    }
    if not others:
        return
    name = f".seen_by_every_node-{secrets.token_hex(8)}"
    directory.write(name, b"written by the process that starts the runs\n")
    try:
        answers = _ask(others, directory, name)
    finally:
        directory.delete(name)
    blind = sorted(others[node] for node, why in answers.items() if why is not None)
    if blind:
        reasons = sorted({why for why in answers.values() if why is not None})
        raise ValueError(
            f"the storage {directory.path} is not shared by all nodes of the cluster: "
            f"{', '.join(blind)} {'; '.join(reasons)}. Runs could neither be paused there nor go "
            "on elsewhere: give RunConfig(storage_path=...) a folder that every node mounts at "
            "that path, or an object store such as s3://bucket/folder"
        )


def _ask(others: Mapping[str, str], directory: ExperimentDir, name: str) -> dict[str, str | None]:
    """Why each node does not see the file; None for one that does or that gives no answer."""
    remote: Any = ray.remote(num_cpus=0, max_retries=0)(_look)
    tasks: dict[Any, str] = {}
    for node in others:
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        tasks[remote.options(scheduling_strategy=there).remote(directory, name)] = node
    done, late = ray.wait(list(tasks), num_returns=len(tasks), timeout=_ANSWER_S)
    answers: dict[str, str | None] = {}
    for task in late:
        ray.cancel(task, force=True)
        logger.warning(
            "node %s did not say in time whether it sees the storage %s",
            others[tasks[task]],
            directory.path,
        )
    for task in done:
        node = tasks[task]
        try:
            sees = cast(bool, ray.get(task))
        except RayTaskError as error:
            cause = root_cause(str(error))
            if cause.missing_module == "tune_seeds":
                raise ValueError(
                    f"node {others[node]} has no package tune_seeds: install it on every node of "
                    "the cluster, in the same version"
                ) from None
            answers[node] = f"can't read it ({cause.line})"
        except RayError as error:
            logger.warning("node %s could not be asked for the storage: %s", others[node], error)
        else:
            answers[node] = None if sees else "see nothing of what this machine writes there"
    return answers


def _look(directory: ExperimentDir, name: str) -> bool:
    """Whether this node sees a file, now or soon."""
    deadline = time.monotonic() + _PATIENCE_S
    while not directory.exists(name):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.2)
    return True
