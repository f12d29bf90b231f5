"""The command line: look at experiments, report on them, and train their best on fresh seeds."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from tune_seeds.analysis.errors import NoCompleteGroupError, NothingToCompareError
from tune_seeds.cli import audit, verify
from tune_seeds.core.printable import printable
from tune_seeds.store.errors import StudyInUseError, StudyLostError

_EXAMPLES = """\
examples:
  tune-seeds list ~/ray_results
  tune-seeds show ~/ray_results/cifar
  tune-seeds best s3://bucket/results/cifar | jq .config
  tune-seeds best ~/ray_results/cifar --format lightning-cli > best.yaml
  tune-seeds compare ~/ray_results/cifar ~/ray_results/cifar-wide
  tune-seeds report ~/ray_results/cifar -o report.html
  tune-seeds dashboard ~/ray_results/cifar
  tune-seeds report ~/ray_results/cifar -o ranking.tex
  tune-seeds confirm ~/ray_results/cifar --num-seeds 5 --top 3

An experiment is a directory, local or any URI that Ray takes: storage_path/name. Nothing in it is
unpickled, but by confirm, verify and audit, which train, and by best --unpickle: use those on
your own only.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0 done, 1 no config is finished, so there is no answer, 2 can't be done.
    """
    parsed = _parser().parse_args(arguments)
    # Warnings of the package go to stderr too, and begin as errors do.
    logging.basicConfig(format="tune-seeds: %(message)s")
    try:
        return int(parsed.func(parsed) or 0)
    except BrokenPipeError:
        # The reader has left, as `head` does; Python would complain when it flushes at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except NoCompleteGroupError as error:
        print(printable(f"tune-seeds: {error}"), file=sys.stderr)
        return 1
    # A storage's own errors are OSErrors.
    except (
        OSError,
        ValueError,
        ImportError,
        NothingToCompareError,
        StudyInUseError,
        StudyLostError,
    ) as error:
        print(printable(f"tune-seeds: {error}"), file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tune-seeds",
        description="Look at studies of hyperparameters over fixed random seeds.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version("tune-seeds"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("list", help="the experiments in a storage path")
    command.add_argument("storage", nargs="?", default="~/ray_results", help="default: %(default)s")
    command.set_defaults(func=_command("experiments.list_"))

    command = commands.add_parser("show", help="every config of an experiment, best first")
    command.add_argument("experiment", help="storage_path/name")
    command.set_defaults(func=_command("experiments.show"))

    command = commands.add_parser("explain", help="an experiment in five sentences of plain words")
    command.add_argument("experiment", help="storage_path/name")
    command.set_defaults(func=_command("experiments.explain"))

    command = commands.add_parser(
        "best", help="the best config and its scores, as JSON, YAML or a LightningCLI config"
    )
    command.add_argument("experiment", help="storage_path/name")
    command.add_argument(
        "--format", choices=("json", "yaml", "lightning-cli"), default="json", help="%(default)s"
    )
    command.add_argument("--group", default=None, help="another config than the best: g0001")
    command.add_argument(
        "--seed", type=int, default=None, help="of the LightningCLI config; the study's first"
    )
    command.add_argument(
        "--unpickle",
        action="store_true",
        help="let a config hold its classes and functions; of your own experiments only",
    )
    command.set_defaults(func=_command("experiments.best"))

    command = commands.add_parser(
        "compare", help="the best configs of two studies on the same seeds: their difference"
    )
    command.add_argument("a", metavar="A", help="storage_path/name")
    command.add_argument("b", metavar="B", help="storage_path/name")
    command.add_argument("--level", type=float, default=0.95, help="of intervals (%(default)s)")
    command.set_defaults(func=_command("experiments.compare"))

    command = commands.add_parser("report", help="one file to look at, or the ranking as a table")
    command.add_argument("experiment", help="storage_path/name")
    command.add_argument(
        "-o", "--output", default=None, help=".html, .md or .tex; default: NAME.html"
    )
    command.set_defaults(func=_command("experiments.report"))

    command = commands.add_parser(
        "dashboard", help="the report as a page of this machine that follows the study"
    )
    command.add_argument("experiment", help="storage_path/name")
    command.add_argument("--port", type=int, default=0, help="default: one that is free")
    command.add_argument(
        "--every", type=int, default=10, metavar="S", help="seconds between looks (%(default)s)"
    )
    command.set_defaults(func=_command("experiments.dashboard"))

    command = commands.add_parser(
        "confirm",
        help="train the best configs on fresh seeds",
        description="Trains the best configs on seeds that the search did not use, in the same "
        "experiment. It unpickles what the study trained, which runs code, unless --trainable "
        "names it; use it on your own experiments only.",
    )
    command.add_argument("experiment", help="storage_path/name")
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--num-seeds", type=int, default=5, metavar="N", help="how many to draw (%(default)s)"
    )
    which.add_argument("--seeds", nargs="+", type=int, metavar="SEED", help="these")
    command.add_argument("--top", type=int, default=3, help="how many configs (%(default)s)")
    command.add_argument(
        "--trainable", default=None, metavar="MODULE:NAME", help="what the study trained"
    )
    command.set_defaults(func=_command("experiments.confirm"))

    command = commands.add_parser(
        "repair",
        help="write a whole journal where lines of it are damaged, and keep the old one beside it",
    )
    command.add_argument("experiment", help="storage_path/name")
    command.set_defaults(func=_command("experiments.repair"))

    verify.add_parser(commands)
    audit.add_parser(commands)
    return parser


def _command(name: str) -> Callable[[argparse.Namespace], Any]:
    """A command that is imported when it is called: what it reads with takes seconds to import."""

    def run(arguments: argparse.Namespace) -> Any:
        module, _, function = name.rpartition(".")
        return getattr(importlib.import_module(f"tune_seeds.cli.{module}"), function)(arguments)

    return run


if __name__ == "__main__":
    sys.exit(main())
