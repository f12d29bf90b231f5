"""``tune-seeds list``, ``show``, ``explain``, ``best``, ``report`` and ``confirm``."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from tune_seeds.core.printable import in_one_line
from tune_seeds.handover.lightning_cli import as_yaml
from tune_seeds.results import SeedResults
from tune_seeds.store.directory import ExperimentDir, full_location, joined, split
from tune_seeds.store.journal import read_lines
from tune_seeds.store.lease import Lease
from tune_seeds.store.rebuild.integrity import check_integrity
from tune_seeds.store.rebuild.race import new_race
from tune_seeds.store.rebuild.salvage import replace_journal, salvage
from tune_seeds.store.study_spec import HEADER, Header
from tune_seeds.views.tables import number


def list_(arguments: argparse.Namespace) -> None:
    """``tune-seeds list``."""
    storage = full_location(arguments.storage)
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
        cells = (in_one_line(cell).ljust(width) for cell, width in zip(row, widths, strict=False))
        print("  ".join(cells).rstrip())


def _experiments(storage: str) -> Iterator[str]:
    directory = ExperimentDir.at(storage)
    if not directory.exists():
        raise FileNotFoundError(f"there is no {storage}")
    for inner in directory.subdirectories():
        if inner.exists(HEADER):
            yield inner.name


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
    return (name, f"{results.header.measure} ({results.header.mode})", *map(str, counts), *found)


def show(arguments: argparse.Namespace) -> None:
    """``tune-seeds show``."""
    print(_open(arguments))


def explain(arguments: argparse.Namespace) -> None:
    """``tune-seeds explain``."""
    print(_open(arguments).explain())


def best(arguments: argparse.Namespace) -> None:
    """``tune-seeds best``."""
    results = SeedResults(full_location(arguments.experiment), unpickle=arguments.unpickle)
    if arguments.group not in (None, *results.race.groups):
        raise ValueError(
            f"the study has no group {arguments.group!r}; `tune-seeds show` lists them"
        )
    best = results.best if arguments.group is None else results.group(arguments.group)
    if arguments.format == "lightning-cli":
        print(best.to_lightning_cli(arguments.seed), end="")
        return
    if arguments.seed is not None:
        raise ValueError("--seed is of --format lightning-cli: the scores of all seeds are written")
    found = {**best.to_dict(), "study": str(results.completeness)}
    if arguments.format == "yaml":
        print(as_yaml(found, []), end="")
    else:
        print(json.dumps(found, indent=2, allow_nan=False))


def compare(arguments: argparse.Namespace) -> None:
    """``tune-seeds compare``."""
    one, other = (SeedResults(full_location(path)) for path in (arguments.a, arguments.b))
    print(one.compare(other, arguments.level))


def report(arguments: argparse.Namespace) -> None:
    """``tune-seeds report``."""
    results = _open(arguments)
    name = arguments.output or f"{split(results.path)[1]}.html"
    results.report(name)
    print(name)


def dashboard(arguments: argparse.Namespace) -> None:
    """``tune-seeds dashboard``."""
    from tune_seeds.views.report.serve import server  # it takes Plotly's time to import

    with server(full_location(arguments.experiment), arguments.port, arguments.every) as served:
        print(
            f"http://127.0.0.1:{served.server_port} follows the study; Ctrl-C ends it", flush=True
        )
        with contextlib.suppress(KeyboardInterrupt):
            served.serve_forever()


def confirm(arguments: argparse.Namespace) -> None:
    """``tune-seeds confirm``."""
    seeds: list[int] | int = arguments.seeds or arguments.num_seeds
    trainable = None if arguments.trainable is None else _named(arguments.trainable)
    print(_open(arguments).confirm(seeds, arguments.top, trainable))


def repair(arguments: argparse.Namespace) -> None:
    """``tune-seeds repair``."""
    directory = ExperimentDir.at(full_location(arguments.experiment))
    race = new_race(Header.read(directory))
    lease = Lease.take(directory)
    try:
        found = salvage(race, *read_lines(directory))
        if not found.left_out and not found.n_added:
            print("the journal is whole; nothing was changed")
            return
        check_integrity(race)
        lease.confirm()
        kept = replace_journal(directory, found)
    finally:
        lease.release()
    for damage in found.left_out:
        print(f"line {damage.number}: {in_one_line(damage.reason)}")
    print(
        f"{len(found.left_out)} lines left out, {found.n_added} put back; the old journal is kept "
        f"as {directory.join(kept)}"
    )


def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    if not attribute:
        raise ValueError(f"--trainable takes MODULE:NAME, got {name!r}")
    sys.path.insert(0, os.getcwd())
    return getattr(importlib.import_module(module), attribute)


def _open(arguments: argparse.Namespace) -> SeedResults:
    return SeedResults(full_location(arguments.experiment))
