"""Studies that are restored with more than before, on real Ray."""

from __future__ import annotations

import copy
from pathlib import Path

import lightning
import pytest
import tiny
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from tune_seeds import LightningTrainer, SeedResults, SeedTuner
from tune_seeds.store.study_spec import Header

pytestmark = pytest.mark.usefixtures("ray_session")

SPACE = {"lr": tune.uniform(0.01, 0.1), "width": tune.grid_search([2, 4])}


def trainer(max_epochs: int) -> LightningTrainer:
    return LightningTrainer(
        tiny.TinyModule, tiny.TinyData, trainer_kwargs={"max_epochs": max_epochs}
    )


def begin(storage: str, name: str, seeds: list[int], num_samples: int, max_epochs: int):
    return SeedTuner(
        trainer(max_epochs),
        seeds=seeds,
        param_space=copy.deepcopy(SPACE),
        tune_config=tune.TuneConfig(metric="val/loss", mode="min", num_samples=num_samples),
        run_config=tune.RunConfig(name=name, storage_path=storage),
        search_seed=3,
    ).fit()


def scores(results: SeedResults) -> dict[str, dict[int, float]]:
    top = results.header.rungs[-1]
    return {
        str(sorted(results.ledger.configs[name].items())): group.values[top]
        for name, group in results.race.groups.items()
    }


def test_a_study_grown_three_times_ends_as_one_asked_for_all_at_once(storage: str):
    results = begin(storage, "grown", [47], 1, 2)
    path = results.path
    results = SeedTuner.restore(path, trainer(2), num_samples=2).fit()
    assert len(results.groups) == 4 and results.completeness.finished
    results = SeedTuner.restore(path, trainer(2), seeds=[47, 881]).fit()
    assert (results.groups["n_seeds"] == 2).all()
    tuner = SeedTuner.restore(path, trainer(4), max_t=4)
    assert tuner.seeds == (47, 881)
    results = tuner.fit()
    at_once = begin(storage, "at_once", [47, 881], 2, 4)
    assert scores(results) == scores(at_once), "bit for bit"
    reports = [len(run.reports) for run in results.ledger.values()]
    assert reports == [4] * 8, "nothing was trained twice"
    trials = sorted(len(list(Path(run_dir).glob("checkpoint_*"))) for run_dir in results.runs.path)
    assert max(trials) <= 2
    assert [list(growth.asked) for growth in results.growths] == [
        ["num_samples"],
        ["seeds"],
        ["max_t"],
    ]
    assert "4 configs" in str(results) and "epochs 2 to 4" in str(results)


def test_a_raced_study_goes_on_with_more_of_everything(storage: str):
    results = SeedTuner(
        tiny.walk,
        seeds=[1, 2],
        param_space={"x": tune.uniform(0, 1), "steps": 8},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=4,
            scheduler=ASHAScheduler(time_attr="t", max_t=4, reduction_factor=2),
        ),
        run_config=tune.RunConfig(name="raced", storage_path=storage),
        n_finalists=1,
    ).fit()
    known = {key: dict(run.curve) for key, run in results.ledger.items()}
    grown = SeedTuner.restore(
        results.path, tiny.walk, num_samples=6, seeds=3, max_t=8, n_finalists=2, time_budget_s=600
    ).fit()
    assert grown.completeness.finished and grown.completeness.n_complete >= 2
    assert str(grown.best.rung) == "8x3" and len(grown.groups) == 6
    for key, run in grown.ledger.items():
        assert run.curve.items() >= known.get(key, {}).items()
        x = grown.ledger.configs[key.group]["x"]
        assert list(run.curve.values()) == tiny.walked(x, key.seed, len(run.curve))
    again = SeedTuner.restore(results.path, tiny.walk)
    assert again.seeds == grown.seeds
    assert again.fit().groups.equals(grown.groups)
    assert Header.read(grown.directory).seeds == (1, 2), "what it was begun with stays on record"


class OtherModule(tiny.TinyModule):
    def configure_optimizers(self):
        return super().configure_optimizers()


class Unrelated(lightning.LightningModule):
    pass


def test_what_must_stay_is_refused_by_name_and_nothing_is_written(storage: str):
    results = begin(storage, "kept", [1, 2], 1, 2)
    journal = Path(results.path, "ledger.jsonl")
    before = journal.read_bytes()
    same = trainer(2)
    data, kwargs = tiny.TinyData, {"max_epochs": 2}
    refusals = [
        ({"num_samples": 0}, same, "num_samples"),
        ({"seeds": [1]}, same, "begin with"),
        ({"seeds": [2, 1, 3]}, same, "begin with"),
        ({"seeds": 1}, same, "seeds=1 is less"),
        ({"max_t": 1}, trainer(1), "max_t=1 is less"),
        ({"max_t": 4}, same, "max_epochs=2"),
        ({}, trainer(4), "max_epochs was 2 and is 4"),
        ({"n_finalists": 1}, same, "n_finalists=1 is less"),
        ({}, LightningTrainer(OtherModule, data, trainer_kwargs=kwargs), "module has changed"),
        ({}, LightningTrainer(tiny.TinyModule, data, trainer_kwargs=kwargs, cpus=2), "cpus was 1"),
        ({"allow_changes": ["lr"]}, same, "allow_changes names"),
    ]
    for arguments, trainable, message in refusals:
        with pytest.raises(ValueError, match=message):
            SeedTuner.restore(results.path, trainable, **arguments)
    assert journal.read_bytes() == before

    other = LightningTrainer(OtherModule, data, trainer_kwargs=kwargs)
    allowed = SeedTuner.restore(results.path, other, allow_changes=["module"]).fit()
    assert [growth.changes for growth in allowed.growths] == [("module",)]
    assert "module" in str(allowed)
    SeedTuner.restore(results.path, other)
    with pytest.raises(ValueError, match="module has changed"):
        SeedTuner.restore(results.path, same)
