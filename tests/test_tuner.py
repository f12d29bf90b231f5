from __future__ import annotations

import json
import pickle
import statistics
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import tiny
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import Searcher
from ray.tune.search.hyperopt import HyperOptSearch
from ray.tune.search.optuna import OptunaSearch

from tune_seeds import (
    LightningTrainer,
    MetricNotFoundError,
    NoCompleteGroupError,
    RungMissedError,
    SeedResults,
    SeedTuner,
)
from tune_seeds.core.ledger import RunKey
from tune_seeds.engine.search import SEARCH_STATE
from tune_seeds.engine.search_feedback import lessons

pytestmark = pytest.mark.usefixtures("ray_session")


class Recorder(Searcher):
    """Passes everything on to a searcher and keeps what it was told."""

    def __init__(self, inner: Searcher, file: str):
        super().__init__()
        self._inner = inner
        self._file = file

    def _note(self, *what: Any) -> None:
        with open(self._file, "a") as stream:
            print(json.dumps(what), file=stream)

    def set_search_properties(self, metric, mode, config, **spec):
        return self._inner.set_search_properties(metric, mode, config, **spec)

    def suggest(self, trial_id):
        config = self._inner.suggest(trial_id)
        self._note("suggest", trial_id, config)
        return config

    def on_trial_complete(self, trial_id, result=None, error=False):
        self._note("complete", trial_id, result, error)
        self._inner.on_trial_complete(trial_id, result, error)

    def save(self, checkpoint_path):
        self._inner.save(checkpoint_path)

    def restore(self, checkpoint_path):
        self._inner.restore(checkpoint_path)


def tune_walk(storage: str, name: str = "walk", function=tiny.walk, **kwargs: Any) -> SeedTuner:
    arguments: dict[str, Any] = {
        "seeds": tiny.SEEDS,
        "param_space": {"x": tune.uniform(0, 1)},
        "tune_config": tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=6,
            scheduler=ASHAScheduler(time_attr="t", max_t=4, reduction_factor=2),
        ),
        "run_config": tune.RunConfig(name=name, storage_path=storage),
        "search_seed": 1,
        "n_finalists": 2,
    }
    arguments.update(kwargs)
    return SeedTuner(function, **arguments)


def ray_records(path: str) -> list[dict[str, Any]]:
    """Each trial's config and results, as Ray itself wrote them."""
    records = []
    for params in sorted(Path(path).glob("*/params.json")):
        lines = (params.parent / "result.json").read_text().splitlines()
        records.append(
            {"config": json.loads(params.read_text()), "results": [json.loads(x) for x in lines]}
        )
    return records


@pytest.fixture(scope="module")
def lightning_study(tmp_path_factory: pytest.TempPathFactory, ray_session: None):
    """HyperOpt and ASHA over groups of a Lightning training; (results, what the searcher heard)."""
    folder = tmp_path_factory.mktemp("lightning")
    heard = folder / "heard.jsonl"
    tuner = SeedTuner(
        LightningTrainer(tiny.TinyModule, tiny.TinyData, trainer_kwargs={"max_epochs": 4}),
        seeds=tiny.SEEDS,
        param_space={"lr": tune.loguniform(1e-4, 1e-1), "batch_size": tune.choice([8, 16])},
        tune_config=tune.TuneConfig(
            metric="val/loss",
            mode="min",
            num_samples=7,
            search_alg=Recorder(HyperOptSearch(random_state_seed=0), str(heard)),
            scheduler=ASHAScheduler(max_t=4, reduction_factor=2),
        ),
        run_config=tune.RunConfig(name="study", storage_path=str(folder)),
        seeds_per_rung=[1, 2, 3],
        n_finalists=2,
        keep_checkpoints="all",
    )
    results = tuner.fit()
    return results, [json.loads(line) for line in heard.read_text().splitlines()]


def test_finished_groups_ran_exactly_the_declared_seeds(lightning_study):
    results, _ = lightning_study
    by_config: dict[tuple, list[tuple[int, int]]] = {}
    for record in ray_records(results.path):
        config = record["config"]
        key = (config["lr"], config["batch_size"])
        by_config.setdefault(key, []).append((config["seed"], record["results"][-1]["epoch"]))
    assert len(by_config) == 7
    complete = results.groups[results.groups["state"] == "complete"]
    assert len(complete) >= 2
    for _, row in complete.iterrows():
        runs = by_config[(row["config/lr"], row["config/batch_size"])]
        assert sorted(runs) == sorted((seed, 4) for seed in tiny.SEEDS)
    for runs in by_config.values():
        seeds = [seed for seed, _ in runs]
        assert len(set(seeds)) == len(seeds)
        assert set(seeds) == set(tiny.SEEDS[: len(seeds)]), "seeds are taken in their order"


