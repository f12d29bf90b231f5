"""How often a searcher's state is saved, by a clock that only its saves and its users move."""

from __future__ import annotations

import pickle
import statistics
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from tune_seeds.core.ledger import Ledger
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung
from tune_seeds.engine.search import SEARCH_STATE, SeedSearch
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.race import Race
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.live_study import Study


class Counting(Searcher):
    """Suggests 0, 1, 2, …; a save takes a second."""

    def __init__(self):
        super().__init__(metric="score", mode="max")
        self.n_saves = self.n = 0
        self.now = 0.0

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self.n += 1
        return {"x": self.n}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Nothing is learnt."""

    def save(self, checkpoint_path: str) -> None:
        self.n_saves += 1
        self.now += 1
        Path(checkpoint_path).write_bytes(pickle.dumps(self.n))

    def restore(self, checkpoint_path: str) -> None:
        self.n = pickle.loads(Path(checkpoint_path).read_bytes())


class Taking:
    """Takes each run that is suggested, as a slot does."""

    def __init__(self, path: Path, inner: Counting):
        self.inner = inner
        self.study, self.search = made(path, inner)
        self.n = 0

    def take(self) -> float:
        self.n += 1
        config = self.search.suggest(f"{id(self)}-{self.n}")
        self.study.race.start(self.study.race.queue[0])
        return config["x"]


def made(path: Path, inner: Counting) -> tuple[Study, SeedSearch]:
    path.mkdir(exist_ok=True)
    policy = SuccessiveHalving((Rung(1, 1),), 3, 1)
    race = Race(Ledger((7,), Metric("score", "max")), policy, statistics.fmean)
    study = Study(ExperimentDir.at(path), race)
    return study, SeedSearch(study, inner, {}, 1000, clock=lambda: inner.now)


def test_saves_take_a_twentieth_of_the_time_and_the_last_state_is_kept(tmp_path: Path):
    inner = Counting()
    taking = Taking(tmp_path / "s", inner)
    for n in range(400):
        assert taking.take() == n + 1
        inner.now += 0.25
    assert inner.n_saves == 5  # in 100 s, each of 1 s and followed by 20 s without one
    state = pickle.loads((tmp_path / "s" / SEARCH_STATE).read_bytes())
    assert len(state["groups"]) < 400
    taking.search.close()
    state = pickle.loads((tmp_path / "s" / SEARCH_STATE).read_bytes())
    assert len(state["groups"]) == 400
    n_saves = inner.n_saves
    taking.search.close()
    assert inner.n_saves == n_saves


def test_what_a_killed_driver_did_not_save_is_suggested_again_and_joins_its_group(tmp_path: Path):
    inner = Counting()
    before = Taking(tmp_path / "s", inner)
    for _ in range(10):
        before.take()
    assert inner.n_saves == 1
    again = Counting()
    after = Taking(tmp_path / "s", again)
    assert again.n == 1
    taken = [after.take() for _ in range(12)]
    assert taken == list(range(1, 13))  # the ten of before, which have no trial, and two new ones
    assert again.n == 12
