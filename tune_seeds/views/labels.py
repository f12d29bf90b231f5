"""How configs and their values are called in every view: short, safe to show, still distinct."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from tune_seeds.core.jsonable import flat, plain
from tune_seeds.core.printable import in_one_line

_UNSAFE = re.compile(r"[^A-Za-z0-9._=,+-]+")


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
    text = value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
    return shortened(text, limit)


def shortened(text: str, limit: int) -> str:
    """Text cut to about ``limit`` characters, with its length and a digest where it was cut.

    Characters that a terminal would obey are in words.
    """
    text = in_one_line(text)
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


def bytes_text(n: float) -> str:
    """A size as people read it: ``1.3 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"


def checkpoints_text(n: int, size: int) -> str:
    """How many checkpoints there are, and how large they are."""
    noun = "checkpoint" if n == 1 else "checkpoints"
    return f"{n} {noun}, {bytes_text(size)}"


def warm_start_text(record: Mapping[str, Any]) -> str:
    """What a searcher was told before its first suggestion, from the header's ``warm_start``."""
    left_out = record.get("n_left_out", 0)
    others = f"; {left_out} others of it do not compare or do not fit the space" if left_out else ""
    return (
        f"warm start: the searcher was told first of {record.get('n_configs')} configs of "
        f"{record.get('path')}{others}"
    )
