"""What SLURM, MPI and torchrun leave in the environment does not reach a run of one process."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from lightning.fabric.plugins.environments import LightningEnvironment, SLURMEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from torch.utils.data import DataLoader, Dataset

from tune_seeds import LightningTrainer
from tune_seeds.training.launchers import alone, is_of_a_launcher, with_environment
from tune_seeds.training.trainable import Plan

LAUNCHERS: dict[str, dict[str, str]] = {
    "srun --ntasks=4": {
        "SLURM_NTASKS": "4",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "3",
        "SLURM_NODEID": "1",
        "SLURM_JOB_ID": "77",
        "SLURM_JOB_NAME": "study",
        "SLURM_NODELIST": "node[1-2]",
    },
    "srun --ntasks-per-node=4": {
        "SLURM_NTASKS": "8",
        "SLURM_NTASKS_PER_NODE": "4",
        "SLURM_NNODES": "2",
        "SLURM_PROCID": "5",
        "SLURM_LOCALID": "1",
        "SLURM_JOB_ID": "77",
        "SLURM_JOB_NAME": "study",
    },
    "sbatch -n 4": {"SLURM_NTASKS": "4", "SLURM_NPROCS": "4", "SLURM_JOB_NAME": "study"},
    "salloc": {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "interactive", "SLURM_PROCID": "0"},
    "mpirun -n 4": {
        "OMPI_COMM_WORLD_SIZE": "4",
        "OMPI_COMM_WORLD_RANK": "2",
        "OMPI_COMM_WORLD_LOCAL_RANK": "2",
        "PMIX_RANK": "2",
    },
    "mpiexec.hydra": {"PMI_RANK": "2", "PMI_SIZE": "4", "MPI_LOCALRANKID": "2"},
    "torchrun": {
        "RANK": "3",
        "LOCAL_RANK": "3",
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "4",
        "GROUP_RANK": "0",
        "ROLE_RANK": "3",
        "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "29500",
        "TORCHELASTIC_RUN_ID": "none",
    },
    "jsrun": {
        "LSB_JOBID": "1",
        "LSB_DJOB_RANKFILE": "/no/such/file",
        "JSM_NAMESPACE_LOCAL_RANK": "1",
        "JSM_NAMESPACE_SIZE": "4",
        "JSM_NAMESPACE_RANK": "1",
    },
    "an own script": {"NODE_RANK": "1", "WORLD_SIZE": "2", "RANK": "1"},
}


class Noisy(Dataset):
    """Draws in the loader's workers, whose seeds depend on the rank."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.randn(3) + random.random() + np.random.rand()
        return x.float(), x.sum().float()


def loader() -> DataLoader[Any]:
    return DataLoader(Noisy(), batch_size=8, num_workers=1)


def trained() -> list[dict[str, float]]:
    reports: list[dict[str, float]] = []
    trainer = LightningTrainer(
        tiny.TinyModule, train_dataloaders=loader, trainer_kwargs={"max_epochs": 1}
    )
    plan = Plan(frozenset(), 1)
    trainer.retrain({"seed": 47}, plan, lambda metrics, save, prints: reports.append(metrics))
    return reports


@pytest.fixture(scope="module")
def without() -> Iterator[list[dict[str, float]]]:
    yield trained()


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_run_of_one_process_computes_the_same_under_every_launcher(
    launcher: str, without: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch
):
    for name, value in LAUNCHERS[launcher].items():
        monkeypatch.setenv(name, value)
    # As it is where Lightning was imported in such an environment.
    monkeypatch.setattr(rank_zero_only, "rank", 3)
    assert trained() == without and len(without) == 1
    for name, value in LAUNCHERS[launcher].items():
        assert os.environ[name] == value, "set back"
    assert rank_zero_only.rank == 3


def test_other_variables_stay(monkeypatch: pytest.MonkeyPatch):
    kept = ("SLURM_TMPDIR", "SLURM_CPUS_PER_TASK", "CUDA_VISIBLE_DEVICES", "RANKING", "MY_RANK")
    for name in kept:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("RANK", "1")
    with alone():
        assert "RANK" not in os.environ
        assert all(os.environ[name] == "1" for name in kept)
        assert not any(is_of_a_launcher(name) for name in os.environ)
    assert os.environ["RANK"] == "1"


def test_a_users_own_environment_plugin_is_kept():
    own = SLURMEnvironment(auto_requeue=False)
    other = object()
    assert with_environment(own) == [own] and with_environment([other, own]) == [other, own]
    for given in (None, [], other, (other,)):
        *kept, last = with_environment(given)
        assert isinstance(last, LightningEnvironment) and kept == ([other] if given else [])
