"""``num_samples`` counts different configs."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray import tune
from ray.tune.search import Searcher

from tune_seeds.core.ledger import Ledger
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung
from tune_seeds.engine.random_search import VariantSearch, n_possible
from tune_seeds.engine.search import MAX_EQUAL, SeedSearch
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.race import Race
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.live_study import Study

GRID = {"a": tune.grid_search([1, 2, 3]), "b": tune.grid_search([4, 5])}
NINE = {"a": tune.choice([1, 2, 3]), "b": tune.randint(0, 3)}


@pytest.mark.parametrize(
    ("space", "n"),
    [
        (NINE, 9),
        (GRID, 6),
        ({"a": tune.choice([1, 1, 2])}, 2),
        ({"a": tune.choice([1, 1.0, True])}, 3),
        ({"inner": {"a": tune.choice([1, 2])}, "c": 7}, 2),
        ({"a": tune.uniform(0, 1), "b": tune.choice([1])}, None),
        ({"a": tune.qrandint(0, 10, 5)}, None),
        ({"c": 7}, None),
    ],
)
def test_the_size_of_a_space(space, n):
    assert n_possible(space) == n


def race_of(directory: Path, searcher: Searcher, space, num_samples: int) -> Race:
    """Ask for configs until no more come; nothing is trained."""
    rungs = (Rung(1, 1),)
    race = Race(Ledger((1,), Metric("score", "max")), SuccessiveHalving(rungs, 3, 1), max)
    directory.mkdir()
    study = Study(ExperimentDir.at(directory), race)
    search = SeedSearch(study, searcher, {}, num_samples, n_possible=n_possible(space))
    for number in range(1000):
        if search.suggest(f"t{number}") in (None, "FINISHED"):
            break
        key = race.queue[-1]
        race.start(key)
        race.report(key, 1, {"score": float(number)})
        race.complete(key)
    study.journal.close()
    return race


@pytest.mark.parametrize(("asked", "got"), [(2, 2), (8, 8), (9, 9), (20, 9)])
@pytest.mark.parametrize("seed", [0, 1])
def test_equal_draws_are_drawn_again(tmp_path: Path, asked: int, got: int, seed: int):
    race = race_of(tmp_path / "study", VariantSearch(NINE, asked, seed), NINE, asked)
    assert len(race.groups) == got and race.exhausted
    if asked == got:
        assert race.why_exhausted is None
    else:
        assert (
            race.why_exhausted == "9 of the 20 configs asked for: the search space holds no others"
        )


def test_a_searcher_that_repeats_itself_is_asked_so_often_only(tmp_path: Path):
    class Stubborn(Searcher):
        asked = 0

        def suggest(self, trial_id: str):
            self.asked += 1
            return {"a": min(self.asked, 3)}

        def on_trial_complete(self, trial_id, result=None, error=False):
            pass

    searcher = Stubborn()
    race = race_of(tmp_path / "study", searcher, {"a": tune.uniform(0, 9)}, 5)
    assert len(race.groups) == 3 and searcher.asked == 3 + MAX_EQUAL
    assert "only known ones" in str(race.why_exhausted)


def test_more_samples_go_on_where_fewer_ended(tmp_path: Path):
    few = race_of(tmp_path / "few", VariantSearch(NINE, 3, 5), NINE, 3)
    many = race_of(tmp_path / "many", VariantSearch(NINE, 7, 5), NINE, 7)
    configs = list(many.ledger.configs.values())
    assert list(few.ledger.configs.values()) == configs[:3]
