from __future__ import annotations

import pytest
from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
)
from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter
from ray.tune.search.hyperopt import HyperOptSearch

from tune_seeds.engine import ray_options as options
from tune_seeds.engine.ray_options import Halving


def test_asha_is_read_as_it_stands():
    scheduler = ASHAScheduler(time_attr="t", max_t=81, grace_period=2, reduction_factor=3)
    assert options.read_scheduler(scheduler) == Halving("t", 81, 2, 3.0)
    assert options.read_scheduler(ASHAScheduler()) == Halving("training_iteration", 100, 1, 4.0)
    assert options.read_scheduler("async_hyperband") == Halving("training_iteration", 100, 1, 4.0)


@pytest.mark.parametrize("scheduler", [None, FIFOScheduler()])
def test_no_scheduler(scheduler):
    assert options.read_scheduler(scheduler) is None


@pytest.mark.parametrize(
    ("scheduler", "reason"),
    [
        (HyperBandScheduler(), "whole brackets"),
        (MedianStoppingRule(), "compares single runs"),
        (
            PopulationBasedTraining(hyperparam_mutations={"lr": [1, 2]}),
            "changes the config of a running trial",
        ),
        (ASHAScheduler(brackets=2), "brackets=1"),
        (ASHAScheduler(stop_last_trials=False), "end at max_t"),
        (ASHAScheduler(max_t=10.5, grace_period=1), "whole number"),
        (object(), "without their group"),
    ],
)
def test_schedulers_without_a_meaning_over_groups(scheduler, reason: str):
    with pytest.raises(ValueError, match=reason):
        options.read_scheduler(scheduler)


def test_metric_and_mode_may_come_from_any_place_but_must_agree():
    config = tune.TuneConfig(scheduler=ASHAScheduler(metric="acc", mode="max"))
    assert options.read_metric(config) == ("acc", "max")
    config = tune.TuneConfig(metric="acc", mode="max", scheduler=ASHAScheduler(metric="loss"))
    with pytest.raises(ValueError, match="TuneConfig says 'acc', the scheduler says 'loss'"):
        options.read_metric(config)
    with pytest.raises(ValueError, match="mode is missing"):
        options.read_metric(tune.TuneConfig(metric="acc"))
    with pytest.raises(ValueError, match="metric is missing"):
        options.read_metric(tune.TuneConfig(mode="max"))


def test_space():
    assert options.check_space({"lr": tune.uniform(0, 1)})
    assert options.check_space({"nested": {"lr": tune.grid_search([1])}})
    assert not options.check_space({"lr": 0.1})
    with pytest.raises(ValueError, match="'seed' is in param_space"):
        options.check_space({"seed": tune.randint(0, 10)})


def make(space, **kwargs):
    config = tune.TuneConfig(metric="acc", mode="max", **kwargs)
    return options.make_searcher(config, space, "acc", "max", 0)


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
    other = options.make_searcher(
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


@pytest.mark.parametrize("n", [0, -1, 2.5, True])
def test_num_samples(n):
    with pytest.raises(ValueError, match="num_samples counts configs"):
        options.check_tune_config(tune.TuneConfig(num_samples=n))


@pytest.mark.parametrize(
    "run_config",
    [
        tune.RunConfig(stop={"acc": 1}),
        tune.RunConfig(checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1)),
        tune.RunConfig(checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True)),
    ],
)
def test_run_configs_that_end_runs_elsewhere(run_config: tune.RunConfig):
    with pytest.raises(ValueError):
        options.check_run_config(run_config)
