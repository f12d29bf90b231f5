"""What the environment records of runs differ in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

#: Entries that may differ between the seeds of a group.
_SEED_DEPENDENT = frozenset({"seed", "initial_weights", "first_batch", "restarts", "lost"})


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Entry → the two values, for every entry that differs; nested ones as ``packages/torch``."""
    flat_a, flat_b = _flat(a), _flat(b)
    keys = [*flat_a, *(key for key in flat_b if key not in flat_a)]
    pairs = {key: (flat_a.get(key), flat_b.get(key)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def unwanted_differences(
    records: Mapping[int, Mapping[str, Any]],
) -> dict[str, dict[Any, list[int]]]:
    """What the runs of one group differ in beside the seed.

    Args:
        records: seed → environment record.

    Returns:
        entry → value → seeds; empty where all agree.
    """
    found: dict[str, dict[Any, list[int]]] = {}
    flat = {seed: _flat(environment) for seed, environment in records.items()}
    for key in sorted({key for entries in flat.values() for key in entries}):
        if key.partition("/")[0] in _SEED_DEPENDENT:
            continue
        values: dict[Any, list[int]] = {}
        for seed, entries in flat.items():
            values.setdefault(_hashable(entries.get(key)), []).append(seed)
        if len(values) > 1:
            found[key] = values
    return found


def _flat(environment: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in environment.items():
        if isinstance(value, Mapping):
            flat.update(_flat(cast(Mapping[str, Any], value), f"{prefix}{key}/"))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _hashable(value: Any) -> Any:
    return tuple(map(str, cast(list[Any], value))) if isinstance(value, list) else value
