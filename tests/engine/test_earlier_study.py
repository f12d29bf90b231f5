"""A searcher is told what an earlier study found, before it suggests anything."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from made_study import make_study
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Searcher
from ray.tune.search.hyperopt import HyperOptSearch
from ray.tune.search.optuna import OptunaSearch

from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung, build_rungs
from tune_seeds.engine.earlier_study import EarlierStudy
from tune_seeds.engine.searched_space import SearchedSpace
from tune_seeds.engine.searcher import make_searcher
from tune_seeds.statistics.aggregate import get_aggregate
from tune_seeds.store.directory import ExperimentDir

SEARCHERS = {
    "hyperopt": lambda **kw: HyperOptSearch(random_state_seed=0, n_initial_points=5, **kw),
    "limited": lambda **kw: ConcurrencyLimiter(HyperOptSearch(random_state_seed=0, **kw), 2),
    "optuna": lambda **kw: OptunaSearch(seed=0, **kw),
}

SPACE = {
    "lr": tune.loguniform(1e-4, 1.0),
    "model": {"width": tune.randint(1, 100), "act": tune.choice([int, float])},
    "epochs": 9,
}


def config(k: int, **changes: Any) -> dict[str, Any]:
    return {
        "lr": 10 ** -(k % 4 + 0.5),
        "model": {"width": 1 + 7 * k, "act": (int, float)[k % 2]},
        "epochs": 9,
        **changes,
    }


def quality(one: Any, seed: int = 47, epoch: int = 1) -> float:
    return 1 - abs(math.log10(one["lr"]) + 2) / 4 + 0.01 * epoch + 1e-4 * (seed % 7)


def earlier(path: Path, configs: list[dict[str, Any]], **kwargs: Any) -> EarlierStudy:
    rungs = build_rungs((1, 3, 9), 3, "ladder")
    made = make_study(path, configs, quality, rungs=rungs, **kwargs)
    measure = Metric("score", kwargs.get("mode", "max"))
    return EarlierStudy.read(ExperimentDir.at(made), measure, Rung(1, 1), get_aggregate("mean"))


def told(searcher: Any) -> list[float]:
    """What a searcher has on record, best first, in the metric's own direction."""
    inner = searcher.searcher if isinstance(searcher, ConcurrencyLimiter) else searcher
    if isinstance(inner, OptunaSearch):
        return sorted(
            (t.value for t in inner._ot_study.trials if t.value is not None), reverse=True
        )
    losses = [loss for loss in inner._hpopt_trials.losses() if loss is not None]
    return sorted((inner.metric_op * loss for loss in losses), reverse=True)


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("kind", SEARCHERS)
def test_a_searcher_knows_every_config_that_fits(tmp_path: Path, kind: str, mode: str):
    configs = [config(k) for k in range(12)]
    found = earlier(tmp_path / "a", configs, mode=mode).within(SearchedSpace.of(SPACE))
    assert len(found.configs) == 12 and found.n_left_out == 0
    tuning = tune.TuneConfig(search_alg=SEARCHERS[kind](), num_samples=5)
    searcher, _, n = make_searcher(tuning, SPACE, "score", mode, 0, (), found)
    assert n == 5, "none of them is counted"
    assert told(searcher) == sorted(found.values, reverse=True)
    assert sorted(found.values) == sorted(quality(one) for one in configs)
    again, _, _ = make_searcher(tuning, SPACE, "score", mode, 0, (), found)
    for k in range(8):
        suggested = searcher.suggest(f"new{k}")
        assert suggested == again.suggest(f"new{k}"), "a restore tells the same again"
        made = SearchedSpace.of(SPACE).config(suggested)
        assert made not in configs, "they are not suggested again"
        for one in (searcher, again):
            one.on_trial_complete(f"new{k}", {"score": quality(made), "training_iteration": 1})


@pytest.mark.parametrize("kind", ["hyperopt", "optuna"])
def test_what_was_told_steers_the_first_suggestions(tmp_path: Path, kind: str):
    space = {"lr": tune.loguniform(1e-4, 1.0)}
    configs = [{"lr": 10 ** (-4 * k / 39)} for k in range(40)]
    found = earlier(tmp_path / "a", configs).within(SearchedSpace.of(space))

    def mean_quality(known: EarlierStudy | None) -> float:
        values: list[float] = []
        for seed in range(10):
            alg = HyperOptSearch(random_state_seed=seed, n_initial_points=5)
            alg = OptunaSearch(seed=seed) if kind == "optuna" else alg
            tuning = tune.TuneConfig(search_alg=alg)
            searcher, _, _ = make_searcher(tuning, space, "score", "max", 0, (), known)
            values += [quality(searcher.suggest(f"{k}")) for k in range(4)]
        return sum(values) / len(values)

    # Of 40 uniform draws of log10(lr) the mean is 0.76 ± 0.023; the best possible is 1.01.
    assert mean_quality(None) < 0.76 + 2 * 0.023 < mean_quality(found)


