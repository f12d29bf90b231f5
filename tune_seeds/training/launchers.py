"""Runs of one process, in an environment in which SLURM, MPI or torchrun has left its variables.

Ray's processes inherit the environment of whatever started them: ``srun ray start`` on each node of
a job, a notebook inside an allocation, a shell of an earlier ``torchrun``. Lightning and others
take such variables for their own: a run would wait for the other tasks of the job, take itself for
rank 3 and log nothing, seed its loaders' workers as those of that rank, or resume a checkpoint that
SLURM's requeueing has left.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

_VARIABLES = re.compile(
    r"(RANK|WORLD_SIZE|MASTER_(ADDR|PORT)"  # torch.distributed
    r"|(LOCAL|GROUP|ROLE|NODE)_(RANK|WORLD_SIZE)|ROLE_NAME|TORCHELASTIC_\w+"  # torchrun
    r"|SLURM_(NTASKS\w*|NPROCS|PROCID|LOCALID|NODEID|NNODES|NODELIST|JOB_NODELIST|JOB_NUM_NODES"
    r"|TASKS_PER_NODE|STEP_\w+|JOB_ID|JOBID|JOB_NAME|ARRAY_\w+|GTIDS|TASK_PID|LAUNCH_NODE_IPADDR"
    r"|SRUN_\w+)"
    r"|OMPI_\w+|PMI_\w+|PMIX_\w+|MPI_\w+|MPIEXEC_\w+|HYDRA_\w+|I_MPI_\w+|MV2_COMM_\w+"  # MPI
    r"|JSM_\w+|LSB_\w+|XRT_\w+|KUBERNETES_\w+_RANK|JOB_COMPLETION_INDEX)"  # LSF, XLA, Kubernetes
)


# Of lightning and of pytorch_lightning alike.
_RANKED = "lightning_utilities.core.rank_zero"


def is_of_a_launcher(variable: str) -> bool:
    """Whether a variable of the environment says which of several processes this one is."""
    return _VARIABLES.fullmatch(variable) is not None


@contextmanager
def alone() -> Generator[None]:
    """Let a run be the only process there is, whatever the environment says.

    Set back at the end: in a user's own process they are not ours.
    """
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if is_of_a_launcher(name)}
    # Lightning sets it from the environment when it is imported, which may be before this; where it
    # is not, importing it here would cost a plain function seconds.
    ranked: Any = getattr(sys.modules.get(_RANKED), "rank_zero_only", None)
    rank = getattr(ranked, "rank", None)
    if ranked is not None:
        ranked.rank = 0
    try:
        yield
    finally:
        if ranked is not None:
            ranked.rank = rank
        os.environ.update(hidden)


def with_environment(plugins: Any) -> list[Any]:
    """The trainer's plugins of a run of one process.

    MPI would be looked for by starting it, which waits for the other processes of the job.

    Args:
        plugins: given by the user, one or several or None.
    """
    from lightning.fabric.plugins.environments import ClusterEnvironment, LightningEnvironment

    given = list(plugins) if isinstance(plugins, Iterable) and not isinstance(plugins, str) else []
    if not given and plugins:
        given = [plugins]
    if any(isinstance(plugin, ClusterEnvironment) for plugin in given):
        return given
    return [*given, LightningEnvironment()]
