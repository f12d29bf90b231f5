"""Configs that random sampling and grids begin with."""

from __future__ import annotations

from typing import Any

import pytest
from ray import tune
from ray.tune.search import Searcher
from ray.tune.search.basic_variant import BasicVariantGenerator
from ray.tune.search.hyperopt import HyperOptSearch
from ray.tune.search.sample import Domain
from ray.tune.utils import flatten_dict

from tune_seeds.engine.random_search import VariantSearch, check_points
from tune_seeds.engine.searcher import make_searcher

RANDOM = {"lr": tune.loguniform(1e-4, 1e-1), "net": {"width": tune.choice([4, 8])}, "fixed": 3}
GRID = {"lr": tune.grid_search([0.1, 0.01]), "opt": tune.grid_search(["sgd", "adam"])}


def suggested(space: dict[str, Any], n: int, points: list[Any]) -> list[dict[str, Any]]:
    search = VariantSearch(space, n, 7, check_points(space, points))
    found = [search.suggest("x") for _ in range(search.n_configs)]
    assert Searcher.FINISHED not in found
    # A grid has an end; where anything is drawn the search can go on.
    is_grid = not any(isinstance(one, Domain) for one in flatten_dict(space).values())
    assert (search.suggest("x") == Searcher.FINISHED) == is_grid
    return found


def test_points_take_the_first_places_and_leave_the_others_as_they_were():
    plain = suggested(RANDOM, 6, [])
    found = suggested(RANDOM, 6, [{"lr": 0.1, "net": {"width": 8}}, {"net/width": 4}])
    assert found[0] == {"lr": 0.1, "net": {"width": 8}, "fixed": 3}
    assert found[1]["net"] == {"width": 4} and 1e-4 <= found[1]["lr"] <= 1e-1
    assert found[2:] == plain[2:] and len(found) == 6
    assert suggested(RANDOM, 1, [{"lr": 0.1}, {"lr": 0.01}])[0]["lr"] == 0.1


def test_a_grid_follows_whole_and_nothing_twice():
    found = suggested(GRID, 1, [{"lr": 0.01, "opt": "adam"}])
    assert found[0] == {"lr": 0.01, "opt": "adam"} and len(found) == 4
    assert all(found.count(config) == 1 for config in found)
    assert [c["lr"] for c in suggested(GRID, 1, [{"lr": 0.01}])] == [0.01, 0.01, 0.1, 0.1]


def test_it_goes_on_after_a_restore(tmp_path):
    points = check_points(RANDOM, [{"lr": 0.1}])
    first, second = (VariantSearch(RANDOM, 4, 7, points) for _ in range(2))
    whole = suggested(RANDOM, 4, [{"lr": 0.1}])
    assert [first.suggest("a"), first.suggest("b")] == whole[:2]
    first.save(str(tmp_path / "state"))
    second.restore(str(tmp_path / "state"))
    assert [second.suggest("c"), second.suggest("d")] == whole[2:]


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([{"lr": 1.0}], "outside of the space"),
        ([{"net": {"width": 5}}], "outside of the space"),
        ([{"lr": "x"}], "outside of the space"),
        ([{"momentum": 0.9}], "'momentum', which is not searched"),
        ([{"fixed": 3}], "not searched"),
        ([{"seed": 1}], "not searched"),
        ({"lr": 0.1}, "must be a list"),
        ([0.1], "is no config"),
        ("defaults", "must be a list"),
    ],
)
def test_points_that_are_none_are_refused(points, message):
    with pytest.raises(ValueError, match=message):
        check_points(RANDOM, points)


@pytest.mark.parametrize("searcher", [HyperOptSearch(), BasicVariantGenerator()])
def test_a_searcher_takes_its_own(searcher):
    config = tune.TuneConfig(search_alg=searcher)
    with pytest.raises(ValueError, match="points_to_evaluate"):
        make_searcher(config, dict(RANDOM), "a", "max", 1, [{"lr": 0.1}])
