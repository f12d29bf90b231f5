"""What the environment records of runs say: what runs differ in, and which were trained again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from tune_seeds.core.ledger import Ledger, RunKey

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


def differences_by_group(ledger: Ledger) -> dict[str, dict[str, dict[Any, list[int]]]]:
    """What the runs of each group differ in beside the seed, over the study's own seeds.

    Returns:
        group → entry → value → seeds; without the groups whose runs agree.
    """
    found: dict[str, dict[str, dict[Any, list[int]]]] = {}
    for group in ledger.configs:
        runs = {seed: ledger[RunKey(group, seed)] for seed in ledger.seeds}
        records = {s: run.environment for s, run in runs.items() if run.environment is not None}
        if different := unwanted_differences(records):
            found[group] = different
    return found


def restarts(ledger: Ledger) -> dict[RunKey, tuple[int, str]]:
    """The runs that were trained again from their beginning, since a pause would change them.

    Returns:
        run → how often, and what the pause had changed, by name.
    """
    found: dict[RunKey, tuple[int, str]] = {}
    for key, run in ledger.items():
        record = run.environment or {}
        if "restarts" in record:
            found[key] = (int(record["restarts"]), str(record.get("lost", "")))
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
