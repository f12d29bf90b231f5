"""The command line: look at experiments, report on them, and train their best on fresh seeds."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any

import pyarrow.fs
from ray.train._internal.storage import get_fs_and_path

from tune_seeds import verify
from tune_seeds.auditing import command as audit
from tune_seeds.journal import HEADER, exists
from tune_seeds.location import joined, split
from tune_seeds.results import NoCompleteGroupError, SeedResults
from tune_seeds.tables import number

_EXAMPLES = """\
examples:
  tune-seeds list ~/ray_results
  tune-seeds show ~/ray_results/cifar
  tune-seeds best s3://bucket/results/cifar | jq .config
  tune-seeds report ~/ray_results/cifar -o report.html
  tune-seeds report ~/ray_results/cifar -o ranking.tex
  tune-seeds confirm ~/ray_results/cifar --seeds 5 --top 3

An experiment is a directory, local or any URI that Ray takes: storage_path/name. Nothing in it is
unpickled, but by confirm, verify and audit, which train: use those on your own only.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0 done, 1 no config is finished, so there is no answer, 2 can't be done.
    """
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.func(parsed) or 0)
    except BrokenPipeError:
        # The reader has left, as `head` does; Python would complain when it flushes at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except NoCompleteGroupError as error:
        print(f"tune-seeds: {error}", file=sys.stderr)
        return 1
    except (OSError, ValueError, ImportError) as error:  # a storage's own errors are OSErrors
        print(f"tune-seeds: {error}", file=sys.stderr)
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
    command.set_defaults(func=_list)

    command = commands.add_parser("show", help="every config of an experiment, best first")
    command.add_argument("experiment", help="storage_path/name")
    command.set_defaults(func=_show)

    command = commands.add_parser("best", help="the best config and its scores, as JSON")
    command.add_argument("experiment", help="storage_path/name")
    command.set_defaults(func=_best)

    command = commands.add_parser("report", help="one file to look at, or the ranking as a table")
    command.add_argument("experiment", help="storage_path/name")
    command.add_argument(
        "-o", "--output", default=None, help=".html, .md or .tex; default: NAME.html"
    )
    command.set_defaults(func=_report)

    command = commands.add_parser(
        "confirm",
        help="train the best configs on fresh seeds",
        description="Trains the best configs on seeds that the search did not use, in the same "
        "experiment. It unpickles what the study trained, which runs code, unless --trainable "
        "names it; use it on your own experiments only.",
    )
    command.add_argument("experiment", help="storage_path/name")
    command.add_argument(
        "--seeds", nargs="+", type=int, default=[5], metavar="N", help="how many, or which"
    )
    command.add_argument("--top", type=int, default=3, help="how many configs (%(default)s)")
    command.add_argument(
        "--trainable", default=None, metavar="MODULE:NAME", help="what the study trained"
    )
    command.set_defaults(func=_confirm)

    verify.add_parser(commands)
    audit.add_parser(commands)
    return parser


def _list(arguments: argparse.Namespace) -> None:
    storage = _location(arguments.storage)
    rows = [_overview(joined(storage, name), name) for name in _experiments(storage)]
    if not rows:
        print(f"no experiment of tune-seeds in {storage}")
        return
    header = ("name", "metric", "configs", "finished", "failed", "best", "score")
    # One that can't be read has a name and the reason, which may be long.
    whole = [row for row in (header, *rows) if len(row) == len(header)]
    widths = [max(len(row[k]) for row in whole) for k in range(len(header))]
    widths[0] = max(len(row[0]) for row in (header, *rows))
    for row in (header, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        print("  ".join(cells).rstrip())


def _experiments(storage: str) -> Iterator[str]:
    fs, path = get_fs_and_path(storage)
    if not exists(fs, path):
        raise FileNotFoundError(f"there is no {storage}")
    for info in fs.get_file_info(pyarrow.fs.FileSelector(path)):
        if info.type == pyarrow.fs.FileType.Directory and exists(fs, f"{info.path}/{HEADER}"):
            yield PurePosixPath(info.path).name


def _overview(path: str, name: str) -> tuple[str, ...]:
    try:
        results = SeedResults(path)
    except Exception as error:  # one that can't be read must not hide the others
        return (name, f"can't be read: {error}")
    states = list(results.groups["state"]) if results.race.groups else []
    found = ("-", "-")
    if results.leader is not None:
        found = (results.leader, number(results.best.score))
    counts = (len(states), states.count("complete"), states.count("failed"))
    return (name, f"{results.header.metric} ({results.header.mode})", *map(str, counts), *found)


def _show(arguments: argparse.Namespace) -> None:
    print(_open(arguments))


def _best(arguments: argparse.Namespace) -> None:
    results = _open(arguments)
    best = results.best
    low, high = best.interval
    found = {
        "group": best.group,
        "config": best.config,
        "score": _defined(best.score),
        "mean": _defined(best.mean),
        "std": _defined(best.std),
        "interval": [_defined(low), _defined(high)],
        "scores": best.scores,
        "checkpoints": {
            seed: None if checkpoint is None else checkpoint.path
            for seed, checkpoint in best.checkpoints.items()
        },
        "complete": best.complete,
        "study": str(results.completeness),
    }
    print(json.dumps(found, indent=2, allow_nan=False, default=str))


def _report(arguments: argparse.Namespace) -> None:
    results = _open(arguments)
    print(results.report(arguments.output or f"{split(results.path)[1]}.html"))


def _confirm(arguments: argparse.Namespace) -> None:
    seeds: list[int] = arguments.seeds
    trainable = None if arguments.trainable is None else _named(arguments.trainable)
    results = _open(arguments).confirm(
        seeds[0] if len(seeds) == 1 else seeds, arguments.top, trainable
    )
    print(results)


def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    if not attribute:
        raise ValueError(f"--trainable takes MODULE:NAME, got {name!r}")
    sys.path.insert(0, os.getcwd())
    return getattr(importlib.import_module(module), attribute)


def _open(arguments: argparse.Namespace) -> SeedResults:
    return SeedResults(_location(arguments.experiment))


def _location(text: str) -> str:
    return text if "://" in text else os.path.abspath(os.path.expanduser(text))


def _defined(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


if __name__ == "__main__":
    sys.exit(main())