def test_an_unknown_searcher_hears_one_final_score_per_config_and_never_a_seed(lightning_study):
    results, heard = lightning_study
    suggested = {name: config for kind, name, config, *_ in heard if kind == "suggest"}
    told = [what[1:] for what in heard if what[0] == "complete"]
    assert len(suggested) == 7 and all("seed" not in config for config in suggested.values())
    assert sorted(name for name, *_ in told) == sorted(suggested)
    records = ray_records(results.path)
    for name, result, error in told:
        assert not error
        values = [
            line["val/loss"]
            for record in records
            for line in record["results"]
            if record["config"]["lr"] == suggested[name]["lr"]
            and record["config"]["seed"] in tiny.SEEDS[: result["n_seeds"]]
            and line["epoch"] == result["epoch"]
        ]
        assert len(values) == result["n_seeds"]
        assert result["val/loss"] == np.mean(values)


@pytest.mark.versions
def test_best_is_judged_on_every_seed_at_the_last_epoch(lightning_study):
    results, _ = lightning_study
    best = results.best
    records = [
        record
        for record in ray_records(results.path)
        if record["config"]["lr"] == best.config["lr"]
    ]
    scores = {r["config"]["seed"]: r["results"][-1]["val/loss"] for r in records}
    assert best.scores == {seed: scores[seed] for seed in tiny.SEEDS}
    assert best.mean == np.mean([scores[seed] for seed in tiny.SEEDS])
    assert best.std == pytest.approx(statistics.stdev(scores.values()), rel=1e-12)
    assert best.mean in best.interval
    complete = results.groups[results.groups["state"] == "complete"]
    assert best.mean == complete["mean"].min() == results.groups["mean"].iloc[0]
    for checkpoint in best.checkpoints.values():
        with checkpoint.as_directory() as directory:
            module = tiny.TinyModule.load_from_checkpoint(
                Path(directory) / "checkpoint.ckpt", lr=0.1, weights_only=True
            )
            assert isinstance(module, tiny.TinyModule)


def test_results_are_read_back_without_ray(lightning_study):
    results, _ = lightning_study
    again = SeedResults(results.path)
    assert again.best.scores == results.best.scores
    assert again.groups.equals(results.groups)
    assert str(again) == str(results)
    assert "val/loss (min) over the seeds 47, 881, 123456789" in str(again)


def test_runs_repeat_no_epoch_and_checkpoint_at_rungs_only(lightning_study):
    results, _ = lightning_study
    for run in results.ledger.values():
        assert sorted(run.reports) == list(range(1, run.last_epoch + 1))
        assert sorted(run.checkpoints) == [e for e in sorted(run.reports) if e in (1, 2, 4)]
    for record in ray_records(results.path):
        # When a trial goes on, Ray 2.60 may bring back a file of it that lacks its last line.
        epochs = [line["epoch"] for line in record["results"]]
        assert epochs == sorted(set(epochs))
        saved = [x["epoch"] for x in record["results"] if x["checkpoint_dir_name"]]
        assert saved == [epoch for epoch in epochs if epoch in (1, 2, 4)]


@pytest.mark.versions
def test_pauses_leave_no_trace(lightning_study):
    import lightning
    import torch

    results, _ = lightning_study
    group = results.groups[results.groups["state"] == "complete"]["group"].iloc[-1]
    config = results.ledger.configs[group]
    losses = []

    class Keep(lightning.Callback):
        def on_train_epoch_end(self, trainer, module):
            losses.append({k: float(v) for k, v in trainer.callback_metrics.items()})

    torch.set_num_threads(1)
    lightning.seed_everything(47, workers=True, verbose=False)
    module, data = tiny.TinyModule(lr=config["lr"]), tiny.TinyData(config["batch_size"])
    trainer = lightning.Trainer(
        max_epochs=4,
        deterministic=True,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Keep()],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on loader workers
        trainer.fit(module, datamodule=data)
    reports = results.ledger[RunKey(group, 47)].reports
    assert [reports[k + 1][name] for k, line in enumerate(losses) for name in line] == [
        value for line in losses for value in line.values()
    ]


