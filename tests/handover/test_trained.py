"""From a study to its trained modules: loaded, averaged, trained anew."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.fs
import pytest
import tiny
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from made_study import make_study

from tune_seeds import BestGroup, LightningTrainer, SeedEnsemble, SeedResults
from tune_seeds.core.rungs import Rung
from tune_seeds.engine.trainable_file import store_trainable
from tune_seeds.handover.ensemble import average
from tune_seeds.store.blueprint_file import write_blueprint
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.training.model_files import ModelFiles
from tune_seeds.training.trainable import Plan

SEEDS = [47, 881]


def trainer(**kwargs: Any) -> LightningTrainer:
    return LightningTrainer(
        tiny.TinyModule, tiny.TinyData, trainer_kwargs={"max_epochs": 4, **kwargs}
    )


class Pause(Exception):
    """What ends a run at its rung, as Ray does."""


def train_runs(path: Path, owner: LightningTrainer, config: dict[str, Any]) -> dict[str, Any]:
    """Both runs of a config in this process, paused once; their fields of a result."""
    found: dict[str, Any] = {"checkpoint_paths": {}, "run_directories": {}, "reports": {}}
    plan = Plan(frozenset({2}), 4)
    for seed in SEEDS:
        run = path / f"run-{seed}"
        files = ModelFiles.of_run(pyarrow.fs.LocalFileSystem(), str(run))
        reports: dict[int, dict[str, float]] = {}

        def report(metrics: Any, save: Any, fingerprints: Any, run=run, reports=reports) -> None:
            epoch = int(metrics["epoch"])
            reports[epoch] = metrics
            if save is not None:
                (run / f"checkpoint-{epoch}").mkdir(parents=True)
                save(run / f"checkpoint-{epoch}")
            if epoch == 2:
                raise Pause

        with pytest.raises(Pause):
            owner.retrain({**config, "seed": seed}, plan, report, files=files)
        owner.retrain({**config, "seed": seed}, plan, report, run / "checkpoint-2", files=files)
        found["checkpoint_paths"][seed] = str(run / "checkpoint-4")
        found["run_directories"][seed] = run.name
        found["reports"][seed] = reports
    return found


def test_a_run_without_model_checkpoints_goes_on_where_its_experiment_was_moved(tmp_path, caplog):
    owner, reports = trainer(), list[dict[str, float]]()
    plan, config = Plan(frozenset({2}), 4), {"lr": 0.1, "seed": 47}

    def report(metrics: Any, save: Any, fingerprints: Any) -> None:
        reports.append(metrics)
        if metrics["epoch"] == 2 and save is not None:
            save(tmp_path)
            raise Pause

    before, after = (
        ModelFiles.of_run(pyarrow.fs.LocalFileSystem(), str(tmp_path / name))
        for name in ("before", "after")
    )
    with pytest.raises(Pause):
        owner.retrain(config, plan, report, files=before)
    owner.retrain(config, plan, lambda metrics, *_: reports.append(metrics), tmp_path, files=after)
    assert [metrics["epoch"] for metrics in reports] == [1, 2, 3, 4]
    assert "from its beginning" not in caplog.text


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> SeedResults:
    """A study as Ray leaves one, whose best config was trained in this process."""
    path = tmp_path_factory.mktemp("trained") / "study"
    config = {"lr": 0.1, "width": 8, "batch_size": 16}
    kept = ModelCheckpoint(monitor="val/loss", mode="min", save_top_k=2)
    owner = trainer(callbacks=[kept])
    fields = train_runs(path, owner, config)
    last = {seed: reports[4]["val/loss"] for seed, reports in fields["reports"].items()}
    make_study(
        path,
        [config],
        lambda config, seed, epoch: last[seed],
        mode="min",
        seeds=tuple(SEEDS),
        rungs=(Rung(4, 2),),
    )
    directory = ExperimentDir.at(path)
    store_trainable(directory, owner.as_trainable(None))
    write_blueprint(directory, owner.blueprint())

    class Trained(SeedResults):
        @property
        def best(self) -> BestGroup:
            return dataclasses.replace(super().best, **fields)

    return Trained(str(path))


def val_loss(module: torch.nn.Module) -> float:
    x, y = next(iter(tiny.TinyData().val_dataloader()))
    with torch.no_grad():
        return float(torch.nn.functional.mse_loss(module.net(x)[:, 0], y))


def test_a_loaded_module_scores_what_its_run_scored(results: SeedResults):
    best = results.best
    for seed in SEEDS:
        for module in (tiny.TinyModule, trainer(), None):
            before = torch.get_rng_state()
            net = best.load(module, seed)
            assert torch.equal(before, torch.get_rng_state())
            assert not net.training and net.lr == best.config["lr"]
            assert val_loss(net) == pytest.approx(best.scores[seed], rel=1e-6)
    first = best.load(tiny.TinyModule)
    assert val_loss(first) == pytest.approx(best.scores[SEEDS[0]], rel=1e-6)


def test_model_checkpoints_lie_in_the_experiment(results: SeedResults):
    best = results.best
    for seed in SEEDS:
        files = best.model_checkpoints[seed]
        assert len(files) == 2 and all(file.startswith(results.path) for file in files)
        lowest = min(metrics["val/loss"] for metrics in best.reports[seed].values())
        net = best.load(tiny.TinyModule, seed, epoch="best")
        assert val_loss(net) == pytest.approx(lowest, rel=1e-6)


def test_an_ensemble_predicts_the_mean(results: SeedResults):
    best = results.best
    ensemble = best.load(tiny.TinyModule, "all")
    assert isinstance(ensemble, SeedEnsemble) and ensemble.seeds == tuple(SEEDS)
    assert [val_loss(member) for member in ensemble.members] == pytest.approx(
        list(best.scores.values()), rel=1e-6
    )


def test_what_can_not_be_loaded_is_said(results: SeedResults):
    class Other(tiny.TinyModule):
        def __init__(self, lr: float = 0.1, width: int = 4) -> None:
            super().__init__(lr, width + 1)

    for arguments, message in (
        ((tiny.TinyModule, 5), "seed must be one of 47, 881, or 'all', got 5"),
        ((tiny.TinyModule, True), "seed must be one of"),
        ((Other, 47), "does not fit Other"),
    ):
        with pytest.raises(ValueError, match=message):
            results.best.load(*arguments)
    with pytest.raises(ValueError, match="epoch must be one of"):
        results.best.load(tiny.TinyModule, epoch="first")


def test_the_winner_is_trained_anew_and_recorded(results: SeedResults):
    done = results.best.retrain(seeds=[5])
    found = SeedResults(results.path).retrained[-1]
    assert found == done and found.train_on == "all" and found.seeds == (5,)
    assert found.epochs == 4 and set(found.metrics[5]) == {1, 2, 3, 4}
    assert "val/loss" not in found.metrics[5][4]
    net = found.load(tiny.TinyModule)
    reports: list[Any] = []
    fit = (
        trainer()
        .on_all_data()
        .retrain({**done.config, "seed": 5}, Plan(frozenset(), 4), lambda *r: reports.append(r))
    )
    trained = fit.lightning_module.state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in net.state_dict().items())
    again = results.best.retrain("train", seeds=[47])
    assert Path(again.directory.path).name == "retrained-2"
    assert again.metrics[47][4]["val/loss"] == results.best.scores[47]
    with pytest.raises(ValueError, match="train_on"):
        results.best.retrain("val")


class Pair(NamedTuple):
    a: torch.Tensor
    b: list[torch.Tensor]


def test_outputs_are_averaged_entry_by_entry():
    one, three = torch.ones(2), torch.full((2,), 3.0)
    found = average([Pair(one, [three]), Pair(three, [three])])
    assert torch.equal(found.a, one * 2) and torch.equal(found.b[0], three)
    assert torch.equal(average([{"x": (one,)}, {"x": (three,)}])["x"][0], one * 2)
    assert math.isnan(average([1.0, math.nan]))
    for outputs, error in (
        ([torch.tensor([1]), torch.tensor([3])], TypeError),
        (["a", "b"], TypeError),
        ([{"x": one}, {"y": one}], ValueError),
        ([[one], [one, one]], ValueError),
    ):
        with pytest.raises(error):
            average(outputs)
