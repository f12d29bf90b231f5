"""What search_alg and param_space become, and which can't be searched."""

from __future__ import annotations

import pytest
from ray import tune
from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter
from ray.tune.search.hyperopt import HyperOptSearch

from tune_seeds.engine.searcher import check_space, make_searcher


def test_space():
    assert check_space({"lr": tune.uniform(0, 1)})
    assert check_space({"nested": {"lr": tune.grid_search([1])}})
    assert not check_space({"lr": 0.1})
    with pytest.raises(ValueError, match="'seed' is in param_space"):
        check_space({"seed": tune.randint(0, 10)})


def make(space, **kwargs):
    config = tune.TuneConfig(metric="acc", mode="max", **kwargs)
    return make_searcher(config, space, "acc", "max", 0)


def test_grids_count_every_combination():
    space = {"a": tune.grid_search([1, 2, 3]), "b": tune.grid_search([1, 2]), "c": 5}
    searcher, constants, n = make(space)
    configs = [searcher.suggest(str(k)) for k in range(n)]
    assert n == 6 and constants == {}
    assert {(c["a"], c["b"], c["c"]) for c in configs} == {
        (a, b, 5) for a in (1, 2, 3) for b in (1, 2)
    }
    assert searcher.suggest("x") == searcher.FINISHED


def test_random_sampling_depends_on_its_seed_and_place_only(tmp_path):
    space = {"lr": tune.loguniform(1e-4, 1), "k": tune.choice(["a", "b"]), "c": 1}
    first = [make(space, num_samples=5)[0].suggest(str(k)) for k in range(1)]
    searcher = make(space, num_samples=5)[0]
    configs = [searcher.suggest(str(k)) for k in range(3)]
    assert configs[0] == first[0] and len({c["lr"] for c in configs}) == 3
    searcher.save(str(tmp_path / "state"))
    rest = [searcher.suggest(str(k)) for k in range(3, 5)]
    again = make(space, num_samples=5)[0]
    again.restore(str(tmp_path / "state"))
    assert [again.suggest(str(k)) for k in range(3, 5)] == rest
    other = make_searcher(
        tune.TuneConfig(metric="acc", mode="max", num_samples=5), space, "acc", "max", 1
    )[0]
    assert other.suggest("0") != configs[0]


def test_a_searcher_gets_the_space_and_constants_join_its_configs():
    space = {"lr": tune.uniform(0, 1), "batch": 32, "nested": {"a": tune.uniform(0, 1), "b": 2}}
    _, constants, n = make(space, search_alg=HyperOptSearch(), num_samples=7)
    assert n == 7 and constants == {"batch": 32, "nested": {"b": 2}}
    limited, _, _ = make(space, search_alg=ConcurrencyLimiter(HyperOptSearch(), 2))
    assert limited.suggest("0") is not None


@pytest.mark.parametrize(
    ("space", "kwargs", "message"),
    [
        ({}, {}, "nothing to tune"),
        ({"lr": 0.1}, {"search_alg": HyperOptSearch()}, "nothing to tune"),
        ({"a": tune.grid_search([1, 2])}, {"num_samples": 3}, "same grid 3 times"),
        ({"a": tune.uniform(0, 1)}, {"search_alg": BasicVariantGenerator()}, "search_seed"),
        (
            {"a": tune.uniform(0, 1)},
            {"search_alg": HyperOptSearch({"b": tune.uniform(0, 1)}, metric="acc", mode="max")},
            "a space of its own",
        ),
        ({"a": tune.grid_search([1, 2])}, {"search_alg": HyperOptSearch()}, "Grid search"),
    ],
)
def test_spaces_that_cannot_be_searched(space, kwargs, message: str):
    with pytest.raises(ValueError, match=message):
        make(space, **kwargs)