@pytest.mark.versions
def test_a_plain_function_is_seeded_paused_and_resumed(storage: str):
    results = tune_walk(storage, seeds_per_rung="ladder").fit()
    assert (results.groups["state"] == "complete").sum() >= 2
    for key, run in results.ledger.items():
        if run.curve:
            expected = tiny.walked(results.ledger.configs[key.group]["x"], key.seed, len(run.curve))
            assert list(run.curve.values()) == expected
    for record in ray_records(results.path):
        steps = [line["t"] for line in record["results"]]
        assert steps == list(range(1, len(steps) + 1)), "no step is trained twice"
        saved = [line["t"] for line in record["results"] if line["checkpoint_dir_name"]]
        assert saved == [step for step in steps if step in (1, 2, 4)]
    best = max(results.ledger.configs, key=lambda g: results.ledger.configs[g]["x"])
    assert results.best.group == best


def test_random_search_is_reproducible_and_grids_are_whole(storage: str):
    first = tune_walk(storage, "a").fit()
    second = tune_walk(storage, "b").fit()
    other = tune_walk(storage, "c", search_seed=2).fit()
    assert first.ledger.configs == second.ledger.configs != other.ledger.configs
    assert first.header.policy == "adaptive"
    assert [str(rung) for rung in first.header.rungs] == ["1x1", "2x1", "4x1", "4x2", "4x3"]
    assert (first.groups["state"] == "complete").sum() >= 2
    grid = tune_walk(
        storage,
        "grid",
        param_space={"x": tune.grid_search([0.1, 0.2]), "y": tune.grid_search([1, 2])},
        tune_config=tune.TuneConfig(metric="score", mode="max"),
    ).fit()
    assert len(grid.runs) == 4 * 3
    assert (grid.groups["state"] == "complete").all()
    assert grid.best.config["x"] == 0.2


@pytest.mark.versions
def test_optuna_and_a_limit_on_concurrency(storage: str):
    results = tune_walk(
        storage,
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=5,
            max_concurrent_trials=1,
            search_alg=OptunaSearch(seed=0),
            scheduler=ASHAScheduler(time_attr="t", max_t=4, reduction_factor=2),
        ),
    ).fit()
    assert len(results.groups) == 5
    spans = [
        (x["timestamp"], x["time_total_s"]) for r in ray_records(results.path) for x in r["results"]
    ]
    assert spans
    assert (results.groups["state"] == "complete").sum() >= 2
    state = pickle.loads(Path(results.path, SEARCH_STATE).read_bytes())
    trials = pickle.loads(state["inner"])["_ot_study"].trials
    assert {(trial.params["x"], trial.value) for trial in trials} == {
        (results.ledger.configs[group]["x"], lesson.value)
        for group, lesson in lessons(results.race).items()
    }
    assert {len(trial.intermediate_values) for trial in trials} == {
        len(group.scores) for group in results.race.groups.values()
    }


def test_equal_configs_are_one_group(storage: str):
    results = tune_walk(
        storage,
        param_space={"x": tune.choice([0.1, 0.2])},
        tune_config=tune.TuneConfig(metric="score", mode="max", num_samples=8),
    ).fit()
    assert len(results.groups) == 2
    assert len(results.runs) == 2 * 3


@pytest.mark.parametrize("kind", ["fail_on", "nan_on"])
def test_a_failed_seed_keeps_its_config_from_winning(storage: str, kind: str):
    results = tune_walk(
        storage,
        kind,
        param_space={"x": tune.grid_search([0.1, 0.9]), kind: 881},
        tune_config=tune.TuneConfig(metric="score", mode="max"),
    ).fit()
    with pytest.raises(NoCompleteGroupError, match="881"):
        _ = results.best
    assert (results.groups["state"] == "failed").all()
    why = results.groups["why"].iloc[0]
    expected = "planted failure" if kind == "fail_on" else "diverged: score is nan at epoch 2"
    assert "seed 881" in why and expected in why
    assert results.groups["mean"].isna().all(), "no mean over the seeds that are left"


