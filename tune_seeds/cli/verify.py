"""``tune-seeds verify``: train recorded runs again, and compare every metric bit for bit."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

IDENTICAL, DIFFERENT, NOT_RUN = 0, 1, 2


def add_parser(subparsers: Any) -> None:
    """Add ``verify`` to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "verify",
        help="train recorded runs again and compare every metric bit for bit",
        description=(
            "Trains recorded runs again, each in a new process and outside of Tune, and compares "
            "every recorded metric bit for bit. Exit status: 0 identical, 1 different, 2 can't be "
            "run. Use it on your own experiments only: it unpickles the trainable, which runs code."
        ),
    )
    parser.add_argument("experiment", help="directory of the experiment")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--group", default=None, help="a group, or 'best' (default): all its runs")
    which.add_argument("--run", default=None, metavar="ID", help="a trial id, or GROUP/SEED")
    parser.set_defaults(func=_command)


def _command(arguments: argparse.Namespace) -> int:
    from tune_seeds.reproduce.verify import CannotVerifyError, Verdict, select, verify
    from tune_seeds.results import SeedResults

    path = os.path.expanduser(arguments.experiment)
    try:
        keys = select(SeedResults(path), arguments.group, arguments.run)
        verdicts: list[Verdict] = []
        for key in keys:
            verdicts.append(verify(path, key))
            print(verdicts[-1], flush=True)
    except (CannotVerifyError, OSError, ValueError) as error:
        print(f"tune-seeds: {error}", file=sys.stderr)
        return NOT_RUN
    different = any(verdict.difference is not None for verdict in verdicts)
    return DIFFERENT if different else IDENTICAL
