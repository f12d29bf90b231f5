"""Ray's side of the search: a searcher suggests a config once, and it becomes one run per seed."""

from __future__ import annotations

import copy
import logging
import math
import os
import pickle
import tempfile
import time
from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher, SearchGenerator
from ray.tune.utils import merge_dicts

from tune_seeds._compat.searchers import save_optuna
from tune_seeds.engine.first_suggestions import unwrapped
from tune_seeds.engine.search_feedback import Teller, lessons
from tune_seeds.store.live_study import Study

logger = logging.getLogger(__name__)

# On a restore Ray 2.60 takes a copy of every .pkl and .json here, and writes it back over the newer
# file with each of its snapshots (sync_down_experiment_state); so it must end in neither.
SEARCH_STATE = "search.state"

#: How many configs in a row may be known before a searcher is taken to have no others. Random
#: sampling of a space of unknown size comes by this to nearly all of it.
MAX_EQUAL = 100


# After a save, so many times its own time passes before the next: it takes 5 % at most.
_SAVE_REST = 20.0


class SeedSearch(Searcher):
    """Hands runs to Ray: promoted groups' missing seeds first, then a new config on its seeds.

    The searcher inside never sees a seed. It hears of every group as soon as its lowest rung is
    complete, also where the group then waits, and again when it is scored higher up; how those
    scores are made to compare, and which searchers can be told again, ``search_feedback.py`` says.

    Args:
        study: the shared state.
        searcher: suggests configs.
        constants: entries of the space that are not searched; they join every config.
        num_samples: how many configs to ask for; equal ones are one config.
        complete: makes the config of a suggestion, and checks it; None adds the constants.
        clock: seconds, from any start.
        n_possible: how many configs there can be, where that is known.
    """

    def __init__(
        self,
        study: Study,
        searcher: Searcher,
        constants: dict[str, Any],
        num_samples: int,
        complete: Callable[[Searcher, Any], dict[str, Any]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        n_possible: int | None = None,
    ) -> None:
        super().__init__()
        self._study = study
        # Not named `searcher`: Ray takes whatever has that attribute for a wrapper of its own.
        self._inner = searcher
        self._complete = complete or (lambda _, suggested: merge_dicts(constants, suggested))
        self._num_samples = num_samples
        self._warned = False
        self._clock = clock
        self._next_save = -math.inf
        self._unsaved = False
        self._n_possible = n_possible
        self._groups: dict[str, str] = {}  # suggestion → group; equal configs share a group
        self._teller = Teller(searcher, study.race.policy.rungs, study.race.ledger.metric.name)
        self._restore_inner()

    def suggest(self, trial_id: str) -> Any:
        """The config of the next run that has no trial yet, with its seed."""
        config = self._suggest(trial_id)
        self._save_if_due()
        return config

    def _suggest(self, trial_id: str) -> Any:
        race, study = self._study.race, self._study
        self.tell()
        if study.is_suspect:
            return None
        n_slots = study.count_slots()
        if n_slots is not None and study.n_started >= n_slots:
            return None
        race.promote_next()
        key = next((key for key in race.queue if key not in study.trials), None)
        is_free = not race.queue if n_slots is None else study.n_wanted < n_slots
        if key is None and is_free and not race.exhausted:
            self._add_group()
            key = next((key for key in race.queue if key not in study.trials), None)
        if key is None and race.exhausted:
            race.promote_next()
            key = next((key for key in race.queue if key not in study.trials), None)
        if key is not None:
            study.trials[key] = trial_id
            study.keys[trial_id] = key
            return {**copy.deepcopy(race.ledger.configs[key.group]), "seed": key.seed}
        return Searcher.FINISHED if race.done else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Note a run that failed for good; Ray retries before it calls this with an error."""
        if error:
            key = self._study.keys[trial_id]
            self._study.race.fail(key, self._study.errors.pop(key, "the run failed"))

    def tell(self) -> None:
        """Tell the searcher inside what it has not heard yet."""
        if self._study.race.news:
            self._study.race.news.clear()
            self._tell_all()
        self._save_if_due()

    def save(self, checkpoint_path: str) -> None:
        """Nothing of Ray's snapshot is needed: the journal holds the study."""
        with open(checkpoint_path, "wb"):
            pass

    def restore(self, checkpoint_path: str) -> None:
        """See ``save``."""

    def _add_group(self) -> None:
        """Ask for configs until one is new; an equal config is the same group and costs nothing."""
        race = self._study.race
        if (why := race.settled()) is not None:
            race.exhaust(self._fewer(why))
            return
        n_equal = 0
        while True:
            orphans = set(race.groups) - set(self._groups.values())
            if len(race.groups) >= self._num_samples:
                race.exhaust()
                return
            if why := self._why_no_more(n_equal):
                logger.warning(why)
                race.exhaust(why)
                return
            name = f"c{len(self._groups) + 1:04d}"
            suggested: Any = self._inner.suggest(name)
            if suggested is None:
                return
            if isinstance(suggested, str) and suggested == Searcher.FINISHED:
                race.exhaust(self._fewer("the searcher has no more"))
                return
            config = self._complete(self._inner, suggested)
            group = self._study.find_group(config)
            known = group is not None
            if group is None:
                group = race.add_group(config)
            self._groups[name] = group
            self._unsaved = True
            if not known:
                return
            if group not in orphans:
                n_equal += 1
                self._tell_all()

    def _why_no_more(self, n_equal: int) -> str | None:
        """Why to ask for no more configs, after so many that were known already."""
        n = len(self._study.race.groups)
        if self._n_possible is not None and n >= self._n_possible:
            return self._fewer("the search space holds no others")
        if n_equal >= MAX_EQUAL:
            return self._fewer(f"the searcher suggested only known ones, {n_equal} times in a row")
        return None

    def _fewer(self, why: str) -> str | None:
        n = len(self._study.race.groups)
        if n >= self._num_samples:
            return None
        return f"{n} of the {self._num_samples} configs asked for: {why}"

    def _tell_all(self) -> None:
        # One score can change what there is to tell of several groups.
        known = lessons(self._study.race)
        names = [(name, known[group]) for name, group in self._groups.items() if group in known]
        if any([self._teller.tell(name, lesson) for name, lesson in names]):
            self._unsaved = True

    def close(self) -> None:
        """Tell the searcher inside what it has not heard yet, and save its state."""
        self.tell()
        if self._unsaved:
            self._write_inner()

    def _save_if_due(self) -> None:
        """Save the searcher's state if it has changed, unless that was done a moment ago.

        A searcher is pickled whole, with all that it has seen. What a killed driver did not save is
        in the journal, and counts as suggested.
        """
        start = self._clock()
        if self._unsaved and start >= self._next_save:
            self._write_inner()
            now = self._clock()
            self._next_save = now + _SAVE_REST * (now - start)

    def _write_inner(self) -> None:
        self._unsaved = False
        with tempfile.TemporaryDirectory() as directory:
            file = os.path.join(directory, "searcher")
            try:
                self._save_to(file)
            except NotImplementedError:
                return
            except Exception as error:  # whatever a searcher's attributes raise at their pickling
                if not self._warned:
                    logger.warning(
                        "%s can't save its state (%s: %s): after a restore it starts anew, without "
                        "what it has learnt",
                        type(self._inner).__name__,
                        type(error).__name__,
                        error,
                    )
                self._warned = True
                return
            with open(file, "rb") as stream:
                inner = stream.read()
        state = {"inner": inner, "groups": self._groups, "told": self._teller.told}
        self._study.directory.write(SEARCH_STATE, pickle.dumps(state))

    def _save_to(self, file: str) -> None:
        try:
            self._inner.save(file)
        except (pickle.PicklingError, AttributeError, TypeError):
            # Imported only now: it brings Optuna.
            from ray.tune.search.optuna import OptunaSearch

            inner = unwrapped(self._inner)
            if not isinstance(inner, OptunaSearch):
                raise
            save_optuna(inner, file)

    def _restore_inner(self) -> None:
        if not self._study.directory.exists(SEARCH_STATE):
            if self._study.race.groups:
                logger.warning(
                    "%s can't save its state, so it starts anew: what it had learnt before the "
                    "restore is kept in the results but does not steer it",
                    type(self._inner).__name__,
                )
            return
        state = pickle.loads(self._study.directory.read(SEARCH_STATE))
        self._groups = state["groups"]
        self._teller.resume(state["told"])
        with tempfile.TemporaryDirectory() as directory:
            file = os.path.join(directory, "searcher")
            with open(file, "wb") as stream:
                stream.write(state["inner"])
            self._inner.restore(file)
        self._tell_all()


class SeedSearchGenerator(SearchGenerator):
    """Ray's maker of trials around ``SeedSearch``."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Take Ray's snapshot but not its word that the search is over; a retry may need trials."""
        super().set_state({**state, "finished": False})