def test_a_diverged_seed_is_told_as_a_failure(storage: str, tmp_path: Path):
    heard = tmp_path / "heard.jsonl"
    tune_walk(
        storage,
        param_space={"x": tune.uniform(0, 1), "nan_on": 881},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=2,
            search_alg=Recorder(HyperOptSearch(random_state_seed=0), str(heard)),
        ),
    ).fit()
    told = [json.loads(line) for line in heard.read_text().splitlines()]
    assert [(what[2], what[3]) for what in told if what[0] == "complete"] == [(None, True)] * 2


def test_the_best_are_confirmed_on_fresh_seeds(storage: str):
    one = {"x": tune.grid_search([0.1, 0.5, 0.9])}
    config = tune.TuneConfig(metric="score", mode="max")
    results = tune_walk(
        storage, param_space=one, tune_config=config, confirm_seeds=[5, 6], confirm_top=2
    ).fit()
    assert results.confirmation.groups == ("g0003", "g0002")
    assert results.confirmation.scores["g0003"] == {
        seed: tiny.walked(0.9, seed, 4)[-1] for seed in (5, 6)
    }
    assert results.best.scores.keys() == set(tiny.SEEDS)
    lines = Path(results.path, "ledger.jsonl").read_bytes().count(b"\n")
    later = results.confirm([7], top=1, trainable=tiny.walk)
    assert later.confirmation.seeds == (5, 6, 7)
    assert later.confirmation.scores["g0003"][7] == tiny.walked(0.9, 7, 4)[-1]
    assert Path(results.path, "ledger.jsonl").read_bytes().count(b"\n") <= lines + 10
    with pytest.raises(ValueError, match="never used, got"):
        tune_walk(storage, "other", confirm_seeds=[47])


