"""Runs on several DDP workers; each start of workers takes seconds, so few runs show much."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import lightning
import psutil
import pytest
import ray
import tiny
from benchmarks import exact_runs, exactness
from benchmarks.exact_models import CASES, KillOnce
from ray.util.placement_group import placement_group, remove_placement_group

from tune_seeds import LightningTrainer
from tune_seeds.training.ddp.worker import Host, ranks_of, with_ddp

NAME = "DDP, 2 workers, everything at once"


class KillTrialOnce(lightning.Callback):
    """SIGKILLs the process of the trial that waits for this worker, the first time."""

    def __init__(self, flag: str, epoch: int):
        self.flag = flag
        self.epoch = epoch

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index):
        if trainer.current_epoch == self.epoch and trainer.global_rank == 0:
            try:
                flag = os.open(self.flag, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                return
            children = psutil.Process().parent().children()
            trials = [child for child in children if "ImplicitFunc.train" in child.cmdline()[0]]
            os.write(flag, str(len(trials)).encode())
            for trial in trials:
                trial.send_signal(signal.SIGKILL)


class NoteProcess(lightning.Callback):
    """Writes down which process trains, at each start and each resume of a run."""

    def __init__(self, file: str):
        self.file = file

    def on_fit_start(self, trainer, module):
        with open(self.file, "a") as file:
            file.write(f"{trainer.global_rank} {os.getpid()}\n")


def with_callbacks(*callbacks: lightning.Callback, cpus: float = 0.5) -> LightningTrainer:
    """The training of two workers, and something beside it."""
    kwargs = {
        **CASES[NAME].trainer,
        "max_epochs": exactness.EPOCHS,
        "callbacks": [*CASES[NAME].trainer["callbacks"], *callbacks],
    }
    return LightningTrainer(
        CASES[NAME].module, CASES[NAME].data, trainer_kwargs=kwargs, cpus=cpus, num_workers=2
    )


@pytest.mark.versions
@pytest.mark.usefixtures("ray_session")
def test_two_runs_of_two_workers_are_plain_ddp_scripts(tmp_path: Path):
    """Somebody else takes half of the CPUs: a run can start when the paused one lets go of them."""
    other = placement_group([{"CPU": 1}])
    ray.get(other.ready())
    try:
        noted = with_callbacks(NoteProcess(str(tmp_path / "processes")))
        results = exactness.study(NAME, str(tmp_path), trainer=noted).fit()
    finally:
        remove_placement_group(other)
    assert len(list(exact_runs.outcomes(results))) == 2
    assert exactness.compare(NAME, results) == "identical"
    for run in results.ledger.values():
        assert run.environment is not None
        assert run.environment["workers"] == 2
        assert run.environment["threads"] == 1
        assert len(run.environment["initial_weights"]) == 32
    assert not results.environment_differences
    started = (tmp_path / "processes").read_text().splitlines()
    assert len(started) > 2 * 2, "runs were paused, or there were several"
    assert len(set(started)) == 2, "each rank keeps its process, from run to run"


@pytest.mark.usefixtures("ray_session")
@pytest.mark.timeout(600)
def test_a_killed_worker_and_a_killed_trial_are_retried(tmp_path: Path):
    """Workers of a killed trial hold every CPU of this Ray until their places are given back."""
    kills = [KillOnce(str(tmp_path / "worker"), 0), KillTrialOnce(str(tmp_path / "trial"), 3)]
    whole = with_callbacks(*kills, cpus=1)
    tuner = exactness.study(NAME, str(tmp_path), seeds=(exact_runs.SEED,), trainer=whole)
    results = tuner.fit()
    assert os.path.exists(kills[0].flag)
    assert Path(kills[1].flag).read_text() == "1"
    assert exactness.compare(NAME, results) == "identical"


def test_more_than_two_workers_keep_the_order_in_which_gradients_are_added():
    def looks(strategy: str, n_workers: int) -> bool:
        arguments = with_ddp({"strategy": strategy}, n_workers)
        return arguments["strategy"]._ddp_kwargs["find_unused_parameters"]

    assert [looks("ddp", n) for n in (2, 3, 8)] == [False, True, True]
    assert looks("ddp_find_unused_parameters_true", 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_workers": 0}, "at least 1, got 0"),
        ({"num_workers": 1.5}, "whole number"),
        ({"num_workers": 2, "gpus": 0.5}, "DDP needs a GPU for each worker"),
        ({"num_workers": 2, "trainer_kwargs": {"strategy": "fsdp"}}, "must be one of 'ddp'"),
        ({"trainer_kwargs": {"strategy": "ddp"}}, "give num_workers"),
        ({"num_workers": 2, "trainer_kwargs": {"devices": 2}}, "give num_workers"),
    ],
)
def test_arguments_that_contradict(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        LightningTrainer(tiny.TinyModule, tiny.TinyData, **arguments)


def hosts(*workers: str) -> list[Host]:
    """Workers by their node and, behind a colon, their GPU: ``"a:3"``."""
    parts = [worker.partition(":") for worker in workers]
    return [Host(node, f"10.0.0.{node}", (gpu,) if gpu else ()) for node, _, gpu in parts]


def test_ranks_go_from_node_to_node_and_see_the_gpus_beside_them():
    ranks = ranks_of(hosts("a:3", "b:0", "a:1", "c:7"))
    assert [rank.rank for rank in ranks] == [0, 2, 1, 3]
    assert [(rank.node_rank, rank.local_rank) for rank in ranks] == [(0, 0), (1, 0), (0, 1), (2, 0)]
    assert [rank.local_world_size for rank in ranks] == [2, 1, 2, 1]
    assert [rank.variables["CUDA_VISIBLE_DEVICES"] for rank in ranks] == ["3,1", "0", "3,1", "7"]
    assert [str(rank.device) for rank in ranks] == ["cuda:0", "cuda:0", "cuda:1", "cuda:0"]


def test_ranks_without_gpus_leave_what_is_visible_alone():
    for k, rank in enumerate(ranks_of(hosts("a", "a"))):
        assert str(rank.device) == "cpu"
        assert rank.variables == {
            "RANK": str(k),
            "WORLD_SIZE": "2",
            "LOCAL_RANK": str(k),
            "LOCAL_WORLD_SIZE": "2",
            "NODE_RANK": "0",
        }
