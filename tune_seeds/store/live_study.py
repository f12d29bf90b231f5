"""What Ray's searcher and scheduler share: the race, its journal, and the trials of its runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from tune_seeds.core.events import TrialAssigned
from tune_seeds.core.ledger import Outcome, RunKey
from tune_seeds.race.common_failure import CommonFailure, CommonFailureError
from tune_seeds.race.race import Race
from tune_seeds.store.deletions import Deletions
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.identity import identity
from tune_seeds.store.journal import Journal, read_lines
from tune_seeds.store.rebuild.integrity import check_integrity
from tune_seeds.store.rebuild.replay import replay
from tune_seeds.store.rebuild.salvage import replace_journal, salvage

logger = logging.getLogger(__name__)

# A run that is stopped says nothing of whether it would have failed.
_ENDED = (Outcome.FAILED, Outcome.COMPLETED)


class Study:
    """One experiment, being run or rebuilt from its journal.

    Args:
        directory: of the experiment.
        race: a new race; it is brought to where the journal ends.
        slots: how many runs may train at a time, asked anew before each decision and told how many
            the study can use, or None for any number; None where that is not known, as in a replay.
        check: raises where this process may not drive the experiment any more.
    """

    def __init__(
        self,
        directory: ExperimentDir,
        race: Race,
        slots: Callable[[int | None], int] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.directory = directory
        self.trials: dict[RunKey, str] = {}
        self.keys: dict[str, RunKey] = {}
        self.errors: dict[RunKey, str] = {}
        self.failures = CommonFailure()
        self._fatal: Exception | None = None
        self._missed_rung: Exception | None = None
        self._slots = slots
        self._has_reported = False
        self._by_config: dict[bytes, str] = {}
        self._n_indexed = 0
        self.race = race
        lines, damaged = read_lines(directory, unpickle=True)
        if damaged:
            found = salvage(race, lines, damaged)
            kept = replace_journal(directory, found)
            logger.warning("%s; the old journal is kept as %s", found, directory.join(kept))
        else:
            replay(race, (line.event for line in lines))
            check_integrity(race)
        for event in (line.event for line in lines):
            if isinstance(event, TrialAssigned):
                # A restored trial is known by its id, whatever its config holds.
                self.keys[event.trial_id] = RunKey(event.group, event.seed)
        self.race.news.clear()
        self.journal = Journal(directory, check)
        self.deletions = Deletions(directory, self.journal)
        self.race.record_to(self.journal.append)
        self.race.resume()

    @property
    def fatal(self) -> Exception | None:
        """The error that ends the study, if there is one."""
        return self._fatal

    def note_fatal(self, error: Exception) -> None:
        """Keep the error that ends the study: Ray wraps it into one of its own."""
        self._fatal = error

    @property
    def missed_rung(self) -> Exception | None:
        """The error of the last run that went past a rung; it matters where no run came to one."""
        return self._missed_rung

    def note_missed_rung(self, error: Exception) -> None:
        """Keep the error of a run that went past a rung."""
        self._missed_rung = error

    def count_slots(self) -> int | None:
        """How many runs may train at a time now, which the race is told too."""
        # Where configs are left, any slot can be used.
        wanted = max(self.n_wanted, 1) if self.race.exhausted else None
        n_slots = None if self._slots is None else self._slots(wanted)
        self.race.set_slots(n_slots)
        return n_slots

    def drop_checkpoint(self, key: RunKey, epoch: int) -> None:
        """Delete a checkpoint that nothing needs."""
        self.deletions.add(self.race.drop_checkpoint(key, epoch))

    def close(self) -> None:
        """Store what was recorded, and delete what is to be deleted.

        Raises:
            JournalNotStoredError: the storage did not take the last events.
        """
        try:
            self.journal.close()
        finally:
            self.deletions.close()

    @property
    def has_reported(self) -> bool:
        """Whether any run has reported anything."""
        if not self._has_reported:
            self._has_reported = any(run.reports for run in self.race.ledger.values())
        return self._has_reported

    @property
    def is_suspect(self) -> bool:
        """Whether so many runs failed alike that no other is started, for the time being."""
        return not self.has_reported and bool(self.failures.suspects())

    def common_failure(self, *, over: bool) -> CommonFailureError | None:
        """What all runs fail by, where that is found out.

        Args:
            over: no run is at work any more, and none is to come.
        """
        if self.has_reported:
            return None
        if over:
            ended = [run for run in self.race.ledger.values() if run.outcome in _ENDED]
            runs = self.failures.all_alike(len(ended))
        elif all(self.failures.has_failed(key) for key in self.race.busy):
            runs = self.failures.suspects()
        else:
            return None
        return self.failures.error(runs) if runs else None

    @property
    def n_started(self) -> int:
        """How many runs train, or have a trial and wait for a process."""
        return len(self.race.busy) + sum(key in self.trials for key in self.race.queue)

    @property
    def n_wanted(self) -> int:
        """How many slots are busy or spoken for."""
        return len(self.race.busy) + len(self.race.queue)

    def find_group(self, config: dict[str, Any]) -> str | None:
        """The group of an equal config, if there is one."""
        for group, known in list(self.race.ledger.configs.items())[self._n_indexed :]:
            self._by_config[identity(known)] = group
            self._n_indexed += 1
        return self._by_config.get(identity(config))
