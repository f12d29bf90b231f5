"""Scripts that go on with Ray's ``ResultGrid`` after the fit."""

from __future__ import annotations

import dataclasses
import inspect
import math
from pathlib import Path

import pytest
from made_study import make_study
from ray.air.result import Result
from ray.tune import ResultGrid

from tune_seeds import GroupResult, SeedResults
from tune_seeds.core.rungs import Rung

SEEDS = (47, 881, 123456789)
CONFIGS = [{"x": k} for k in range(5)]


def train(config, seed, epoch):
    return config["x"] + SEEDS.index(seed) / 100 + epoch


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> SeedResults:
    path = tmp_path_factory.mktemp("ray") / "s"
    return SeedResults(make_study(path, CONFIGS, train, rungs=(Rung(1, 1), Rung(3, 3))))


def public(kind: type) -> list[str]:
    fields = [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    names = {*fields, *(name for name, _ in inspect.getmembers(kind))}
    return sorted(name for name in names if not name.startswith("_"))


@pytest.mark.parametrize("name", public(ResultGrid))
def test_each_word_of_the_result_grid_is_there(results: SeedResults, name: str):
    value = getattr(results, name)
    if callable(value):
        ours, rays = inspect.signature(value), inspect.signature(getattr(ResultGrid, name))
        assert list(ours.parameters) == [p for p in rays.parameters if p != "self"]


@pytest.mark.parametrize("name", public(Result))
def test_each_word_of_a_result_works_or_says_what_to_write(results: SeedResults, name: str):
    try:
        value = getattr(results.best, name)
        if callable(value):
            value("score", "max")
    except AttributeError as error:
        assert "write " in str(error)


def test_iteration_is_the_ranking(results: SeedResults):
    names = [result.group for result in results]
    assert names == list(results.groups["group"]) and len(results) == len(CONFIGS) == len(names)
    assert results[0] == results.group(results.best.group) and results[-1].group == names[-1]
    assert [r.config["x"] for r in results] == [4, 3, 2, 1, 0]
    assert all(isinstance(result, GroupResult) for result in results)
    with pytest.raises(IndexError):
        results[len(CONFIGS)]
    for wrong in ("g0001", 1.0, True, None):
        with pytest.raises(TypeError, match="group"):
            results[wrong]
    with pytest.raises(KeyError, match="no group 'best'"):
        results.group("best")


def test_metrics_are_means_at_the_rung(results: SeedResults):
    for result in results:
        if not math.isnan(result.score):
            assert result.metrics["score"] == pytest.approx(result.mean)
            frame = result.metrics_dataframe
            at = frame[frame["epoch"] == result.rung.epochs]
            assert set(at["seed"]) == set(result.scores)
            assert dict(zip(at["seed"], at["score"], strict=True)) == result.scores


def test_the_best_result_is_the_best(results: SeedResults):
    assert results.get_best_result() == results.get_best_result("score", "max") == results.best
    for wrong in (
        {"metric": "loss"},
        {"mode": "min"},
        {"scope": "all"},
        {"filter_nan_and_inf": False},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            results.get_best_result(**wrong)


def test_the_dataframe_has_a_row_for_each_run(results: SeedResults):
    frame = results.get_dataframe()
    started = [key for key, run in results.ledger.items() if run.reports]
    assert list(zip(frame["group"], frame["config/seed"], strict=True)) == started
    assert set(frame["config/x"]) == set(range(5))
    lowest = results.get_dataframe("score", "min")
    assert set(lowest["epoch"]) == {1} and set(frame["epoch"]) >= {3}
    assert results.get_dataframe("score")["score"].equals(frame["score"])  # rises with the epoch
    for wrong in (("loss", "min"), (None, "min"), ("score", "best")):
        with pytest.raises(ValueError):
            results.get_dataframe(*wrong)


def test_a_study_of_one_seed_has_the_checkpoint_of_a_config(tmp_path: Path):
    path = make_study(tmp_path / "one", CONFIGS, train, seeds=(47,))
    assert SeedResults(path).best.checkpoint is None  # it made none
    assert SeedResults(path).best.path.endswith("-47")


def test_a_failed_seed_is_not_averaged_away(tmp_path: Path):
    def fails(config, seed, epoch):
        return math.nan if seed == 881 and config["x"] == 4 else train(config, seed, epoch)

    for words, defined in (("worst", False), ("drop", True)):
        path = make_study(tmp_path / words, CONFIGS, fails, on_seed_failure=words)
        result = next(r for r in SeedResults(path) if r.config["x"] == 4)
        assert "881" in (result.error or "")
        assert math.isfinite(result.metrics.get("score", math.nan)) is defined
