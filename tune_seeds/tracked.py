"""What trackers are told of a config: its hyperparameters, and its score once it is known."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from tune_seeds.journal import exists, read_bytes, write_atomically
from tune_seeds.labels import flat, shortened, value_text
from tune_seeds.standing import Standing, ranking, standing
from tune_seeds.study import Study

logger = logging.getLogger(__name__)

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


def log_once(study: Study, tracker: str, log: Callable[[Standing], None]) -> None:
    """Log every config that a tracker does not hold yet as it stands now, the best first.

    A study that was finished may go on, to be confirmed or to retry what failed; what its configs
    came to before is noted beside the journal. A config that the tracker refuses is warned of, and
    logged the next time.

    Args:
        study: read only.
        tracker: its name.
        log: logs one config.
    """
    # Not .json: on a restore Ray 2.60 would bring an older one back.
    file = str(PurePosixPath(study.path) / f"logged.{tracker}")
    logged = json.loads(read_bytes(study.fs, file)) if exists(study.fs, file) else {}
    for name in ranking(study.race):
        item = standing(study.race, name)
        told = cells(item)
        if logged.get(name) == told:
            continue
        try:
            log(item)
            logged[name] = told
        except Exception as error:  # of somebody else's package, server or network
            why = shortened(f"{type(error).__name__}: {error}", 300)
            logger.warning("%s did not take config %s: %s", tracker, name, why)
    write_atomically(study.fs, file, json.dumps(logged).encode())
