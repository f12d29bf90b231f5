from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from benchmarks.record import made_up, recorded_digits
from benchmarks.tables import nan_from_first, read_tables, stack, thin
from made_study import make_study

from tune_seeds.core.rungs import Rung


def rows(curves: dict[tuple[str, int], list[float]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"config": config, "seed": seed, "value": value}
            for (config, seed), curve in curves.items()
            for value in curve
        ]
    )


def test_a_config_without_every_seed_is_left_out():
    frame = rows({("a", 0): [1, 2], ("a", 1): [3, 4], ("b", 0): [5, 6]})
    table = stack("t", frame, ["config"], "seed", "value")
    assert table.curves.tolist() == [[[1, 2], [3, 4]]]
    assert (table.n_configs, table.n_seeds, table.n_epochs) == (1, 2, 2)


def test_a_run_that_was_cut_is_nan_from_there_on():
    frame = rows({("a", 0): [1, 2, 3], ("a", 1): [4]})
    table = stack("t", frame, ["config"], "seed", "value")
    np.testing.assert_array_equal(table.curves, [[[1, 2, 3], [4, np.nan, np.nan]]])


def test_a_diverged_run_does_not_come_back():
    curves = np.array([[1.0, np.inf, 3.0], [1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(nan_from_first(curves), [[1, np.nan, np.nan], [1, 2, 3]])


@pytest.mark.parametrize(
    ("length", "kept"), [(9, [2, 5, 8]), (10, [3, 6, 9]), (3, [0, 1, 2]), (2, [0, 1])]
)
def test_long_curves_are_thinned_to_equal_steps_with_the_last_epoch(length: int, kept: list[int]):
    assert thin(np.arange(length), 3).tolist() == kept


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no folder of recorded curves"):
        read_tables(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="has none of the folders digits_mlp"):
        read_tables(tmp_path)


def test_digits_mlp_is_read(tmp_path: Path):
    (tmp_path / "digits_mlp").mkdir()
    np.savez(tmp_path / "digits_mlp" / "curves.npz", acc=np.full((2, 3, 4), 0.5, np.float32))
    (table,) = read_tables(tmp_path)
    assert (table.name, table.curves.shape) == ("digits_mlp", (2, 3, 4))


def test_mdp_playground_is_read_with_its_repeated_headers(tmp_path: Path):
    folder = tmp_path / "mdp_playground"
    folder.mkdir()
    dqn = "# header\n1 DQN 8 8 {d} 1 0.25 F 0.25 0 0 {s} 1000 {v} 3.9\n"
    sac = "# header\n1 SAC 2 2 0 T 0 0 [0,0] {d} 10 1 0.0 1.0 1 {s} 2000 {v} 100.0\n"
    for stem, line in {
        "dqn_seq_del": dqn,
        "rainbow_seq_del": dqn,
        "sac_move_to_a_point_target_radius": sac,
    }.items():
        text = "".join(line.format(d=d, s=s, v=10 * d + s) for d in (0, 2) for s in (0, 1))
        (folder / f"{stem}.txt.gz").write_bytes(gzip.compress(text.encode()))
    tables = read_tables(tmp_path)
    assert [t.name for t in tables] == ["dqn", "rainbow", "sac"]
    for table in tables:
        assert table.curves.tolist() == [[[0], [1]], [[20], [21]]]


def test_hpo_rl_bench_leaves_reruns_out(tmp_path: Path):
    folder = tmp_path / "hpo_rl_bench"
    folder.mkdir()
    frame = pd.DataFrame(
        [
            ("Pong-v0", -1, 0.8, 0.2, seed, rerun, step, 100 * rerun + 10 * seed + step)
            for seed in (0, 1)
            for rerun in (0, 1)
            for step in (1, 0)
        ],
        columns=[
            "env",
            "learning_rate_log10",
            "gamma",
            "clip",
            "seed",
            "rerun",
            "eval_index",
            "return_eval",
        ],
    )
    frame.to_csv(folder / "ppo_static.csv.gz")
    (table,) = read_tables(tmp_path)
    assert table.name == "pong"
    assert table.curves.tolist() == [[[0, 1], [10, 11]]]


def test_algoperf_makes_no_value_up(tmp_path: Path):
    folder = tmp_path / "algoperf_v05"
    folder.mkdir()
    lengths = {"a": (4, 3), "b": (3, 3), "c": (5, 4), "d": (5, 1)}
    frame = pd.DataFrame(
        [
            ("w", "jax", "self", name, 1, study, step, step + study / 10)
            for name, pair in lengths.items()
            for study, length in enumerate(pair)
            for step in range(length)
        ],
        columns=[
            "workload",
            "framework",
            "tuning",
            "submission",
            "hparam_point",
            "study",
            "eval_index",
            "validation_metric",
        ],
    )
    frame.to_csv(folder / "curves.csv.gz")
    pd.DataFrame({"workload": ["w"], "mode": ["min"]}).to_csv(folder / "runs.csv")
    (table,) = read_tables(tmp_path)
    # Config d ended first; of the others every seed has 3 evaluations. The metric is a loss.
    assert table.curves.shape == (3, 2, 3)
    np.testing.assert_allclose(table.curves[0], [[0, -1, -2], [-0.1, -1.1, -2.1]])
    assert np.isfinite(table.curves).all()


def test_deepobs_keeps_the_configs_with_every_seed(tmp_path: Path):
    folder = tmp_path / "deepobs_baselines"
    folder.mkdir()
    frame = pd.DataFrame(
        [
            ("vae", "Adam", rate, seed, epoch, 5.0 - epoch, np.nan)
            for rate, seeds in ((0.1, (42, 43)), (0.2, (42,)))
            for seed in seeds
            for epoch in (0, 1, 2)
        ],
        columns=[
            "testproblem",
            "optimizer",
            "learning_rate",
            "random_seed",
            "epoch",
            "test_loss",
            "test_accuracy",
        ],
    )
    frame.to_csv(folder / "curves.csv.gz")
    (table,) = read_tables(tmp_path)
    assert table.curves.tolist() == [[[-4, -3], [-4, -3]]]


def test_digits_are_recorded_once(tmp_path: Path):
    first = recorded_digits(tmp_path, n_configs=2, n_seeds=2, n_epochs=3)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    again = recorded_digits(tmp_path, n_configs=2, n_seeds=2, n_epochs=3)
    assert first.curves.shape == (2, 2, 3)
    assert np.nanmin(first.curves) >= 0
    assert np.nanmax(first.curves) <= 1
    np.testing.assert_array_equal(first.curves, again.curves)
    assert file.stat().st_mtime_ns == written


def test_made_up_curves_have_seeds_that_differ():
    table = made_up(4, 3, 5, rng=np.random.default_rng(0))
    assert table.curves.shape == (4, 3, 5)
    assert (table.curves.std(axis=1) > 0).all()


DECLARED = """
file = "{file}"
config = ["lr", "width"]
seed = "seed"
epoch = "epoch"
metric = "loss"
mode = "min"
"""


def declared(folder: Path, file: str, text: str = DECLARED) -> pd.DataFrame:
    folder.mkdir()
    (folder / "table.toml").write_text(text.format(file=file))
    rows = [
        {"lr": lr, "width": 8, "seed": seed, "epoch": epoch, "loss": lr * seed / epoch}
        for lr in (0.1, 0.2)
        for seed in (1, 2)
        for epoch in (3, 1, 2)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("file", ["curves.csv", "curves.csv.gz", "c.tsv", "c.parquet", "c.jsonl"])
def test_a_folder_may_describe_its_own_curves(tmp_path: Path, file: str):
    frame = declared(tmp_path / "mine", file)
    path = tmp_path / "mine" / file
    if "parquet" in file:
        frame.to_parquet(path)
    elif "jsonl" in file:
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, sep="\t" if "tsv" in file else ",")
    expected = [[[-lr * s / e for e in (1, 2, 3)] for s in (1, 2)] for lr in (0.1, 0.2)]
    for folder in (tmp_path, tmp_path / "mine"):
        (table,) = read_tables(folder)
        assert table.name == "mine"
        np.testing.assert_allclose(table.curves, expected)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('seed = "seed"\n', "", "lacks seed"),
        ('mode = "min"', 'mode = "minimum"', "must be 'min' or 'max'"),
        ('metric = "loss"', 'metric = "acc"', "has no column 'acc'; it has 'lr', 'width'"),
        ("{file}", "other.csv", "names other.csv, which is not there"),
    ],
)
def test_a_wrong_description_says_what_is_wrong(tmp_path: Path, old: str, new: str, said: str):
    frame = declared(tmp_path / "mine", "curves.csv", DECLARED.replace(old, new))
    frame.to_csv(tmp_path / "mine" / "curves.csv", index=False)
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        read_tables(tmp_path)


def test_recordings_of_which_a_part_is_there_are_read(tmp_path: Path):
    folder = tmp_path / "mdp_playground"
    folder.mkdir()
    line = "# header\n1 DQN 8 8 {d} 1 0.25 F 0.25 0 0 {s} 1000 {v} 3.9\n"
    text = "".join(line.format(d=d, s=s, v=10 * d + s) for d in (0, 2) for s in (0, 1))
    (folder / "dqn_seq_del.txt.gz").write_bytes(gzip.compress(text.encode()))
    for at in (tmp_path, folder):
        (table,) = read_tables(at)
        assert table.curves.tolist() == [[[0], [1]], [[20], [21]]]


def score(config: Mapping[str, Any], seed: int, epoch: int) -> float:
    return config["x"] * epoch + seed / 1e10


@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_finished_experiment_is_a_table_of_its_own(tmp_path: Path, mode: str):
    make_study(
        tmp_path / "mine",
        [{"x": 1.0}, {"x": 2.0}],
        score,
        seeds=(1, 2),
        rungs=(Rung(3, 2),),
        mode=mode,
        policy="halving",
    )
    (table,) = read_tables(tmp_path)
    sign = 1 if mode == "max" else -1
    expected = [[[sign * x * e for e in (1, 2, 3)]] * 2 for x in (1.0, 2.0)]
    assert table.name == "mine"
    np.testing.assert_allclose(table.curves, expected, atol=1e-8)


def test_configs_that_a_race_stopped_are_no_part_of_a_table(tmp_path: Path):
    # Some configs have every epoch on one seed only.
    rungs = (Rung(3, 1), Rung(9, 1), Rung(9, 2))
    configs = [{"x": float(9 - k)} for k in range(9)]
    make_study(tmp_path / "mine", configs, score, seeds=(1, 2), rungs=rungs, n_finalists=2)
    (table,) = read_tables(tmp_path)
    assert table.curves.shape == (2, 2, 9)
    make_study(tmp_path / "one", configs, score, seeds=(1, 2), rungs=rungs, n_finalists=1)
    with pytest.raises(ValueError, match="1 configs that were trained to epoch 9 on every seed"):
        read_tables(tmp_path / "one")
