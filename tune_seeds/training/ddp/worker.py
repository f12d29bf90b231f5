"""One of the processes that train a run together, and what Lightning is told of them.

A worker is an actor in its trial's placement group. It outlives a run: the trial keeps it and hands
it the next one, as Tune does with the trial's own process.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUntypedFunctionDecorator=false
from __future__ import annotations

import gc
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, NamedTuple, cast

import ray
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy

from tune_seeds.core.memory import freeze_imports


class Parcel(NamedTuple):
    """One epoch, on its way from rank 0 to the trial."""

    metrics: dict[str, float]
    record: dict[str, Any] | None
    files: ray.ObjectRef[dict[str, bytes]] | None


class Stopped(BaseException):
    """The trial is paused or over; not an Exception, so that no training loop catches it."""


class Host(NamedTuple):
    """Where a worker runs.

    Attributes:
        node: Ray's id of its node.
        address: of that node, for the other workers.
        gpus: the GPUs that Ray has given it.
    """

    node: str
    address: str
    gpus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rank:
    """Which of its run's workers a process is, in the words of ``torchrun``.

    Attributes:
        gpus: of all workers on its node. They see each other's, which NCCL's fastest ways need.
        gpu: which of them is its own; None where it has none.
    """

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    node_rank: int
    gpus: tuple[str, ...]
    gpu: int | None

    @property
    def device(self) -> torch.device:
        """What it trains on."""
        return torch.device("cpu") if self.gpu is None else torch.device("cuda", self.gpu)

    @property
    def variables(self) -> dict[str, str]:
        """The process variables by which users' code finds out."""
        found = {
            "RANK": self.rank,
            "WORLD_SIZE": self.world_size,
            "LOCAL_RANK": self.local_rank,
            "LOCAL_WORLD_SIZE": self.local_world_size,
            "NODE_RANK": self.node_rank,
        }
        gpus = {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)} if self.gpus else {}
        return {**{name: str(value) for name, value in found.items()}, **gpus}


def ranks_of(hosts: Sequence[Host]) -> list[Rank]:
    """The rank of each worker: one node after the other, in the order in which they come up."""
    nodes = list(dict.fromkeys(host.node for host in hosts))
    on_node = {node: [k for k, host in enumerate(hosts) if host.node == node] for node in nodes}
    order = [k for node in nodes for k in on_node[node]]
    found: list[Rank] = []
    for k, host in enumerate(hosts):
        beside = on_node[host.node]
        gpus = tuple(gpu for other in beside for gpu in hosts[other].gpus)
        found.append(
            Rank(
                order.index(k),
                len(hosts),
                beside.index(k),
                len(beside),
                nodes.index(host.node),
                gpus,
                gpus.index(host.gpus[0]) if host.gpus else None,
            )
        )
    return found


class Talk:
    """Rank 0's side of the talk with the trial: epochs go out, answers come in."""

    def __init__(self) -> None:
        self.parcels: SimpleQueue[Parcel | None] = SimpleQueue()
        self.answers: SimpleQueue[bool] = SimpleQueue()

    def hand_over(self, parcel: Parcel) -> bool:
        """Give the trial an epoch, and wait for whether to go on."""
        self.parcels.put(parcel)
        return self.answers.get()


#: Trains one rank of a run in this process.
Job = Callable[[Rank, Talk], None]


