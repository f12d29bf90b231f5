"""Studies that begin with what another one found, and that end when nothing is to be gained."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import tiny
from made_study import make_study
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.hyperopt import HyperOptSearch

from tune_seeds import SeedResults, SeedTuner

SPACE = {"x": tune.uniform(0.0, 1.0)}


def tuner(storage: str, name: str, *, n: int = 6, scheduler: bool = True, **kwargs: Any):
    asha = ASHAScheduler(time_attr="t", max_t=4, grace_period=1, reduction_factor=2)
    alg = HyperOptSearch(random_state_seed=0, n_initial_points=3)
    return SeedTuner(
        tiny.walk,
        seeds=[47, 881],
        param_space=copy.deepcopy(SPACE),
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=n,
            search_alg=kwargs.pop("search_alg", alg),
            scheduler=asha if scheduler else None,
        ),
        run_config=tune.RunConfig(name=name, storage_path=storage),
        **kwargs,
    )


@pytest.mark.usefixtures("ray_session")
def test_a_study_that_knows_another_begins_where_that_one_ended(storage: str):
    first = tuner(storage, "first").fit()
    second = tuner(storage, "second", n=4, warm_start=first).fit()
    assert second.completeness.finished and len(second.groups) == 4, "none of them is counted"
    known = {config["x"] for config in first.ledger.configs.values()}
    assert not known & {config["x"] for config in second.ledger.configs.values()}
    assert f"told first of 6 configs of {first.path}" in str(second)
    record = json.loads(second.to_json())["study"]["warm_start"]
    assert record == {"path": first.path, "n_configs": 6, "n_left_out": 0}
    # A restore tells the searcher again, though the first study is gone by then.
    grown = SeedTuner.restore(second.path, tiny.walk, num_samples=5).fit()
    assert len(grown.groups) == 5


@pytest.mark.usefixtures("ray_session")
def test_a_study_ends_when_a_training_is_expected_to_add_too_little(storage: str):
    results = tuner(storage, "enough", n=20, stop_when=100.0, search_alg=None).fit()
    assert results.completeness.finished and len(results.groups) < 20
    assert "less than stop_when=100" in str(results)
    assert len(results.race.finalists) >= 3
    assert SeedResults(results.path).header.stop_when == 100.0
    grown = SeedTuner.restore(results.path, tiny.walk, num_samples=21).fit()
    assert len(grown.groups) == 21, "who asks for more gets it"


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no experiment": ({"warm_start": "nowhere"}, "holds no study.json"),
    "no path": ({"warm_start": 3}, "warm_start must be a path"),
    "empty": ({"warm_start": ""}, "warm_start must be a path"),
    "random sampling": ({"search_alg": None}, "random sampling and grids learn nothing"),
    "no number": ({"stop_when": "0.1"}, "stop_when must be a"),
    "not above zero": ({"stop_when": 0}, "stop_when must be above 0"),
    "without a forecast": ({"stop_when": 0.1, "scheduler": False}, "needs the forecast"),
    "with a ladder": ({"stop_when": 0.1, "seeds_per_rung": "ladder"}, "needs the forecast"),
}


@pytest.mark.parametrize(("given", "message"), WRONG.values(), ids=list(WRONG))
def test_what_can_not_be_is_said_before_anything_starts(
    tmp_path: Path, given: dict[str, Any], message: str
):
    made = make_study(tmp_path / "made", [{"x": 0.5}], lambda c, seed, epoch: 0.5)
    arguments = {"warm_start": made, **given}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        tuner(str(tmp_path), "never", **arguments)
    assert not (tmp_path / "never").exists()
