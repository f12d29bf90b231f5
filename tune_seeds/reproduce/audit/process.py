"""Traced runs in a process of their own; ``audit`` starts it with the hash seed it wants.

python -m tune_seeds.reproduce.audit.process JOB RESULT
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cloudpickle
from lightning import Trainer

from tune_seeds._compat.lightning_loops import FitLoop, train_loaders
from tune_seeds._compat.torch_loaders import ended_workers
from tune_seeds.core.process_variables import PROCESS_VARIABLES
from tune_seeds.reproduce.audit.seed_calls import noted
from tune_seeds.reproduce.audit.trace import Trace
from tune_seeds.reproduce.audit.tracer import Tracer, nondeterministic_ops
from tune_seeds.reproduce.subprocesses import ProcessFailedError, run_module
from tune_seeds.training.fit import as_list
from tune_seeds.training.launchers import alone, with_environment
from tune_seeds.training.lightning_trainer import LightningTrainer
from tune_seeds.training.seeding import reset_process, seed_run
from tune_seeds.training.steps import in_epochs


class AuditError(RuntimeError):
    """A run failed while it was traced; the message is the run's own error."""


def traced_in_process(
    jobs: Sequence[tuple[LightningTrainer, Mapping[str, Any], Sequence[int]]],
    hash_seed: int,
    *,
    n_epochs: int,
    n_batches: int,
) -> list[list[Trace]]:
    """Trace runs one after the other in a new process.

    Args:
        jobs: trainer, config, and the seeds to train it with, in this order.
        hash_seed: ``PYTHONHASHSEED`` of the process; it orders sets of strings.
        n_epochs: epochs of each run.
        n_batches: training batches of each epoch.

    Returns:
        For each job, one trace for each seed.

    Raises:
        AuditError: a run failed.
    """
    # Each trainable is a pickle of its own, as in a worker that gets one study's trainable.
    pickled = [(cloudpickle.dumps(job[0]), dict(job[1]), list(job[2])) for job in jobs]
    places = [os.path.abspath(place) for place in sys.path if os.path.isdir(place or ".")]
    variables = {**PROCESS_VARIABLES, "PYTHONHASHSEED": str(hash_seed)}
    job = pickle.dumps((places, pickled, n_epochs, n_batches))
    try:
        data = run_module("tune_seeds.reproduce.audit.process", job, variables)
    except ProcessFailedError as error:
        raise AuditError(f"the run can't be traced: {error}") from None
    return [[Trace.from_plain(trace) for trace in traces] for traces in data]


def traced(
    trainer: LightningTrainer,
    config: Mapping[str, Any],
    seed: int,
    *,
    n_epochs: int,
    n_batches: int,
) -> Trace:
    """Train a run for a few batches in this process and note what it computes."""
    trace = Trace()
    with alone(), noted(trace.seed_calls), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reset_process(trainer.threads)
        seed_run(seed)
        module, data, kwargs = trainer.build({**config, "seed": seed})
        tracer = Tracer(trace)
        with tempfile.TemporaryDirectory() as directory:
            limits: dict[str, Any] = {
                "accelerator": trainer.accelerator,
                "devices": 1,
                "default_root_dir": directory,
                "enable_checkpointing": False,
                **kwargs,
                "plugins": with_environment(kwargs.get("plugins")),
                **in_epochs(kwargs),
                "max_epochs": n_epochs,
                "limit_train_batches": n_batches,
                "limit_val_batches": 2,
                "log_every_n_steps": 1,
                # True would end the run at the first op without a deterministic kernel.
                "deterministic": "warn",
                "strategy": "auto",  # one worker shows what several would do
                "callbacks": [tracer, *as_list(kwargs.get("callbacks"))],
            }
            lightning_trainer = Trainer(**limits)
            _TracedFitLoop(lightning_trainer, tracer)
            with ended_workers():
                lightning_trainer.fit(module, **data)
    trace.nondeterministic_ops = nondeterministic_ops(caught)
    return trace


class _TracedFitLoop(FitLoop):
    """Shows the loaders to the tracer before they are first iterated."""

    def __init__(self, trainer: Trainer, tracer: Tracer) -> None:
        super().__init__(trainer)
        self._tracer = tracer

    def on_loaders_made(self) -> None:
        self._tracer.attach(train_loaders(self))


def main(job_file: str, result_file: str) -> None:
    """Trace the runs of a job file."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    places, jobs, n_epochs, n_batches = pickle.loads(Path(job_file).read_bytes())
    sys.path.extend(place for place in places if place not in sys.path)
    traces: list[list[dict[str, Any]]] = []
    for pickled, config, seeds in jobs:
        # Import and unpickling count too: what they draw, they draw before the seed is applied.
        trainer: LightningTrainer = cloudpickle.loads(pickled)
        runs = [traced(trainer, config, s, n_epochs=n_epochs, n_batches=n_batches) for s in seeds]
        traces.append([run.to_plain() for run in runs])
    Path(result_file).write_text(json.dumps(traces))


if __name__ == "__main__":
    main(*sys.argv[1:])
