"""What trackers are told of a config: its hyperparameters, and its score once it is known."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from typing import Any

from tune_seeds.analysis.estimates import Estimates
from tune_seeds.analysis.group_summary import Standing, ranking
from tune_seeds.core.jsonable import flat
from tune_seeds.store.live_study import Study
from tune_seeds.views.labels import shortened, value_text

logger = logging.getLogger(__name__)

_OURS = frozenset({"experiment", "group", "kind"})


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
    """What is logged of a config: its score and what is known of it, where it is defined.

    ``expected`` is what it should score on a fresh seed, by the model of the whole study, with its
    95 % interval; ``interval_low`` and ``interval_high`` are of its seeds alone, chosen or not.
    """
    (low, high), (own_low, own_high) = item.interval, item.seeds_interval
    found = {
        "score": item.score,
        "std": item.std,
        "interval_low": own_low,
        "interval_high": own_high,
        "seeds": float(len(item.values)),
        "seeds_failed": float(len(item.failures)),
        "epochs": float(item.epochs),
    }
    if item.is_modelled:
        found |= {"expected": item.estimate, "expected_low": low, "expected_high": high}
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
    file = f"logged.{tracker}"
    logged = json.loads(study.directory.read(file)) if study.directory.exists(file) else {}
    estimates = Estimates(study.race)
    for name in ranking(study.race):
        item = estimates.standing(name)
        told = cells(item)
        if logged.get(name) == told:
            continue
        try:
            log(item)
            logged[name] = told
        except Exception as error:  # of somebody else's package, server or network
            why = shortened(f"{type(error).__name__}: {error}", 300)
            logger.warning("%s did not take config %s: %s", tracker, name, why)
    study.directory.write(file, json.dumps(logged).encode())
