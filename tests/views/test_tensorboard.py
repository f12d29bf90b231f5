from __future__ import annotations

import dataclasses
import math
import statistics
import string
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import own_logger
import pytest
import tiny
from benchmarks.made_up import MadeUp, make, steps
from lightning.pytorch.loggers import TensorBoardLogger
from pictures import browser, hparams_page
from pictures.board import Board, board
from ray import tune
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tune_seeds import LightningTrainer, SeedResults, SeedTuner
from tune_seeds.core.jsonable import flat
from tune_seeds.views.labels import config_text, differing, path_name, short_names
from tune_seeds.views.tensorboard.event_file import EventFile
from tune_seeds.views.tensorboard.hparams import Columns

SPACE = {
    "lr": tune.loguniform(1e-4, 1e-1),
    "model": {"optimizer": tune.choice(["sgd", "adam"]), "depth": tune.randint(1, 5)},
    "batch_size": 64,
}
CONFIGS = [
    {
        "lr": 10.0 ** -(1 + k % 4),
        "model": {"optimizer": "sgd" if k % 2 else "adam", "depth": 1 + k % 3},
        "batch_size": 64,
    }
    for k in range(12)
]
MADE = MadeUp(
    CONFIGS,
    space=SPACE,
    fails=frozenset({(4, 47)}),
    quality=lambda config: 0.9 + 0.1 * math.log10(config["lr"]),
)


@pytest.fixture(scope="module")
def study_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tensorboard") / "study"
    make(path, MADE)
    return path


@pytest.fixture(scope="module")
def server(study_path: Path):
    with board(str(study_path)) as server:
        yield server


@pytest.fixture(scope="module")
def rows(server: Board):
    return {row["name"]: row for row in server.wait_for_rows(len(CONFIGS))}


@pytest.mark.slow
def test_one_row_per_config_with_the_aggregate_of_its_last_complete_rung(study_path, rows):
    groups = SeedResults(str(study_path)).groups.set_index("group")
    assert set(rows) == set(groups.index)
    for name, group in groups.iterrows():
        metrics = rows[name]["metrics"]
        assert metrics["seeds"] == group["n_seeds"]
        assert metrics["epochs"] == group["epochs"]
        assert metrics["failed"] == (group["state"] == "failed")
        if group["n_seeds"]:
            assert metrics["val_acc"] == pytest.approx(group["mean"], abs=1e-6)
        else:
            assert "val_acc" not in metrics
        if group["n_seeds"] > 1:
            assert metrics["std"] == pytest.approx(group["std"], abs=1e-6)
            half = 4.302652729911275 * group["std"] / math.sqrt(3)
            assert metrics["95% low"] == pytest.approx(group["mean"] - half, abs=1e-5)
            assert metrics["95% high"] == pytest.approx(group["mean"] + half, abs=1e-5)
        else:
            assert "std" not in metrics and "95% low" not in metrics


@pytest.mark.slow
def test_rows_hold_short_names_and_open_to_the_runs_of_each_seed(rows):
    assert rows["g0001"]["hparams"] == {
        "lr": 0.1, "optimizer": "adam", "depth": 1.0, "batch_size": 64.0
    }  # fmt: skip
    done = next(row for row in rows.values() if row["metrics"]["seeds"] == 3)
    ends = {session.rpartition("/")[2] for session in done["sessions"]}
    assert {"seed=47", "seed=881", "seed=123456789"} < ends
    assert set(done["sessions"].values()) == {"STATUS_SUCCESS"}
    failed = next(row for row in rows.values() if row["metrics"]["failed"])
    assert set(failed["sessions"].values()) == {"STATUS_FAILURE"}


def test_columns_carry_the_domains_of_the_space():
    columns = Columns(SPACE)
    assert columns.add(CONFIGS[0]) and columns.final
    assert not columns.add(CONFIGS[1])
    infos = {info.name: info for info in columns.infos}
    assert list(infos["optimizer"].domain_discrete) == ["sgd", "adam"]
    assert (infos["lr"].domain_interval.min_value, infos["lr"].domain_interval.max_value) == (
        1e-4,
        1e-1,
    )
    # Ray's randint leaves the upper end out.
    depth = infos["depth"].domain_interval
    assert (depth.min_value, depth.max_value) == (1, 4)
    assert [name for name, info in infos.items() if not info.differs] == ["batch_size"]


