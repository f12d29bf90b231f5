"""Events as bytes: one JSON object for each."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any, cast

import cloudpickle

from tune_seeds.core import events
from tune_seeds.core.events import Event
from tune_seeds.core.jsonable import plain
from tune_seeds.core.rungs import Rung
from tune_seeds.core.seeds import check_seeds

_KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        events.GroupAdded,
        events.Promoted,
        events.TrialAssigned,
        events.RunStarted,
        events.Reported,
        events.CheckpointDeleted,
        events.Scored,
        events.ConfirmationAdded,
        events.EnvironmentRecorded,
        events.RunCompleted,
        events.RunStopped,
        events.RunFailed,
        events.RunRetried,
        events.SearchExhausted,
        events.StudyLeft,
        events.Grown,
    )
}

_TYPES: dict[str, tuple[type, ...]] = {
    "group": (str,),
    "seed": (int,),
    "epoch": (int,),
    "config": (dict,),
    "rung": (list,),
    "metrics": (dict,),
    "scores": (dict,),
    "score": (int, float),
    "groups": (list,),
    "seeds": (list,),
    "environment": (dict,),
    "error": (str,),
    "reason": (str,),
    "trial_id": (str,),
    "trial_dir": (str, type(None)),
    "checkpoint": (str, type(None)),
    "checkpoint_bytes": (int, type(None)),
    "rungs": (list,),
    "n_finalists": (int,),
    "num_samples": (int,),
    "asked": (dict,),
    "fingerprint": (dict,),
    "changes": (list,),
    "at": (str,),
    "why": (str, type(None)),
}

#: More seeds or rungs than this are damage: each run of each config is kept in memory.
MAX_ENTRIES = 10_000

_JSON_SCALARS = (str, bool, int, float)


def encode(event: Event) -> bytes:
    """One JSON object; floats that JSON has no word for become strings."""
    record: dict[str, Any] = {"event": type(event).__name__}
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if isinstance(value, Rung):
            value = [value.epochs, value.n_seeds]
        elif field.name == "rungs":
            value = [[rung.epochs, rung.n_seeds] for rung in value]
        elif field.name == "checkpoint_bytes" and value is None:
            continue  # as in journals of versions that did not know it
        elif field.name in ("asked", "metrics", "environment"):
            value = plain(value)  # an environment holds the config, and so any of its values
        if field.name != "why" or value is not None:  # older versions know no such entry
            record[field.name] = value
    if isinstance(event, events.GroupAdded):
        record["config"] = plain(event.config)
        if not _same(record["config"], event.config):
            pickled = cloudpickle.dumps(event.config)
            record["config_pickle"] = base64.b64encode(pickled).decode()
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode()


def decode(line: bytes, *, unpickle: bool = False) -> Event:
    """The event of one line; see ``read_events``.

    Raises:
        ValueError: it is none that this version knows.
    """
    try:
        return _decode(line, unpickle)
    except (TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _decode(line: bytes, unpickle: bool) -> Event:
    record = cast(dict[str, Any], json.loads(line))
    if not isinstance(record, dict):
        raise ValueError(f"{record!r} is not an object")
    kind = _KINDS[record.pop("event")]
    pickled = record.pop("config_pickle", None)
    if pickled is not None and unpickle:
        record["config"] = cloudpickle.loads(base64.b64decode(pickled))
    for name, types in _TYPES.items():
        value = record.get(name)
        if name in record and (not isinstance(value, types) or isinstance(value, bool)):
            raise ValueError(f"{name} is {value!r}")
    if "rung" in record:
        record["rung"] = _rung(record["rung"])
    if kind is events.Scored:
        scores = dict[str, Any](record["scores"])
        record["scores"] = {int(seed): float(v) for seed, v in scores.items()}
    if kind is events.ConfirmationAdded:
        if not all(isinstance(group, str) for group in record["groups"]):
            raise ValueError(f"groups are {record['groups']!r}")
        record.update(groups=tuple(record["groups"]), seeds=check_seeds(record["seeds"]))
    if kind is events.Grown:
        _check_grown(record)
    if "metrics" in record:
        metrics = dict[str, Any](record["metrics"])
        record["metrics"] = {k: float(v) for k, v in metrics.items()}
    return kind(**record)


def _rung(value: Any) -> Rung:
    epochs, n_seeds = value
    if type(epochs) is not int or type(n_seeds) is not int:
        raise ValueError(f"rung is {value!r}")
    return Rung(epochs, n_seeds)


def _check_grown(record: dict[str, Any]) -> None:
    for name in ("seeds", "rungs"):
        if not 1 <= len(record[name]) <= MAX_ENTRIES:
            raise ValueError(f"there are {len(record[name])} {name}")
    if record["n_finalists"] < 1 or record["num_samples"] < 1:
        raise ValueError("n_finalists and num_samples must be at least 1")
    record.update(
        seeds=check_seeds(record["seeds"]),
        rungs=tuple(map(_rung, record["rungs"])),
        changes=tuple(str(change) for change in record["changes"]),
        fingerprint={str(k): str(v) for k, v in record["fingerprint"].items()},
    )


def _same(decoded: Any, original: Any) -> bool:
    if type(decoded) is not type(original):
        return False
    if isinstance(original, (str, int, float)) and type(original) not in _JSON_SCALARS:
        return False  # a member of a StrEnum or IntEnum, which JSON would turn into its value
    if isinstance(decoded, dict):
        a, b = cast(dict[Any, Any], decoded), cast(dict[Any, Any], original)
        return list(a) == list(b) and all(_same(a[k], b[k]) for k in a)
    if isinstance(decoded, list):
        a, b = cast(list[Any], decoded), cast(list[Any], original)
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(decoded == original)
