# pyright: basic, reportArgumentType=false
"""Is a run the same bits however it was run? Prints a table: training x way -> identical or not.

The reference is a plain Lightning script: ``seed_everything``, ``Trainer(deterministic=True)``.
Every metric of every epoch and the final weights are compared, bit for bit.

    python experiments/benchmarks/exactness.py [--only TEXT] [--states] [--ways TEXT] [--cpus 2]
    python experiments/benchmarks/exactness.py --together [--states]  # all in one study: faster
    python experiments/benchmarks/exactness.py --across [--states]  # no Ray: over two processes
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import ray
from benchmarks.exact_models import EPOCHS, KillOnce
from benchmarks.exact_reports import REPORTS
from benchmarks.exact_runs import (
    CASES,
    SEED,
    OneOfMany,
    outcomes,
    reference,
    retrained,
    trainer_of,
    with_lr,
)
from benchmarks.exact_states import LARGE_STATES, STATES
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from tune_seeds import LightningTrainer, SeedResults, SeedTuner
from tune_seeds.core.process_variables import start_environment
from tune_seeds.reproduce.audit.pauses import paused_in_processes
from tune_seeds.store.journal import JOURNAL


def study(
    name: str,
    storage: str,
    *,
    lrs: tuple[float, ...] | None = None,
    seeds: tuple[int, ...] = (SEED, 47),
    trainer: LightningTrainer | None = None,
    max_concurrent_trials: int | None = None,
    **kwargs: Any,
) -> SeedTuner:
    """Every config on every seed, paused at every rung."""
    # Each pause of several workers costs the start of new ones: fewer configs, fewer rungs.
    several = CASES[name].workers > 1
    lrs = lrs or ((0.05,) if several else (0.05, 0.02))
    rungs = {"grace_period": 2, "reduction_factor": 3} if several else {"reduction_factor": 2}
    # A rung needs a validated epoch.
    rungs["grace_period"] = CASES[name].trainer.get(
        "check_val_every_n_epoch", rungs.get("grace_period", 1)
    )
    return SeedTuner(
        trainer or trainer_of(CASES[name]),
        seeds=seeds,
        seeds_per_rung="all",
        param_space={**CASES[name].config, "lr": tune.grid_search(list(lrs))},
        tune_config=tune.TuneConfig(
            metric="train_loss",
            mode="min",
            scheduler=ASHAScheduler(max_t=EPOCHS, **rungs),
            max_concurrent_trials=max_concurrent_trials,
        ),
        run_config=tune.RunConfig(
            name="exactness",
            storage_path=storage,
            failure_config=tune.FailureConfig(max_failures=2),
        ),
        n_finalists=len(lrs),
        **kwargs,
    )


def compare(name: str, results: SeedResults) -> str:
    """``identical``, or the first difference of any of its runs."""
    for key, outcome in outcomes(results):
        lr = results.ledger.configs[key.group]["lr"]
        difference = reference(name, lr, key.seed).first_difference(outcome)
        if difference is not None:
            return f"lr {lr} seed {key.seed}: {difference}"
    return _with_restarts(list(results.restarts.values()))


def _with_restarts(restarts: list[tuple[int, str]]) -> str:
    if not restarts:
        return "identical"
    return f"identical; said, trained from their beginning: {len(restarts)} ({restarts[0][1]})"


def resumed(name: str, storage: str) -> str:
    if CASES[name].workers > 1:
        return "paused in Ray only"
    ours = retrained(with_lr(CASES[name], 0.05), tuple(range(1, EPOCHS)))
    difference = reference(name, 0.05, SEED).first_difference(ours)
    if difference is None and ours.said:
        return f"said, trained from its beginning: {ours.said}"
    return difference or "identical"


def alone(name: str, storage: str) -> str:
    one = study(name, storage, lrs=(0.05,), seeds=(SEED,), reuse_actors=False)
    return compare(name, one.fit())


def in_pool(name: str, storage: str) -> str:
    return compare(name, study(name, storage).fit())


def other_order(name: str, storage: str) -> str:
    """Configs and seeds the other way round, and one run at a time."""
    lrs = None if CASES[name].workers > 1 else (0.02, 0.05)
    reverse = study(name, storage, lrs=lrs, seeds=(47, SEED), max_concurrent_trials=1)
    return compare(name, reverse.fit())


def worker_killed(name: str, storage: str) -> str:
    """SIGKILL before the first checkpoint of one run, and between later ones of another."""
    kills = [KillOnce(f"{storage}/killed{epoch}", epoch) for epoch in (0, 4)]
    seeds = (SEED,) if CASES[name].workers > 1 else (SEED, 47)
    results = study(name, storage, seeds=seeds, trainer=trainer_of(CASES[name], *kills)).fit()
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
    deadline = time.monotonic() + 600
    # Two groups, four trials and their first reports: all are under way, none is done.
    enough = 1 if CASES[name].workers > 1 else 6
    while not journal.exists() or journal.read_bytes().count(b'"Reported"') < enough:
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


def together(storage: str, names: list[str], *, flags: str | None = None, **kwargs: Any):
    """One study of many cases, each a config: their runs take turns in the same processes."""
    options = {"seeds": (SEED, 47), "max_concurrent_trials": None, **kwargs}
    return SeedTuner(
        OneOfMany(flags),
        seeds=options.pop("seeds"),
        seeds_per_rung="all",
        param_space={"case": tune.grid_search(names), "lr": 0.05},
        tune_config=tune.TuneConfig(
            metric="train_loss",
            mode="min",
            scheduler=ASHAScheduler(max_t=EPOCHS, reduction_factor=2),
            max_concurrent_trials=options.pop("max_concurrent_trials"),
        ),
        run_config=tune.RunConfig(
            name="exactness",
            storage_path=storage,
            failure_config=tune.FailureConfig(max_failures=2),
        ),
        n_finalists=len(names),
        **options,
    )


def verdicts(results: SeedResults) -> dict[str, str]:
    """Case → ``identical``, what was said, or the first difference of any of its runs."""
    found: dict[str, str] = {}
    for key, outcome in outcomes(results):
        case = results.ledger.configs[key.group]["case"]
        difference = reference(case, 0.05, key.seed).first_difference(outcome)
        if difference is not None:
            found.setdefault(case, f"seed {key.seed}: {difference}")
    for group, config in results.ledger.configs.items():
        again = [told for key, told in results.restarts.items() if key.group == group]
        found.setdefault(config["case"], _with_restarts(again))
    return found


def _pool_of(storage: str, names: list[str]) -> SeedResults:
    return together(storage, names).fit()


def _one_slot_of(storage: str, names: list[str]) -> SeedResults:
    study = together(storage, names[::-1], seeds=(47, SEED), max_concurrent_trials=1)
    return study.fit()


def _killed_of(storage: str, names: list[str]) -> SeedResults:
    flags = os.path.join(storage, "flags")
    os.mkdir(flags)
    results = together(storage, names, flags=flags, seeds=(SEED,)).fit()
    if len(os.listdir(flags)) != len(names):
        raise RuntimeError(f"{len(os.listdir(flags))} of {len(names)} cases were killed")
    return results


def _new_processes_of(storage: str, names: list[str]) -> SeedResults:
    return together(storage, names, seeds=(SEED,), reuse_actors=False).fit()


WAYS_TOGETHER: dict[str, Callable[[str, list[str]], SeedResults]] = {
    "mixed in a pool, paused": _pool_of,
    "mixed on one slot, other order": _one_slot_of,
    "mixed, each killed once": _killed_of,
    "a new process after each pause": _new_processes_of,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="trainings whose name holds this text")
    parser.add_argument("--states", action="store_true", help="kinds of state and reports alone")
    parser.add_argument("--together", action="store_true", help="all of one process in one study")
    parser.add_argument("--across", action="store_true", help="pause into another process")
    parser.add_argument("--ways", default="", help="ways whose name holds this text")
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
    cases = {**STATES, **REPORTS, **LARGE_STATES} if arguments.states else CASES
    if arguments.across:
        names = [n for n in cases if arguments.only in n and CASES[n].workers == 1]
        return _print_across(names)
    if arguments.together:
        names = [n for n in cases if arguments.only in n and CASES[n].workers == 1]
        return _print_together(names, arguments.ways)
    for name in (name for name in cases if arguments.only in name):
        for way, run in WAYS.items():
            if arguments.ways not in way:
                continue
            with tempfile.TemporaryDirectory() as storage:
                verdict = run(name, storage)
            different += not verdict.startswith(("identical", "paused in Ray only", "said"))
            print(f"| {name} | {way} | {verdict} |", flush=True)
    print(f"{different} differ")
    return int(different > 0)


def _print_across(names: list[str]) -> int:
    """Every attribute of a run after each epoch: trained in one go, and paused after each."""
    different = 0
    for first in range(0, len(names), 12):
        part = names[first : first + 12]
        jobs = [(trainer_of(CASES[n]), {**CASES[n].config, "lr": 0.05}, SEED) for n in part]
        for name, found in zip(
            part, paused_in_processes(jobs, n_epochs=4, n_batches=4), strict=True
        ):
            lost, difference = found.paused.lost, found.first_difference()
            verdict = f"said: {'; '.join(lost)}" if lost else "identical"
            if found.paused.error or difference is not None:
                verdict = found.paused.error or str(difference)
                different += 1
            print(f"| {name} | {verdict} |", flush=True)
    print(f"{different} differ")
    return int(different > 0)


def _print_together(names: list[str], ways: str) -> int:
    different = 0
    for way, run in WAYS_TOGETHER.items():
        if ways not in way:
            continue
        with tempfile.TemporaryDirectory() as storage:
            found = verdicts(run(storage, names))
        for name in names:
            different += not found[name].startswith("identical")
            print(f"| {name} | {way} | {found[name]} |", flush=True)
    print(f"{different} differ")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
