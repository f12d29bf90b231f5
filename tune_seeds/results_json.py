"""The results as one JSON document, described by ``results.schema.json``."""

from __future__ import annotations

import dataclasses
import json
import math
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tune_seeds.analysis import NothingToCompareError
from tune_seeds.journal import plain
from tune_seeds.ledger import RunKey
from tune_seeds.standing import ranking, standing

if TYPE_CHECKING:
    from tune_seeds.results import SeedResults

#: Raised when a reader of the old document would be misled by the new one.
SCHEMA = "tune-seeds/results/2"


def to_json(results: SeedResults) -> str:
    """Everything that a study found; numbers that are not finite are null."""
    header = results.header
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "study": {
            "metric": header.metric,
            "mode": header.mode,
            "seeds": list(header.seeds),
            "rungs": [{"epochs": rung.epochs, "n_seeds": rung.n_seeds} for rung in header.rungs],
            "aggregate": header.aggregate,
            "on_seed_failure": header.on_seed_failure,
            "n_finalists": header.n_finalists,
            "num_samples": header.num_samples,
            "search_seed": header.search_seed,
            "param_space": header.param_space,
            "version": header.version,
        },
        "completeness": _data(results.completeness),
        "best": _best(results),
        "groups": [_group(results, name) for name in ranking(results.race)],
        "contenders": None,
        "seed_effect": None,
        "marginals": None,
        "confirmation": _data(results.confirmation),
        "environment_differences": _data(results.environment_differences),
    }
    try:
        document["contenders"] = _data(results.contenders())
        document["seed_effect"] = _data(results.seed_effect())
        document["marginals"] = _data(results.marginals())
    except NothingToCompareError:
        pass  # no group holds every seed; `groups` says why
    return json.dumps(document, indent=1, allow_nan=False)


def _best(results: SeedResults) -> dict[str, Any] | None:
    if results.leader is None:
        return None
    best = results.best
    checkpoints = {seed: None if c is None else c.path for seed, c in best.checkpoints.items()}
    record = {field.name: getattr(best, field.name) for field in dataclasses.fields(best)}
    return _data({**record, "config": plain(best.config), "checkpoints": checkpoints})


def _group(results: SeedResults, name: str) -> dict[str, Any]:
    item = standing(results.race, name)
    seeds = (*results.seeds, *results.ledger.fresh_seeds)
    runs = {seed: results.ledger.get(RunKey(name, seed)) for seed in seeds}
    record = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
    record["config"] = plain(item.config)
    record["runs"] = [
        {
            "seed": seed,
            "fresh": seed not in results.seeds,
            "outcome": None if run.outcome is None else str(run.outcome),
            "error": run.error,
            "trial_id": run.trial_id,
            "trial_dir": run.trial_dir,
            "curve": {e: results.ledger.sign * value for e, value in run.curve.items()},
            "environment": run.environment,
        }
        for seed, run in runs.items()
        if run is not None and run.trial_id is not None
    ]
    return _data(record)


def _data(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: _data(getattr(value, field.name)) for field in fields}
    if isinstance(value, dict):
        return {str(k): _data(v) for k, v in cast(dict[Any, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return [_data(item) for item in cast(list[Any], value)]
    if isinstance(value, np.ndarray):
        return _data(value.tolist())
    if isinstance(value, np.generic):
        return _data(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Enum):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)
