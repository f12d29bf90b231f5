from __future__ import annotations

import math

import numpy as np
import pytest
from hyperopt import hp
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from ray import tune
from ray.tune.search.hyperopt import HyperOptSearch
from ray.tune.search.optuna import OptunaSearch

from tune_seeds.views.tensorboard.domains import Options, Range, of_searcher, of_space


def test_a_space_of_rays():
    space = {
        "lr": tune.loguniform(1e-4, 1e-1),
        "net": {"depth": tune.randint(1, 5), "kind": tune.choice(["a", {"b": 1}])},
        "grid": tune.grid_search([1, 2]),
        "noise": tune.randn(),
        "computed": tune.sample_from(lambda spec: 1),
        "constant": 3,
    }
    assert of_space(space) == {
        "lr": Range(1e-4, 1e-1),
        "net/depth": Range(1, 4),
        "net/kind": Options(("a", {"b": 1})),
        "grid": Options((1, 2)),
        "noise": None,
        "computed": None,
    }


def test_hyperopts_own_space_is_read_through_its_choices():
    space = {
        "lr": hp.loguniform("lr", math.log(1e-4), math.log(1e-1)),
        "width": hp.randint("width", 3, 9),
        "layers": hp.randint("layers", 4),
        "steps": hp.uniformint("steps", 1, 5),
        "noise": hp.normal("noise", 0, 1),
        "size": hp.pchoice("size", [(0.2, 8), (0.8, 16)]),
        "optimizer": hp.choice(
            "optimizer",
            [
                {"name": "sgd", "momentum": hp.uniform("momentum", 0, 1)},
                {"name": "adam", "momentum": hp.quniform("b1", 0.5, 2, 0.1), "eps": 1e-8},
            ],
        ),
        "shape": [hp.uniform("first", 0, 1), 2],
    }
    searcher = HyperOptSearch(space, metric="score", mode="max")
    found = of_searcher(searcher)
    assert found is not None
    lr = found.pop("lr")
    assert isinstance(lr, Range)
    np.testing.assert_allclose([lr.low, lr.high], [1e-4, 1e-1])
    assert found == {
        "width": Range(3, 8),
        "layers": Range(0, 3),
        "steps": Range(1, 5),
        "noise": None,
        "size": Options((8, 16)),
        "optimizer/name": Options(("sgd", "adam")),
        "optimizer/momentum": Range(0, 2),
        "optimizer/eps": Options((1e-8,)),
        "shape": None,
    }


def test_optunas_own_space_is_read_where_it_is_a_dict():
    space = {
        "lr": FloatDistribution(1e-4, 1e-1, log=True),
        "net/depth": IntDistribution(1, 4),
        "kind": CategoricalDistribution(["a", None]),
    }
    searcher = OptunaSearch(space=space, metric="score", mode="max")
    assert of_searcher(searcher) == {
        "lr": Range(1e-4, 1e-1),
        "net/depth": Range(1, 4),
        "kind": Options(("a", None)),
    }


@pytest.mark.parametrize(
    "searcher",
    [
        None,
        HyperOptSearch(),
        OptunaSearch(),
        OptunaSearch(space=lambda trial: None, metric="score", mode="max"),
    ],
)
def test_what_has_no_readable_space(searcher):
    assert of_searcher(searcher) is None