def test_columns_without_a_space_are_learnt_from_the_configs_and_keep_their_names():
    columns = Columns({})
    assert columns.add({"x": 1, "y": {"z": "a"}})
    assert not columns.add({"x": 1, "y": {"z": "a"}})
    assert columns.add({"x": 3, "y": {"z": "b"}, "w": {"z": True}})
    assert not columns.final
    infos = {info.name: info for info in columns.infos}
    assert list(infos) == ["x", "z", "w/z"]
    assert (infos["x"].domain_interval.min_value, infos["x"].domain_interval.max_value) == (1, 3)
    assert list(infos["z"].domain_discrete) == ["a", "b"]
    assert list(infos["w/z"].domain_discrete) == [True]
    assert all(info.differs for info in columns.infos)
    assert columns.values({"x": 3, "w": {"z": True}}) == {"x": 3.0, "w/z": True}


def test_a_constant_beside_a_searchers_own_space_is_no_searched_column():
    columns = Columns({"batch_size": 64})
    columns.add({"batch_size": 64, "lr": 0.1})
    assert {info.name: info.differs for info in columns.infos} == {"batch_size": False, "lr": True}
    assert columns.searched({"batch_size": 64, "lr": 0.1}) == {"lr": 0.1}


def test_a_choice_of_mixed_or_nested_values_is_one_column_of_text():
    space = {"net": tune.choice([{"width": 8}, None, [1, 2], 3, "a"])}
    columns = Columns(space)
    columns.add({"net": None})
    (info,) = columns.infos
    assert list(info.domain_discrete) == ['{"width": 8}', "null", "[1, 2]", "3", "a"]
    assert columns.values({"net": {"width": 8}}) == {"net": '{"width": 8}'}
    assert columns.values({"net": 3}) == {"net": "3"}


def test_the_score_is_never_a_mix_of_epochs_while_the_study_runs(tmp_path):
    """After every report, what HPARAMS would average is one epoch on one rung's seeds."""
    path = tmp_path / "study"
    for n, study in enumerate(steps(path, MADE)):
        if n % 7:
            continue
        for name, group in study.race.groups.items():
            scored = [rung for rung in study.race.policy.rungs if rung in group.scores]
            last = _last_scores(path, name)
            if not scored:
                assert last == {}
                continue
            assert len(last) == scored[-1].n_seeds
            assert {step for step, _ in last.values()} == {scored[-1].epochs}
            mean = statistics.fmean(value for _, value in last.values())
            assert mean == pytest.approx(group.scores[scored[-1]], abs=1e-6)


def test_curves_and_their_mean_can_be_told_apart_by_name(study_path):
    results = SeedResults(str(study_path))
    best = results.best
    runs = {str(p.parent.relative_to(study_path)) for p in study_path.rglob("*tfevents*")}
    own = sorted(run for run in runs if run.startswith(best.group))
    config = own[0]
    assert config.startswith(f"{best.group}_lr={best.config['lr']:.4g}")
    assert f"optimizer={best.config['model']['optimizer']}" in config
    assert "batch_size" not in config
    assert own[1:] == [
        f"{config}/mean_of_3_seeds",
        *sorted(f"{config}/seed={seed}" for seed in results.seeds),
    ]
    mean = _scalars(study_path / own[1])
    assert [step for step, _ in mean["val_acc"]] == list(range(1, 10))
    assert mean["val_acc"][-1][1] == pytest.approx(best.mean, abs=1e-6)
    assert mean["val_acc + std"][-1][1] == pytest.approx(best.mean + best.std, abs=1e-6)
    assert mean["val_acc - std"][-1][1] == pytest.approx(best.mean - best.std, abs=1e-6)
    seed = _scalars(study_path / f"{config}/seed=881")
    assert seed["val_acc"][-1] == (9, pytest.approx(best.scores[881], abs=1e-6))
    assert set(seed) == {"val_acc", "train_loss", "rung/score"}


