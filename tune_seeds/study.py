"""What Ray's searcher and scheduler share: the race, its journal, and the trials of its runs."""

from __future__ import annotations

from typing import Any

import pyarrow.fs

from tune_seeds.journal import Journal, identity, read_events
from tune_seeds.ledger import RunKey
from tune_seeds.race import Race


class Study:
    """One experiment, being run or rebuilt from its journal.

    Args:
        fs: the experiment's file system.
        path: the experiment's directory on it.
        race: a new race; it is brought to where the journal ends.
        max_concurrent: runs that may hold a slot at a time, or None.
    """

    def __init__(
        self,
        fs: pyarrow.fs.FileSystem,
        path: str,
        race: Race,
        max_concurrent: int | None = None,
    ) -> None:
        self.fs = fs
        self.path = path
        self.trials: dict[RunKey, str] = {}
        self.keys: dict[str, RunKey] = {}
        self.errors: dict[RunKey, str] = {}
        self.fatal: Exception | None = None
        self._max_concurrent = max_concurrent
        self._by_config: dict[bytes, str] = {}
        self._n_indexed = 0
        self.race = race
        for event in read_events(fs, path, unpickle=True):
            self.race.apply(event)
        self.race.news.clear()
        self.journal = Journal(fs, path)
        self.race.log = self.journal.append
        self.race.settle_all()

    def at_capacity(self) -> bool:
        """Whether no further run may be given a trial for now."""
        if self._max_concurrent is None:
            return False
        waiting = sum(key in self.trials for key in self.race.queue)
        return len(self.race.busy) + waiting >= self._max_concurrent

    def may_start(self) -> bool:
        """Whether one more run may hold a slot."""
        return self._max_concurrent is None or len(self.race.busy) < self._max_concurrent

    def find_group(self, config: dict[str, Any]) -> str | None:
        """The group of an equal config, if there is one."""
        for group, known in list(self.race.ledger.configs.items())[self._n_indexed :]:
            self._by_config[identity(known)] = group
            self._n_indexed += 1
        return self._by_config.get(identity(config))
