"""How configs and their values are called in every view: short, safe to show, still distinct."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Container, Iterable, Mapping
from typing import Any, cast

from tune_seeds.journal import plain

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_UNSAFE = re.compile(r"[^A-Za-z0-9._=,+-]+")


def flat(
    config: Mapping[str, Any], prefix: str = "", *, whole: Container[str] = ()
) -> dict[str, Any]:
    """A config without nesting: keys joined by ``/``, values that JSON can hold.

    An empty dict stays as a value, so that no key is lost; objects are shown by their ``repr``
    without its address, which would differ from process to process.

    Args:
        config: perhaps nested.
        prefix: of the keys.
        whole: flat keys whose values are kept as one, even where they are dicts.
    """
    flattened: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value and name not in whole:
            flattened.update(flat(cast(dict[str, Any], value), f"{name}/", whole=whole))
        else:
            flattened[name] = _without_addresses(plain(value))
    return flattened


def _without_addresses(value: Any) -> Any:
    if isinstance(value, str):
        return _ADDRESS.sub("", value)
    if isinstance(value, list):
        return [_without_addresses(item) for item in cast(list[Any], value)]
    if isinstance(value, dict):
        return {k: _without_addresses(v) for k, v in cast(dict[str, Any], value).items()}
    return value


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """The shortest end of each flat key that no other key has: perhaps ``lr`` for ``model/lr``."""
    keys = list(keys)
    counts: dict[str, int] = {}
    for key in keys:
        for end in ends(key):
            counts[end] = counts.get(end, 0) + 1
    return {key: next(end for end in ends(key) if counts[end] == 1 or end == key) for key in keys}


def ends(key: str) -> list[str]:
    """The names that a flat key may go by: its last part, its last two, and so on."""
    parts = key.split("/")
    return ["/".join(parts[k:]) for k in reversed(range(len(parts)))]


def value_text(value: Any, limit: int = 40) -> str:
    """One config value as text of at most about ``limit`` characters.

    Longer ones are cut and end in a digest of the whole, so that different values look different.
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return shortened(text, limit)


def shortened(text: str, limit: int) -> str:
    """Text cut to about ``limit`` characters, with its length and a digest where it was cut."""
    if len(text) <= limit:
        return text
    digest = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:6]
    return f"{text[: max(limit - 24, 8)]}… ({len(text)} chars, {digest})"


def config_text(config: Mapping[str, Any], limit: int = 40) -> str:
    """A config on one line: ``lr=0.01 opt=sgd``, by short names."""
    values = flat(config)
    names = short_names(values)
    return " ".join(f"{names[key]}={value_text(value, limit)}" for key, value in values.items())


def differing(configs: Iterable[Mapping[str, Any]]) -> list[str]:
    """The flat keys whose values differ between configs; all keys if there is one config."""
    rows = [flat(config) for config in configs]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    if len(rows) < 2:
        return keys
    return [key for key in keys if len({json.dumps(row.get(key, "")) for row in rows}) > 1]


def path_name(group: str, config: Mapping[str, Any], limit: int = 100) -> str:
    """A directory name of a config that people can read and a regex can match."""
    text = ",".join(config_text(config, 24).split(" "))
    safe = _UNSAFE.sub("_", f"{group}_{text}" if text else group)
    return safe[:limit].rstrip("._,-")
