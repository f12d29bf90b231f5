"""The environment records of runs: which one is kept, and what a user is told of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from tune_seeds.core.ledger import RunKey
from tune_seeds.core.process_variables import PROCESS_VARIABLES
from tune_seeds.race.race import Race
from tune_seeds.training.reporting import RESTARTS

logger = logging.getLogger(__name__)

# What a run that goes on somewhere else finds different there.
_PLACE = ("device", "accelerator_type", "cpu_capability", "packages")


class RunEnvironments:
    """Records in the race what the bits of each run depend on.

    A run keeps its first record, of where it began, unless it was trained again from its beginning.
    What is different where it goes on is added to that record.
    """

    def __init__(self, race: Race) -> None:
        self._race = race
        self._warned: set[str] = set()

    def note(self, key: RunKey, record: dict[str, Any]) -> None:
        """Take the record that came with a report of a run."""
        first = self._race.ledger[key].environment
        if first is None or RESTARTS in record:
            self._race.note_environment(key, record)
        elif moved := _moved(first, record):
            went_on = {**first.get("went_on_with", {}), **moved}
            self._race.note_environment(key, {**first, "went_on_with": went_on})
            logger.warning(
                "group %s, seed %s goes on with another %s than it began with: its bits are not "
                "those of an uninterrupted run",
                key.group,
                key.seed,
                " and ".join(f"{name.replace('_', ' ')} ({moved[name]})" for name in moved),
            )
        for name in record.get("missing_variables", ()):
            if name not in self._warned:
                self._warned.add(name)
                logger.warning(
                    "Ray's worker processes were started without a fixed %s, which a process reads "
                    "when it starts: runs may differ between processes; set %s=%s in the "
                    "environment of `ray start` (or before ray.init)",
                    name,
                    name,
                    PROCESS_VARIABLES[name],
                )

    def gpu_of_group(self, group: str) -> str | None:
        """The kind of GPU on which a run of a group has trained; None where none is known."""
        environments = [
            run.environment or {}
            for other, run in self._race.ledger.items()
            if other.group == group
        ]
        return next((kind for e in environments if (kind := e.get("accelerator_type"))), None)


def _moved(first: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What a run finds different where it goes on, of what its bits depend on."""
    return {name: now[name] for name in _PLACE if name in now and now[name] != first.get(name)}