@pytest.mark.slow
def test_a_confirmation_is_a_row_and_runs_of_its_own(tmp_path):
    path = tmp_path / "study"
    make(path, dataclasses.replace(MADE, confirm_seeds=(5, 6)))
    results = SeedResults(str(path))
    confirmed = results.confirmation
    assert confirmed is not None and len(confirmed.groups) == 2
    with board(str(path)) as server:
        rows = {row["name"]: row for row in server.wait_for_rows(len(CONFIGS) + 2)}
    assert len(rows) == len(CONFIGS) + 2
    for name in confirmed.groups:
        row = rows[f"{name} on fresh seeds"]
        assert row["hparams"] == rows[name]["hparams"]
        assert row["metrics"]["seeds"] == 2
        mean = statistics.fmean(confirmed.scores[name].values())
        assert row["metrics"]["val_acc"] == pytest.approx(mean, abs=1e-6)
        ends = {session.split("/", 1)[1] for session in row["sessions"]}
        assert ends == {"fresh_seeds", "fresh_seeds/seed=5", "fresh_seeds/seed=6"}
        # The row that the search made is as it was.
        own = results.groups.set_index("group").loc[name]
        assert rows[name]["metrics"]["val_acc"] == pytest.approx(own["mean"], abs=1e-6)
        assert rows[name]["metrics"]["seeds"] == 3


@pytest.mark.slow
@pytest.mark.parametrize(("aggregate", "policy"), [("worst", "fail"), ("mean", "drop")])
def test_another_score_than_the_mean_has_its_own_column(tmp_path, aggregate, policy):
    path = tmp_path / "study"
    made = dataclasses.replace(MADE, aggregate=aggregate, on_seed_failure=policy)
    made = dataclasses.replace(made, seeds_per_rung="all")
    make(path, made)
    groups = SeedResults(str(path)).groups.set_index("group")
    with board(str(path)) as server:
        rows = {row["name"]: row for row in server.wait_for_rows(len(CONFIGS))}
    assert groups["n_seeds"].max() == 3
    for name, group in groups.iterrows():
        assert rows[name]["metrics"][f"val_acc ({aggregate})"] == pytest.approx(
            group["score"], abs=1e-6
        )
        assert rows[name]["metrics"]["seeds"] == group["n_seeds"]
    assert rows["g0005"]["metrics"]["failed"] == 1


def test_an_event_file_is_not_made_before_there_is_something_to_write(tmp_path):
    file = EventFile(tmp_path / "run")
    file.flush()
    assert not (tmp_path / "run").exists()
    file.scalars(3, {"a": 1.5, "b": math.nan})
    file.flush()
    file.scalars(4, {"a": 2.5})
    file.flush()
    scalars = _scalars(tmp_path / "run")
    assert scalars["a"] == [(3, 1.5), (4, 2.5)]
    assert math.isnan(scalars["b"][0][1])


@pytest.mark.slow
def test_an_open_page_learns_of_hyperparameters_that_come_late(tmp_path):
    """Without a space, columns and their domains follow the configs; one announcement is left."""
    configs = [{"x": k, "kind": "b"} for k in range(4)] + [{"x": 9, "kind": "a", "late": 0.5}]
    path = tmp_path / "study"
    study = steps(path, MadeUp(configs))
    next(study)
    with board(str(path), "--reload_interval", "1") as server:
        server.wait_for_rows(1)
        early = _columns(server)
        deque(study, maxlen=0)
        end = time.monotonic() + 60
        while "late" not in (late := _columns(server)) and time.monotonic() < end:
            time.sleep(0.5)
        rows = {row["name"]: row["hparams"] for row in server.wait_for_rows(5)}
    assert early.keys() == {"x", "kind"}
    assert late == {"x": [0, 9], "kind": ["b", "a"], "late": [0.5, 0.5]}
    assert rows["g0005"] == {"x": 9, "kind": "a", "late": 0.5}
    assert len(list(path.glob("columns_*"))) == 1


@pytest.mark.usefixtures("ray_session")
def test_arrays_become_images_and_histograms_as_in_rays_own_logger(tmp_path):
    def train(config):
        for step in (1, 2):
            tune.report(
                {
                    "score": config["x"],
                    "net": {"weights": np.arange(5.0), "image": np.full((3, 4, 6), 0.5)},
                    "batch": np.zeros((2, 1, 4, 6)),
                    "list": [step, 2, 3],
                    "text": ["a", "b"],
                    "empty": [],
                }
            )

    results = SeedTuner(
        train,
        seeds=[47],
        param_space={"x": tune.grid_search([1])},
        tune_config=tune.TuneConfig(metric="score", mode="max"),
        run_config=tune.RunConfig(name="study", storage_path=str(tmp_path)),
    ).fit()
    assert results.best.score == 1
    (run,) = (tmp_path / "study").glob("g0001*/seed=47")
    shown = EventAccumulator(str(run), {"images": 0, "histograms": 0}).Reload()
    assert set(shown.Tags()["images"]) == {"net/image", "batch"}
    assert set(shown.Tags()["histograms"]) == {"net/weights", "list"}
    image = shown.Images("net/image")
    assert [event.step for event in image] == [1, 2]
    assert (image[0].height, image[0].width) == (4, 6)
    assert shown.Histograms("list")[1].histogram_value.sum == 7