def test_points_of_the_users_own_come_next(tmp_path: Path):
    found = earlier(tmp_path / "a", [config(k) for k in range(4)]).within(SearchedSpace.of(SPACE))
    mine = {"lr": 0.5, "model": {"width": 50, "act": float}}
    for kind in ("hyperopt", "optuna"):
        tuning = tune.TuneConfig(search_alg=SEARCHERS[kind](points_to_evaluate=[mine]))
        searcher, _, _ = make_searcher(tuning, SPACE, "score", "max", 0, (), found)
        assert SearchedSpace.of(SPACE).config(searcher.suggest("new")) == {**mine, "epochs": 9}


ODD = {
    "lr below the range": {"lr": 1e-6},
    "lr is text": {"lr": "0.1"},
    "upper bound of randint": {"model": {"width": 100, "act": int}},
    "unknown choice": {"model": {"width": 5, "act": str}},
    "other constant": {"epochs": 3},
    "another hyperparameter": {"momentum": 0.9},
    "a hyperparameter less": {"model": {"width": 5}},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=list(ODD))
def test_what_the_space_does_not_hold_is_left_out(tmp_path: Path, odd: dict[str, Any]):
    configs = [config(0), {**config(1), **odd}]
    path = tmp_path / "a"
    made = make_study(path, configs, lambda c, seed, epoch: 0.5, rungs=(Rung(1, 1),), seeds=(47,))
    read = EarlierStudy.read(
        ExperimentDir.at(made), Metric("score", "max"), Rung(1, 1), get_aggregate("mean")
    )
    found = read.within(SearchedSpace.of(SPACE))
    assert found.configs == (configs[0],) and found.n_left_out == 1
    only = EarlierStudy(str(path), (configs[1],), (0.5,), 0)
    with pytest.raises(ValueError, match="holds none of the 1 configs"):
        only.within(SearchedSpace.of(SPACE))


def test_values_are_on_the_scale_of_the_new_studys_lowest_rung(tmp_path: Path):
    """Curves that rise: a score of nine epochs would make each config look better than any new."""
    configs = [{"lr": 10 ** -(1 + k / 4)} for k in range(9)]
    rungs = build_rungs((1, 3, 9), 3, "ladder")
    made = make_study(tmp_path / "a", configs, quality, rungs=rungs)
    for first in (Rung(1, 1), Rung(3, 1), Rung(1, 2)):
        found = EarlierStudy.read(
            ExperimentDir.at(made), Metric("score", "max"), first, get_aggregate("mean")
        )
        seeds = (47, 881)[: first.n_seeds]
        at_rung = [
            sum(quality(c, seed, first.epochs) for seed in seeds) / len(seeds)
            for c in found.configs
        ]
        assert sorted(found.values) == pytest.approx(sorted(at_rung))
        assert len(found.configs) + found.n_left_out == 9
    with pytest.raises(ValueError, match=r"no config of .* has a score at 20x1"):
        EarlierStudy.read(
            ExperimentDir.at(made), Metric("score", "max"), Rung(20, 1), get_aggregate("mean")
        )


def test_failed_configs_are_left_out(tmp_path: Path):
    def train(one: Any, seed: int, epoch: int) -> float | Exception:
        return ValueError("no") if one["lr"] > 0.1 else quality(one, seed, epoch)

    rungs = build_rungs((1, 3), 2, "ladder")
    configs = [{"lr": 0.5}, {"lr": 0.05}, {"lr": 0.01}]
    made = make_study(tmp_path / "a", configs, train, rungs=rungs, seeds=(47, 881))
    found = EarlierStudy.read(
        ExperimentDir.at(made), Metric("score", "max"), Rung(1, 1), get_aggregate("mean")
    )
    assert found.n_left_out == 1 and {c["lr"] for c in found.configs} == {0.05, 0.01}


@pytest.mark.parametrize(
    "measure", [Metric("acc", "max"), Metric("score", "min"), Metric("score", "max", "best")]
)
def test_a_study_of_something_else_is_refused(tmp_path: Path, measure: Metric):
    made = make_study(tmp_path / "a", [{"x": 1}], lambda c, seed, epoch: 0.5)
    with pytest.raises(ValueError, match=r"warm_start: .* does not compare"):
        EarlierStudy.read(ExperimentDir.at(made), measure, Rung(1, 1), get_aggregate("mean"))


class Stubborn(Searcher):
    """Takes any space and suggests what it likes."""

    def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, Any]:
        return {"lr": 0.123}

    def on_trial_complete(self, *args: Any, **kwargs: Any) -> None: ...


def test_who_can_not_be_told_is_refused(tmp_path: Path):
    found = earlier(tmp_path / "a", [config(0)])
    space = {"lr": tune.uniform(0, 1)}
    one = EarlierStudy("a", ({"lr": 0.5},), (0.5,), 0)
    cases: list[tuple[Any, str]] = [
        (None, "random sampling and grids learn nothing"),
        (OptunaSearch(space={"lr": tune.uniform(0, 1)}, metric="score", mode="max"), "of its own"),
        (Stubborn(), "does not suggest the configs of points_to_evaluate first"),
    ]
    for alg, message in cases:
        with pytest.raises(ValueError, match=message):
            make_searcher(tune.TuneConfig(search_alg=alg), dict(space), "score", "max", 0, (), one)
    assert found.record == {"path": str(tmp_path / "a"), "n_configs": 1, "n_left_out": 0}
