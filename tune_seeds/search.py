"""Ray's side of the search: a searcher suggests a config once, and it becomes one run per seed."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import tempfile
from pathlib import PurePosixPath
from typing import Any, cast

import numpy as np
from ray._private.dict import merge_dicts
from ray.tune.search import Searcher, SearchGenerator
from ray.tune.search.variant_generator import generate_variants

from tune_seeds.journal import exists, read_bytes, write_atomically
from tune_seeds.study import Study
from tune_seeds.telling import Teller, lessons

logger = logging.getLogger(__name__)

# On a restore Ray 2.60 takes a copy of every .pkl and .json here, and writes it back over the newer
# file with each of its snapshots (sync_down_experiment_state); so it must end in neither.
SEARCH_STATE = "search.state"


class VariantSearch(Searcher):
    """Random sampling and ``grid_search``, as Ray does without a searcher, one config at a time.

    Args:
        space: the search space; every combination of its grids is suggested ``num_samples`` times.
        num_samples: how often.
        seed: the sample with number i depends on ``seed`` and i only.
    """

    def __init__(self, space: dict[str, Any], num_samples: int, seed: int) -> None:
        super().__init__()
        self._space = space
        self._num_samples = num_samples
        self._seed = seed
        self._sample = 0
        self._place = 0
        self._variants: list[dict[str, Any]] | None = None

    @property
    def n_configs(self) -> int:
        """How many configs it suggests in all."""
        return self._num_samples * len(self._draw(0))

    def suggest(self, trial_id: str) -> Any:
        """The next config, or ``FINISHED``."""
        if self._variants is None:
            self._variants = self._draw(self._sample)
        if self._place == len(self._variants):
            self._sample, self._place = self._sample + 1, 0
            self._variants = self._draw(self._sample)
        if self._sample >= self._num_samples:
            return Searcher.FINISHED
        self._place += 1
        return copy.deepcopy(self._variants[self._place - 1])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Scores do not steer it."""

    def save(self, checkpoint_path: str) -> None:
        """Save how far it has come."""
        with open(checkpoint_path, "wb") as file:
            pickle.dump((self._sample, self._place), file)

    def restore(self, checkpoint_path: str) -> None:
        """Go on from where ``save`` was called."""
        with open(checkpoint_path, "rb") as file:
            self._sample, self._place = pickle.load(file)
        self._variants = None

    def _draw(self, sample: int) -> list[dict[str, Any]]:
        state = np.random.RandomState(
            np.random.SeedSequence([self._seed, sample]).generate_state(1)
        )
        variants = generate_variants({"config": copy.deepcopy(self._space)}, random_state=state)
        return [cast(dict[str, Any], spec["config"]) for _, spec in variants]


class SeedSearch(Searcher):
    """Hands runs to Ray: promoted groups' missing seeds first, then a new config on its seeds.

    The searcher inside never sees a seed. It hears of every group as soon as its lowest rung is
    complete, also where the group then waits, and again when it is scored higher up; how those
    scores are made to compare, and which searchers can be told again, ``telling.py`` says.

    Args:
        study: the shared state.
        searcher: suggests configs.
        constants: entries of the space that are not searched; they join every config.
        num_samples: how many configs to ask for.
    """

    def __init__(
        self, study: Study, searcher: Searcher, constants: dict[str, Any], num_samples: int
    ) -> None:
        super().__init__()
        self._study = study
        # Not named `searcher`: Ray takes whatever has that attribute for a wrapper of its own.
        self._inner = searcher
        self._constants = constants
        self._num_samples = num_samples
        self._file = str(PurePosixPath(study.path) / SEARCH_STATE)
        self._groups: dict[str, str] = {}  # suggestion → group; equal configs share a group
        self._teller = Teller(searcher, study.race.policy.rungs, study.race.ledger.metric)
        self._restore_inner()

    def suggest(self, trial_id: str) -> Any:
        """The config of the next run that has no trial yet, with its seed."""
        race, study = self._study.race, self._study
        self.tell()
        if study.at_capacity():
            return None
        race.promote_next()
        waiting = race.queue
        key = next((key for key in waiting if key not in study.trials), None)
        if key is None and not waiting and not race.exhausted:
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

    def save(self, checkpoint_path: str) -> None:
        """Nothing of Ray's snapshot is needed: the journal holds the study."""
        with open(checkpoint_path, "wb"):
            pass

    def restore(self, checkpoint_path: str) -> None:
        """See ``save``."""

    def _add_group(self) -> None:
        """Ask for configs until one is new; an equal config is the same group and costs nothing."""
        race = self._study.race
        while True:
            orphans = set(race.groups) - set(self._groups.values())
            if len(self._groups) + len(orphans) >= self._num_samples:
                race.exhausted = True
                return
            name = f"c{len(self._groups) + 1:04d}"
            suggested: Any = self._inner.suggest(name)
            if suggested is None:
                return
            if suggested == Searcher.FINISHED:
                race.exhausted = True
                return
            config = merge_dicts(self._constants, cast(dict[str, Any], suggested))
            if "seed" in config:
                raise ValueError(
                    f"the searcher suggested a value for 'seed' ({config['seed']!r}); take it out "
                    "of the searcher's own space: seeds are the study's, not searched"
                )
            group = self._study.find_group(config)
            known = group is not None
            if group is None:
                group = race.add_group(config)
            self._groups[name] = group
            if known and group not in orphans:
                logger.info("config %s was suggested again; it joins group %s", config, group)
                self._save_inner()
                self._tell_all()
                continue
            self._save_inner()
            if not known:
                return

    def _tell_all(self) -> None:
        # One score can change what there is to tell of several groups.
        known = lessons(self._study.race)
        names = [(name, known[group]) for name, group in self._groups.items() if group in known]
        if any([self._teller.tell(name, lesson) for name, lesson in names]):
            self._save_inner()

    def _save_inner(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            file = os.path.join(directory, "searcher")
            try:
                self._inner.save(file)
            except NotImplementedError:
                return
            with open(file, "rb") as stream:
                inner = stream.read()
        state = {"inner": inner, "groups": self._groups, "told": self._teller.told}
        write_atomically(self._study.fs, self._file, pickle.dumps(state))

    def _restore_inner(self) -> None:
        if not exists(self._study.fs, self._file):
            if self._study.race.groups:
                logger.warning(
                    "%s can't save its state, so it starts anew: what it had learnt before the "
                    "restore is kept in the results but does not steer it",
                    type(self._inner).__name__,
                )
            return
        state = pickle.loads(read_bytes(self._study.fs, self._file))
        self._groups = state["groups"]
        self._teller.told = state["told"]
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
