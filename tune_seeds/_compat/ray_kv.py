"""Ray's own store of keys, in the process that leads the cluster.

The public way to keep a small record that every driver of a cluster can read is a named detached
actor, which is one more process and outlives them all. Seen in Ray 2.44 to 2.60.
"""

from __future__ import annotations

from typing import Any, cast

from ray.experimental import internal_kv

_kv = cast(Any, internal_kv)


def put(key: str, value: str) -> None:
    """Keep a record, in the place of one that is there."""
    _kv._internal_kv_put(key, value)


def delete(key: str) -> None:
    """Forget a record, if there is one."""
    _kv._internal_kv_del(key)


def items(prefix: str) -> dict[str, str]:
    """The records whose keys begin so."""
    keys = [key.decode() for key in _kv._internal_kv_list(prefix)]
    found = {key: _kv._internal_kv_get(key) for key in keys}
    return {key: value.decode() for key, value in found.items() if value is not None}
