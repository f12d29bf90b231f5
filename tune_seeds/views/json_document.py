"""The results as one JSON document, described by ``results.schema.json``."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from tune_seeds.analysis.errors import NothingToCompareError
from tune_seeds.analysis.finalists.contention import Contention
from tune_seeds.analysis.group_summary import ranking
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.jsonable import plain
from tune_seeds.core.ledger import RunKey
from tune_seeds.views.explanation import explain

#: Raised when a reader of the old document would be misled by the new one.
SCHEMA = "tune-seeds/results/2"


def to_json(results: StudyRecord) -> str:
    """Everything that a study found; numbers that are not finite are null."""
    header = results.header
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "study": {
            "metric": header.metric,
            "mode": header.mode,
            "score": header.score,
            "seeds": list(header.seeds),
            "rungs": [{"epochs": rung.epochs, "n_seeds": rung.n_seeds} for rung in header.rungs],
            "aggregate": header.aggregate,
            "on_seed_failure": header.on_seed_failure,
            "n_finalists": header.n_finalists,
            "num_samples": header.num_samples,
            "search_seed": header.search_seed,
            "param_space": header.param_space,
            "version": header.version,
            "metric_range": results.metric_range,
            "growths": results.growth_lines,
            "warm_start": header.warm_start,
            "stop_when": header.stop_when,
        },
        "completeness": results.completeness,
        "best": _best(results),
        "groups": [_group(results, name) for name in ranking(results.race)],
        "explanation": explain(results),
        "collapse": results.collapse,
        "contenders": None,
        "contenders_among_all": None,
        "seed_effect": None,
        "marginals": None,
        "confirmation": results.confirmation,
        "environment_differences": results.environment_differences,
    }
    try:
        document["contenders"] = _contention(results.contenders())
        document["contenders_among_all"] = _contention(results.contenders(among="all"))
        document["seed_effect"] = results.seed_effect()
        document["marginals"] = results.marginals()
    except NothingToCompareError:
        pass  # no group holds every seed; `groups` says why
    return json.dumps(plain(document, document=True), indent=1, allow_nan=False)


def _best(results: StudyRecord) -> dict[str, Any] | None:
    if results.leader is None:
        return None
    best = results.best
    record = {field.name: getattr(best, field.name) for field in dataclasses.fields(best)}
    for name in ("directory", "run_directories", "reports"):
        del record[name]
    record["checkpoints"] = record.pop("checkpoint_paths")
    return {**record, "config": plain(best.config)}


def _group(results: StudyRecord, name: str) -> dict[str, Any]:
    item = results.standing(name)
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
            "curve": {e: results.ledger.metric.own(value) for e, value in run.curve.items()},
            "environment": run.environment,
        }
        for seed, run in runs.items()
        if run is not None and run.trial_id is not None
    ]
    return record


def _contention(found: Contention) -> dict[str, Any]:
    fields = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    return {**fields, "promise": found.promise}  # in words
