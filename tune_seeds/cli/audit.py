"""``tune-seeds audit``: audit the trainable of an experiment."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

SOUND, FAULTY, NOT_RUN = 0, 1, 2


def add_parser(subparsers: Any) -> None:
    """Add ``audit`` to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "audit",
        help="find where and why a run is not reproducible",
        description=(
            "Trains a recorded run several times for a few batches, each step watched, and names "
            "the first thing that differs, with its likely cause and a remedy; and the randomness "
            "that the seed does not reach. Exit status: 0 nothing found, 1 found, 2 can't be run. "
            "Use it on your own experiments only: it unpickles the trainable, which runs code."
        ),
    )
    parser.add_argument("experiment", help="directory of the experiment")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--group", default=None, help="a group, or 'best' (default): its first seed")
    which.add_argument("--run", default=None, metavar="ID", help="a trial id, or GROUP/SEED")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of each training (default 2)")
    parser.add_argument("--batches", type=int, default=4, help="batches of an epoch (default 4)")
    parser.set_defaults(func=_command)


def _command(arguments: argparse.Namespace) -> int:
    from tune_seeds.reproduce.audit import AuditError, audit
    from tune_seeds.reproduce.verify import CannotVerifyError, load_run, select
    from tune_seeds.results import SeedResults
    from tune_seeds.training.lightning_trainer import LightningTrainer

    path = os.path.expanduser(arguments.experiment)
    try:
        key = select(SeedResults(path), arguments.group, arguments.run)[0]
        trainable, config = load_run(path, key)
        owner = getattr(trainable.train, "__self__", None)
        if not isinstance(owner, LightningTrainer):
            raise CannotVerifyError(
                "the experiment trains a plain function, and audit watches Lightning runs only; "
                "`tune-seeds verify` tells whether its metrics are reproducible"
            )
        report = audit(
            owner, config, seed=key.seed, n_epochs=arguments.epochs, n_batches=arguments.batches
        )
    except (CannotVerifyError, AuditError, OSError, ValueError) as error:
        print(f"tune-seeds: {error}", file=sys.stderr)
        return NOT_RUN
    print(report)
    return FAULTY if report.findings else SOUND
