"""Is a run the same bits however it was run? Prints a table: training x way -> identical or not.

The reference is a plain Lightning script: ``seed_everything``, ``Trainer(deterministic=True)``.
Every metric of every epoch and the final weights are compared, bit for bit.

    python experiments/benchmarks/exactness.py [--only TEXT] [--cpus 2]
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import functools
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import lightning
import ray
import torch
from benchmarks.exact_models import CASES, EPOCHS, Case, KillOnce
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from tune_seeds import LightningTrainer, SeedResults, SeedTuner
from tune_seeds.environment import fingerprint, start_environment
from tune_seeds.journal import JOURNAL
from tune_seeds.trainable import Plan

SEED = 881


@dataclass(frozen=True)
class Outcome:
    """What a run came to: metrics by epoch, and a hash of the final weights."""

    metrics: dict[int, dict[str, float]]
    weights: str

    def first_difference(self, other: Outcome) -> str | None:
        for epoch in sorted({*self.metrics, *other.metrics}):
            ours, theirs = self.metrics.get(epoch, {}), other.metrics.get(epoch, {})
            for name in sorted({*ours, *theirs}):
                if ours.get(name) != theirs.get(name):
                    return f"epoch {epoch} {name}: {ours.get(name)!r} != {theirs.get(name)!r}"
        return None if self.weights == other.weights else "final weights"


class Recorder(lightning.Callback):
    """The metrics of each epoch as a plain script sees them."""

    def __init__(self):
        self.metrics: dict[int, dict[str, float]] = {}
        self.validated: dict[str, int] = {}

    def on_validation_end(self, trainer, module):
        self.validated["val_loss"] = trainer.current_epoch + 1

    def on_train_epoch_end(self, trainer, module):
        epoch = trainer.current_epoch + 1
        if epoch <= EPOCHS:
            self.metrics[epoch] = {
                name: float(value)
                for name, value in trainer.callback_metrics.items()
                if self.validated.get(name, epoch) == epoch
            }


def plain(case: Case, seed: int = SEED) -> Outcome:
    """A Lightning script without this package."""
    torch.set_num_threads(1)
    lightning.seed_everything(seed, workers=True, verbose=False)
    module, data = (
        part(
            **{
                k: v
                for k, v in case.config.items()
                if (k in ("lr", "norm")) is (part is case.module)
            }
        )
        for part in (case.module, case.data)
    )
    kwargs = copy.deepcopy(case.trainer)
    recorder = Recorder()
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        deterministic=True,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{**kwargs, "callbacks": [*kwargs.pop("callbacks", []), recorder]},
    )
    trainer.fit(module, datamodule=data)
    return Outcome(recorder.metrics, fingerprint(dict(module.state_dict())))


def trainer_of(case: Case, *extra: lightning.Callback) -> LightningTrainer:
    kwargs = {"max_epochs": EPOCHS, **case.trainer}
    kwargs["callbacks"] = [*kwargs.get("callbacks", []), *extra]
    return LightningTrainer(case.module, case.data, trainer_kwargs=kwargs)


class _Paused(BaseException):
    pass


def retrained(case: Case, pauses: tuple[int, ...], seed: int = SEED) -> Outcome:
    """Our own training in this process, torn down and resumed at each of ``pauses``."""
    trainer = trainer_of(case)
    plan = Plan(frozenset(pauses), EPOCHS)
    metrics: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:

        def report(
            reported: dict[str, float],
            save: Callable[[Path], None] | None,
            fingerprints: Mapping[str, str],
        ) -> None:
            epoch = int(reported["epoch"])
            metrics[epoch] = {k: v for k, v in reported.items() if k != "epoch"}
            if save is not None:
                directory = Path(folder) / str(epoch)
                directory.mkdir()
                save(directory)
                if epoch < EPOCHS:
                    raise _Paused(directory)

        checkpoint = None
        while True:
            try:
                config = {**case.config, "seed": seed}
                fitted = trainer.retrain(config, plan, report, checkpoint)
            except _Paused as pause:
                checkpoint = pause.args[0]
                torch.rand(17)  # another run uses the process in between
                continue
            return Outcome(metrics, fingerprint(dict(fitted.lightning_module.state_dict())))


def with_lr(case: Case, lr: float) -> Case:
    return dataclasses.replace(case, config={**case.config, "lr": lr})


@functools.cache
def reference(name: str, lr: float, seed: int) -> Outcome:
    return plain(with_lr(CASES[name], lr), seed)


def study(
    name: str,
    storage: str,
    *,
    lrs: tuple[float, ...] = (0.05, 0.02),
    seeds: tuple[int, ...] = (SEED, 47),
    trainer: LightningTrainer | None = None,
    **kwargs: Any,
) -> SeedTuner:
    """Every config on every seed, paused at every rung."""
    return SeedTuner(
        trainer or trainer_of(CASES[name]),
        seeds=seeds,
        seeds_per_rung="all",
        param_space={**CASES[name].config, "lr": tune.grid_search(list(lrs))},
        tune_config=tune.TuneConfig(
            metric="train_loss",
            mode="min",
            scheduler=ASHAScheduler(max_t=EPOCHS, reduction_factor=2),
        ),
        run_config=tune.RunConfig(
            name="exactness",
            storage_path=storage,
            failure_config=tune.FailureConfig(max_failures=2),
        ),
        n_finalists=len(lrs),
        **kwargs,
    )


def outcomes(results: SeedResults) -> Iterator[tuple[float, int, Outcome]]:
    """Learning rate, seed and outcome of every run of a study that was trained to its end."""
    for key, run in results.ledger.items():
        if run.last_epoch < EPOCHS:
            raise RuntimeError(f"{key} stopped at epoch {run.last_epoch}: {run.error}\n{results}")
        file = Path(results.path) / run.checkpoints[EPOCHS] / "checkpoint.ckpt"
        weights = torch.load(file, weights_only=False)["state_dict"]
        ignored = ("epoch", "training_iteration", "time_total_s")
        metrics = {
            epoch: {k: v for k, v in values.items() if k not in ignored}
            for epoch, values in run.reports.items()
        }
        yield (
            results.ledger.configs[key.group]["lr"],
            key.seed,
            Outcome(metrics, fingerprint(weights)),
        )


def compare(name: str, results: SeedResults) -> str:
    """``identical``, or the first difference of any of its runs."""
    for lr, seed, outcome in outcomes(results):
        difference = reference(name, lr, seed).first_difference(outcome)
        if difference is not None:
            return f"lr {lr} seed {seed}: {difference}"
    return "identical"


def resumed(name: str, storage: str) -> str:
    ours = retrained(with_lr(CASES[name], 0.05), tuple(range(1, EPOCHS)))
    return reference(name, 0.05, SEED).first_difference(ours) or "identical"


def alone(name: str, storage: str) -> str:
    one = study(name, storage, lrs=(0.05,), seeds=(SEED,), reuse_actors=False)
    return compare(name, one.fit())


def in_pool(name: str, storage: str) -> str:
    return compare(name, study(name, storage).fit())


def other_order(name: str, storage: str) -> str:
    """Configs and seeds the other way round; runs so wide that only one fits at a time."""
    case = CASES[name]
    narrow = LightningTrainer(
        case.module,
        case.data,
        trainer_kwargs={"max_epochs": EPOCHS, **case.trainer},
        cpus=ray.cluster_resources()["CPU"] / 2 + 0.5,
    )
    if narrow.threads > 1:
        return "needs a Ray of at most 2 CPUs: more threads are another kind of run"
    reverse = study(name, storage, lrs=(0.02, 0.05), seeds=(47, SEED), trainer=narrow)
    return compare(name, reverse.fit())


def worker_killed(name: str, storage: str) -> str:
    """SIGKILL before the first checkpoint of one run, and between later ones of another."""
    kills = [KillOnce(f"{storage}/killed{epoch}", epoch) for epoch in (0, 4)]
    results = study(name, storage, trainer=trainer_of(CASES[name], *kills)).fit()
    if not all(os.path.exists(kill.flag) for kill in kills):
        return "nobody was killed"
    return compare(name, results)


def driver_killed(name: str, storage: str) -> str:
    """SIGKILL of the process that runs the study, and SeedTuner.restore in this one."""
    address = ray.get_runtime_context().gcs_address if ray.is_initialized() else ""
    process = subprocess.Popen(
        [sys.executable, __file__, "--drive", name, storage],
        env={**os.environ, "RAY_ADDRESS": address} if address else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    journal = Path(storage, "exactness", JOURNAL)
    deadline = time.monotonic() + 180
    # Two groups, four trials and their first reports: all are under way, none is done.
    while not journal.exists() or journal.read_bytes().count(b'"Reported"') < 6:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(process.communicate()[0])
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    path = str(journal.parent)
    return compare(name, SeedTuner.restore(path, trainer_of(CASES[name])).fit())


WAYS: dict[str, Callable[[str, str], str]] = {
    "resumed at every epoch": resumed,
    "alone in Ray": alone,
    "in a pool, paused": in_pool,
    "one slot, other order": other_order,
    "worker killed": worker_killed,
    "driver killed": driver_killed,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="trainings whose name holds this text")
    parser.add_argument("--cpus", type=int, default=2, help="slots of the pool")
    parser.add_argument("--drive", nargs=2, metavar=("NAME", "STORAGE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    folders = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    if arguments.drive:
        study(*arguments.drive).fit()
        return 0
    start_environment()
    ray.init(num_cpus=arguments.cpus, include_dashboard=False, log_to_driver=False)
    different = 0
    for name in (name for name in CASES if arguments.only in name):
        for way, run in WAYS.items():
            with tempfile.TemporaryDirectory() as storage:
                verdict = run(name, storage)
            different += verdict != "identical"
            print(f"| {name} | {way} | {verdict} |", flush=True)
    print(f"{different} differ")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