class Worker:
    """The process; ``as_actor`` makes it one."""

    def __init__(self) -> None:
        self._rank: Rank | None = None
        self._talk = Talk()
        self._store: torch.distributed.TCPStore | None = None

    def host(self) -> Host:
        """Where it runs."""
        context = ray.get_runtime_context()
        gpus = context.get_accelerator_ids().get("GPU", [])
        return Host(context.get_node_id(), ray.util.get_node_ip_address(), tuple(map(str, gpus)))

    def become(self, rank: Rank) -> None:
        """Be this rank in every run to come."""
        self._rank = rank
        os.environ.update(rank.variables)
        _Current.rank = rank

    def open(self, address: str) -> int:
        """As rank 0, get ready for a run: the port where the other ranks find it."""
        assert self._rank is not None
        self._talk = Talk()
        self._store = torch.distributed.TCPStore(
            address, 0, self._rank.world_size, is_master=True, wait_for_workers=False
        )
        return self._store.port

    def train(self, job: Job, address: str, port: int) -> None:
        """Train this rank of a run to its end, or to where the trial stops it."""
        rank, talk = self._rank, self._talk
        assert rank is not None
        freeze_imports()  # so that the collection after each run costs next to nothing
        os.environ.update(MASTER_ADDR=address, MASTER_PORT=str(port))
        store = self._store or torch.distributed.TCPStore(
            address, port, rank.world_size, is_master=False
        )
        backend = "gloo" if rank.gpu is None else "nccl"
        try:
            torch.distributed.init_process_group(
                backend, store=store, rank=rank.rank, world_size=rank.world_size
            )
            # A thread of its own, as Tune gives to each run: what torch keeps by thread ends there.
            with ThreadPoolExecutor(1) as pool:
                pool.submit(job, rank, talk).result()
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
            self._store = None
            gc.collect()
            if rank.gpu is not None:
                torch.cuda.empty_cache()
            talk.parcels.put(None)

    @ray.method(concurrency_group="talk")
    def next_parcel(self) -> Parcel | None:
        """The next epoch of the run, once it is there; None after the last."""
        return self._talk.parcels.get()

    @ray.method(concurrency_group="talk")
    def answer(self, go_on: bool) -> None:
        """Let the workers train on, or stop them."""
        self._talk.answers.put(go_on)


def as_actor() -> Any:
    """The class of the actors; one that trains can be talked to."""
    return cast(Any, ray).remote(concurrency_groups={"talk": 2})(Worker)


class _Current:
    """The rank of this process, for what Lightning builds in it."""

    rank = Rank(0, 1, 0, 1, 0, (), None)


class WorkerEnvironment(LightningEnvironment):
    """Tells Lightning which rank this process is, instead of letting it start others."""

    def world_size(self) -> int:
        """Of the run."""
        return _Current.rank.world_size

    def global_rank(self) -> int:
        """Of this process, in the run."""
        return _Current.rank.rank

    def local_rank(self) -> int:
        """Of this process, on its node."""
        return _Current.rank.local_rank

    def node_rank(self) -> int:
        """Of this process's node."""
        return _Current.rank.node_rank

    @property
    def creates_processes_externally(self) -> bool:
        """They are there already."""
        return True

    def set_world_size(self, size: int) -> None:
        """Nothing: Lightning would take every node to have equally many workers."""

    def set_global_rank(self, rank: int) -> None:
        """Nothing, likewise."""

    def teardown(self) -> None:
        """Nothing: the process is that rank in the next run too."""


class WorkerStrategy(DDPStrategy):
    """DDP among workers of which each may sit on any node."""

    @property
    def root_device(self) -> torch.device:
        """What this process trains on."""
        return _Current.rank.device

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """Whose share of the data this process trains on."""
        return {"num_replicas": self.world_size, "rank": self.global_rank}


def with_ddp(trainer_kwargs: Mapping[str, Any], n_workers: int) -> dict[str, Any]:
    """Arguments of ``lightning.Trainer`` for one worker of a run.

    Args:
        trainer_kwargs: ``strategy``, if it is there, is ``"ddp"`` or
            ``"ddp_find_unused_parameters_true"``.
        n_workers: of the run.
    """
    plugins = trainer_kwargs.get("plugins") or []
    # DDP groups the gradients anew after the first step of a process, which changes the order in
    # which more than two of them are added: a resumed run would differ. Not so with this option
    # (torch 2.13, Reducer::should_rebuild_buckets).
    unused = n_workers > 2 or trainer_kwargs.get("strategy") == "ddp_find_unused_parameters_true"
    return {
        **trainer_kwargs,
        "devices": "auto",
        "strategy": WorkerStrategy(find_unused_parameters=unused),
        "plugins": [
            WorkerEnvironment(),
            *(plugins if isinstance(plugins, list) else [plugins]),
        ],
    }
