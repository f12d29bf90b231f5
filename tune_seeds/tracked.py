"""What trackers are told of a config: its hyperparameters, and its score once it is known."""

from __future__ import annotations

import math
from typing import Any

from tune_seeds.labels import flat, value_text
from tune_seeds.standing import Standing

_OURS = frozenset({"group", "config_id", "kind"})


def params(config: dict[str, Any]) -> dict[str, Any]:
    """A config as trackers take it: without nesting, long values cut.

    A hyperparameter that is called as what is told of every run gets another name.
    """
    return {
        f"config/{key}" if key in _OURS else key or "''": value
        if _is_number(value)
        else value_text(value, 200)
        for key, value in flat(config).items()
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)


def cells(item: Standing) -> dict[str, float]:
    """What is logged of a config: its score and what is known of it, where it is defined."""
    low, high = item.interval
    found = {
        "score": item.score,
        "std": item.std,
        "interval_low": low,
        "interval_high": high,
        "seeds": float(len(item.values)),
        "seeds_failed": float(len(item.failures)),
        "epochs": float(item.epochs),
    }
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}
