"""What a run is worth at a rung: its last value, its best so far, or the mean of its last ones."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_study import make_study
from ray import tune

from tune_seeds import SeedResults, SeedTuner
from tune_seeds.core.ledger import Ledger, RunKey
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.rebuild.race import new_race, rebuild
from tune_seeds.store.study_spec import Header

#: Rises and falls again.
VALUES = (0.2, 0.9, 0.4, 0.5, 0.1)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ("last", [0.2, 0.9, 0.4, 0.5, 0.1]),
        ("best", [0.2, 0.9, 0.9, 0.9, 0.9]),
        ("mean_of_last:1", [0.2, 0.9, 0.4, 0.5, 0.1]),
        ("mean_of_last:2", [0.2, 0.55, 0.65, 0.45, 0.3]),
        ("mean_of_last:9", [0.2, 0.55, 0.5, 0.5, 0.42]),
    ],
)
@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_runs_worth_at_each_epoch(score: str, expected: list[float], mode: str):
    sign = 1 if mode == "max" else -1
    ledger = Ledger([7], Metric("m", mode, score))
    ledger.add_group("g", {})
    key = RunKey("g", 7)
    for epoch, value in enumerate(VALUES, start=1):
        ledger.record(key, epoch, {"m": sign * value, "other": 1.0})
        ledger.record(key, max(1, epoch - 1), {"m": 99.0})  # repeated after a resume
        got = ledger.values_at("g", Rung(epoch, 1))
        assert got == pytest.approx((expected[epoch - 1],))
        assert ledger.metric.own(got[0]) == pytest.approx(sign * expected[epoch - 1])
    assert ledger[key].reports[2]["m"] == sign * 0.9


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.sampled_from(["min", "max"]))
def test_the_best_is_the_best_in_the_metrics_own_direction(values: list[float], mode: str):
    metric = Metric("m", mode, "best")
    best = max(values) if mode == "max" else min(values)
    assert metric.own(metric.worth(values)) == best


def test_a_run_that_has_diverged_is_worth_nothing():
    for score in ("last", "best", "mean_of_last:3"):
        assert math.isnan(Metric("m", "max", score).worth([1.0, math.nan]))
        assert Metric("m", "max", score).worth([1.0, -math.inf]) == -math.inf


def rises_then_falls(config, seed, epoch):
    return config["x"] if epoch == 2 else config["y"]


CONFIGS = [{"x": 0.9, "y": 0.1}, {"x": 0.5, "y": 0.5}]


@pytest.mark.parametrize("score", ["last", "best", "mean_of_last:2"])
@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.slow
def test_race_results_and_restore_agree(tmp_path: Path, score: str, mode: str):
    sign = 1 if mode == "max" else -1
    path = make_study(
        tmp_path,
        CONFIGS,
        lambda config, seed, epoch: sign * rises_then_falls(config, seed, epoch),
        rungs=(Rung(1, 3), Rung(3, 3)),
        mode=mode,
        score=score,
        n_finalists=2,
    )
    results = SeedResults(path)
    expected = {"last": (1, 0.5), "best": (0, 0.9), "mean_of_last:2": (0, 0.5)}[score]
    assert results.best.config == CONFIGS[expected[0]]
    assert results.best.score == pytest.approx(sign * expected[1])
    assert list(results.best.scores.values()) == pytest.approx([sign * expected[1]] * 3)
    title = {"last": "score (", "best": "best score so far (", "mean_of_last:2": "last 2 score ("}
    assert title[score] in str(results).splitlines()[0]
    document = json.loads(results.to_json())
    assert document["study"]["score"] == score
    assert document["best"]["score"] == pytest.approx(sign * expected[1])
    directory = ExperimentDir.at(path)
    header = Header.read(directory)
    race = new_race(header)
    rebuild(race, directory)
    assert race.finalists[0] == results.best.group and header.score == score


def test_rungs_in_steps_are_called_so(tmp_path: Path):
    path = make_study(tmp_path, CONFIGS, rises_then_falls)
    assert "rungs (epochs x seeds) 1x3" in str(SeedResults(path))
    file = tmp_path / "study.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "time_attr": "step"}))
    assert "rungs (steps x seeds) 1x3" in str(SeedResults(path))


def test_a_header_of_before_says_last(tmp_path: Path):
    path = make_study(tmp_path, CONFIGS, rises_then_falls)
    file = tmp_path / "study.json"
    data = json.loads(file.read_text())
    del data["score"]
    file.write_text(json.dumps(data))
    assert Header.read(ExperimentDir.at(path)).score == "last"


@pytest.mark.parametrize(
    "score", ["Best", "", "mean_of_last", "mean_of_last:0", "mean_of_last:x", 3]
)
def test_no_other_score(score):
    with pytest.raises(ValueError, match="score must be"):
        SeedTuner(
            lambda config: None,
            seeds=[1],
            param_space={"x": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(metric="m", mode="max"),
            score=score,
        )
