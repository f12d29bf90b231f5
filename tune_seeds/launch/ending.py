"""How a study ended: done, or left by a signal, its time budget, a failure or an error."""

from __future__ import annotations

import logging
import signal
from dataclasses import dataclass
from typing import Any

from tune_seeds.engine.arguments import Arguments
from tune_seeds.engine.growth import seconds
from tune_seeds.engine.search import SeedSearch
from tune_seeds.engine.signals import Received
from tune_seeds.race.kept_checkpoints import KeepCheckpoints, not_kept
from tune_seeds.race.race import Race
from tune_seeds.store.errors import StudyLostError
from tune_seeds.store.live_study import Study

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a study ended.

    Attributes:
        done: nothing is left to train.
        signal: what asked this process to end, where a signal did.
    """

    done: bool
    signal: signal.Signals | None = None


def why_left(arguments: Arguments, race: Race, elapsed_s: float, received: Received) -> str:
    """By what Ray ended a study that is not done; Ray returns in each case and does not say.

    Args:
        arguments: what the user gave.
        race: read only.
        elapsed_s: seconds for which Ray ran the study.
        received: the signal that asked this process to end, if one did.
    """
    if received.number is not None:
        return received.number.name
    run_config: Any = arguments.run_config
    budget = seconds(arguments.tune_config.time_budget_s)
    if budget is not None and elapsed_s >= budget:
        return "the time budget"
    if run_config.failure_config.fail_fast and race.failed:
        return "a failed run (fail_fast)"
    return "an interruption (Ctrl-C)"


def why_failed(arguments: Arguments, race: Race, error: Exception) -> str:
    """By what a study is left that ends with an exception."""
    run_config: Any = arguments.run_config
    if run_config.failure_config.fail_fast and race.failed:
        return "a failed run (fail_fast)"
    return f"an error ({type(error).__name__})"


def record_end(study: Study, search: SeedSearch, keep: KeepCheckpoints, left: str) -> None:
    """Write down how a study ended, and delete the checkpoints that it does not keep.

    Args:
        study: the shared state; it is closed.
        search: keeps its searcher's state.
        keep: whose checkpoints stay.
        left: what the study is left by where it is not done.
    """
    try:
        search.close()
        if not study.race.done:
            study.race.leave(left)
        for key, epoch in not_kept(study.race, keep):
            study.drop_checkpoint(key, epoch)
    except (StudyLostError, OSError):
        logger.warning("how the study ended could not be recorded", exc_info=True)
    finally:
        study.close()
