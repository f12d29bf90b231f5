"""The blueprint of a study's runs, in the experiment's directory."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from tune_seeds.core.blueprint import Blueprint, Target
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.errors import UnreadableExperimentError

_FILE = "training.json"


def write_blueprint(directory: ExperimentDir, blueprint: Blueprint) -> None:
    """Record it in an experiment's directory."""
    directory.write(_FILE, json.dumps(asdict(blueprint), indent=2).encode(), private=True)


def read_blueprint(directory: ExperimentDir) -> Blueprint | None:
    """The blueprint of an experiment; None for plain functions and studies of version 0.1.

    Raises:
        UnreadableExperimentError: it is damaged.
    """
    if not directory.exists(_FILE):
        return None
    try:
        data: Any = json.loads(directory.read(_FILE))
        targets = {
            str(prefix): Target(t["name"], tuple(t["parameters"]), bool(t["open_ended"]))
            for prefix, t in data["targets"].items()
        }
        return Blueprint(targets, dict(data["trainer"]), tuple(data["left_out"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnreadableExperimentError(f"{directory.join(_FILE)} is damaged: {error!r}") from error