@pytest.mark.versions
@pytest.mark.usefixtures("ray_session")
def test_a_real_study_with_a_lightning_logger_of_its_own(tmp_path):
    """Synced artifacts put Lightning's event files beside ours; rows and columns stay ours."""
    tuner = SeedTuner(
        LightningTrainer(
            own_logger.LoggingModule,
            tiny.TinyData,
            trainer_kwargs={"max_epochs": 2, "logger": TensorBoardLogger("own")},
        ),
        seeds=[47, 881],
        param_space={"lr": tune.loguniform(1e-3, 1e-1), "width": tune.grid_search([4, 8])},
        tune_config=tune.TuneConfig(metric="val/loss", mode="min", num_samples=2),
        run_config=tune.RunConfig(
            name="study",
            storage_path=str(tmp_path),
            sync_config=tune.SyncConfig(sync_artifacts=True),
        ),
    )
    results = tuner.fit()
    assert list((tmp_path / "study").glob("*/own/lightning_logs/version_0/*tfevents*"))
    with board(str(tmp_path / "study")) as server:
        rows = {row["name"]: row for row in server.wait_for_rows(4)}
        infos = server.hparams("experiment")["hparamInfos"]
    assert set(rows) == {"g0001", "g0002", "g0003", "g0004"}
    assert {info["name"] for info in infos} == {"lr", "width"}
    for name, group in results.groups.set_index("group").iterrows():
        assert rows[name]["metrics"]["val/loss"] == pytest.approx(group["mean"], rel=1e-6)
        assert rows[name]["metrics"]["seeds"] == 2


@pytest.mark.slow
@pytest.mark.skipif(browser.executable() is None, reason="chromium is not installed")
def test_the_page_shows_one_row_per_config(study_path, server, rows):
    with browser.browser(1500, 950) as page:
        hparams_page.visit(page, server.url, len(CONFIGS))
        shown = {cells[0]: cells for cells in hparams_page.read_rows(page)}
        assert set(shown) == {f"g{k:04d}" for k in range(1, 13)}
        best = SeedResults(str(study_path)).best
        assert f"{best.mean:.5g}" in shown[best.group]
        hparams_page.show_metrics(page, best.group)
        page.wait_for(hparams_page.n_charts(at_least=5))
        assert page.console == []


class TestLabels:
    def test_short_names_are_the_shortest_that_are_unique(self):
        assert short_names(["lr", "model/width", "head/width", "model/depth"]) == {
            "lr": "lr",
            "model/width": "model/width",
            "head/width": "head/width",
            "model/depth": "depth",
        }
        assert short_names(["width", "model/width"]) == {
            "width": "width",
            "model/width": "model/width",
        }

    def test_long_values_stay_apart(self):
        a, b = (config_text({"x": "y" * 5000 + end}) for end in "ab")
        assert a != b
        assert len(a) < 50

    def test_objects_are_shown_without_their_addresses(self):
        text = flat({"f": lambda x: x, "g": [object()], "h": {}})
        assert " at 0x" not in str(text)
        assert text["h"] == {}

    def test_path_names_hold_no_character_that_a_path_or_a_page_could_take_amiss(self):
        name = path_name("g0001", {"x": "</script><img src=x onerror=alert(1)>/../.."})
        assert set(name) <= set(string.ascii_letters + string.digits + "._=,+-")

    def test_differing(self):
        assert differing([{"a": 1, "b": 2}, {"a": 1, "b": 3}, {"a": 1}]) == ["b"]
        assert differing([{"a": 1}]) == ["a"]


def _columns(server: Board) -> dict[str, list[Any]]:
    """The hyperparameters that the page knows, with their values or their ends."""
    return {
        info["name"]: info.get("domainDiscrete") or sorted(info["domainInterval"].values())
        for info in server.hparams("experiment").get("hparamInfos", [])
    }


def _scalars(directory: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = EventAccumulator(str(directory))
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def _last_scores(path: Path, group: str) -> dict[str, tuple[int, float]]:
    found = {}
    for directory in path.glob(f"{group}*/seed=*"):
        scores = _scalars(directory).get("rung/score")
        if scores:
            found[directory.name] = scores[-1]
    return found