@pytest.mark.versions
def test_retries_come_before_a_failure(storage: str, tmp_path: Path):
    marker = str(tmp_path / "failed_once")

    def fails_once(config):
        if config["seed"] == 881 and not Path(marker).exists():
            Path(marker).touch()
            raise RuntimeError("once")
        return tiny.walk(config)

    results = tune_walk(
        storage,
        function=fails_once,
        param_space={"x": tune.grid_search([0.1])},
        tune_config=tune.TuneConfig(metric="score", mode="max"),
        run_config=tune.RunConfig(
            name="r",
            storage_path=storage,
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    ).fit()
    assert results.best.config == {"x": 0.1}


def test_a_metric_that_is_never_logged_is_found_at_the_first_report(storage: str):
    tuner = tune_walk(
        storage,
        tune_config=tune.TuneConfig(metric="accuracy", mode="max", num_samples=6),
    )
    with pytest.raises(MetricNotFoundError, match=r"'accuracy' was not reported.*'score', 't'"):
        tuner.fit()
    assert sum(len(record["results"]) for record in ray_records(tuner.path)) <= 2


def test_a_missing_time_attr_is_named(storage: str):
    scheduler = ASHAScheduler(time_attr="steps", max_t=4)
    config = tune.TuneConfig(metric="score", mode="max", num_samples=2, scheduler=scheduler)
    with pytest.raises(MetricNotFoundError, match="no 'steps'"):
        tune_walk(storage, tune_config=config).fit()


def test_a_skipped_rung_is_named(storage: str):
    def every_third(config):
        for t in (3, 6, 9):
            tune.report({"t": t, "score": 1.0})

    scheduler = ASHAScheduler(time_attr="t", max_t=8, grace_period=4, reduction_factor=2)
    config = tune.TuneConfig(metric="score", mode="max", num_samples=2, scheduler=scheduler)
    with pytest.raises(RungMissedError, match="never at the rung 4"):
        tune_walk(storage, function=every_third, tune_config=config).fit()


def test_a_time_budget_leaves_the_leader_and_says_how_complete_the_study_is(storage: str):
    def endless(config):
        import time

        t = 0
        while True:
            t += 1
            time.sleep(0.05)
            tune.report({"t": t, "score": config["x"]})

    scheduler = ASHAScheduler(time_attr="t", max_t=100_000, reduction_factor=400)
    results = tune_walk(
        storage,
        function=endless,
        tune_config=tune.TuneConfig(
            metric="score", mode="max", num_samples=9, time_budget_s=4, scheduler=scheduler
        ),
    ).fit()
    far = results.completeness
    assert not far.finished
    assert f"stopped by the time budget: {far.n_started} of 9 configs started" in str(results)
    assert far.n_complete == 0
    assert SeedResults(results.path).completeness == far
    if results.leader is None:  # a slow machine: no run came to the first rung
        assert results.groups["score"].isna().all()
    else:
        best = results.best
        assert not best.complete and best.scores.keys() == {tiny.SEEDS[0]}
        assert f"best so far: {best.group}, {best.score:.5g} (1 of 3 seeds at epoch" in str(results)


def test_an_experiment_is_not_overwritten(storage: str):
    one = dict(param_space={"x": tune.grid_search([0.1])})
    config = tune.TuneConfig(metric="score", mode="max")
    tune_walk(storage, tune_config=config, **one).fit()
    with pytest.raises(FileExistsError, match=r"SeedTuner.restore\('.*walk'"):
        tune_walk(storage, tune_config=config, **one)


def test_resources_are_checked_before_any_trial(storage: str):
    def walk(config):  # of its own: Ray marks the function that it is given
        tiny.walk(config)

    tuner = tune_walk(storage, function=tune.with_resources(walk, {"cpu": 64}))
    with pytest.raises(ValueError, match="asks for CPU: 64"):
        tuner.fit()
    assert not Path(tuner.path).exists() or not ray_records(tuner.path)


def bad(storage: str, **kwargs: Any) -> SeedTuner:
    trainer = kwargs.pop(
        "trainer",
        LightningTrainer(tiny.TinyModule, tiny.TinyData, trainer_kwargs={"max_epochs": 4}),
    )
    arguments: dict[str, Any] = {
        "seeds": tiny.SEEDS,
        "param_space": {"lr": tune.uniform(0, 1)},
        "tune_config": tune.TuneConfig(metric="val/loss", mode="min", num_samples=2),
        "run_config": tune.RunConfig(name="bad", storage_path=storage),
    }
    return SeedTuner(trainer, **{**arguments, **kwargs})


def asha(**kwargs: Any) -> tune.TuneConfig:
    scheduler = ASHAScheduler(**{"max_t": 4, "reduction_factor": 2, **kwargs})
    return tune.TuneConfig(metric="val/loss", mode="min", num_samples=2, scheduler=scheduler)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"seeds": []}, "seeds is empty"),
        ({"seeds": [1, 1]}, "1 is given twice"),
        ({"search_seed": -1}, "-1 is outside"),
        ({"param_space": {"lr": 0.1}}, "nothing to tune"),
        ({"param_space": {"seed": tune.randint(0, 9)}}, "'seed' is in param_space"),
        ({"param_space": {"lrr": tune.uniform(0, 1)}}, "did you mean 'lr'"),
        (
            {"param_space": {"max_epochs": tune.randint(1, 9)}},
            "'max_epochs' can't be in param_space",
        ),
        ({"tune_config": asha(max_t=5)}, "max_t=5 is above the trainer's max_epochs=4"),
        ({"tune_config": asha(time_attr="time_total_s")}, "keyed on the epoch"),
        ({"tune_config": asha(), "seeds_per_rung": [1, 2, 4]}, "4 seeds at a rung"),
        ({"seeds_per_rung": [1]}, "needs a scheduler"),
        ({"n_finalists": 0}, "n_finalists must be at least 1"),
        ({"tune_config": tune.TuneConfig(metric="a", mode="max", num_samples=0)}, "num_samples"),
        ({"tune_config": tune.TuneConfig(metric="a")}, "mode is missing"),
        ({"trainer": tune.Trainable}, "a Trainable class has no seeding point"),
        ({"trainer": "PPO"}, "must be a LightningTrainer or a function"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else str(value)[:25],
)
def test_bad_input_fails_before_anything_starts(storage: str, kwargs, message: str):
    with pytest.raises(ValueError, match=message):
        bad(storage, **kwargs)
    assert not Path(storage, "bad", "ledger.jsonl").exists()


def test_rungs_between_validations_are_refused(storage: str):
    trainer = LightningTrainer(
        tiny.TinyModule,
        tiny.TinyData,
        trainer_kwargs={"max_epochs": 4, "check_val_every_n_epoch": 2},
    )
    with pytest.raises(ValueError, match="rung at epoch 1 has no metric"):
        bad(storage, trainer=trainer, tune_config=asha())
    results = bad(storage, trainer=trainer, tune_config=asha(grace_period=2)).fit()
    curve = results.ledger[RunKey("g0001", 47)].curve
    assert list(curve) == [2, 4] or list(curve) == [2]


def test_one_ray_serves_all():
    assert ray.is_initialized()
