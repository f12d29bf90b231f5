from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tune_seeds.core.rungs import Rung
from tune_seeds.core.seeds import check_seeds
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.study_spec import Header


def test_seeds_keep_their_order_and_become_plain_integers():
    assert check_seeds([881, np.int64(47), 2**32 - 1, 0]) == (881, 47, 2**32 - 1, 0)


def test_a_count_draws_distinct_seeds_from_entropy():
    first, second = check_seeds(50), check_seeds(50)
    assert len(set(first)) == 50
    assert first != second


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([], "empty"),
        (0, "at least one"),
        (-3, "at least one"),
        (True, "a list of integers or a count"),
        ("47", "a list of integers or a count"),
        ([47, 881, 47], "47 is given twice"),
        ([-1], "-1 is outside"),
        ([2**32], "4294967296 is outside"),
        ([1.5], "1.5 is not an integer"),
        ([1.0], "1.0 is not an integer"),
        (["1"], "'1' is not an integer"),
        ([True], "True is not an integer"),
    ],
)
def test_bad_seeds(seeds, message: str):
    with pytest.raises(ValueError, match=message):
        check_seeds(seeds)


def test_what_is_written_reads_equal(tmp_path: Path):
    header = Header(
        seeds=(1, 2),
        metric="val/acc",
        mode="max",
        time_attr="epoch",
        policy="adaptive",
        rungs=(Rung(1, 1), Rung(3, 2)),
        reduction_factor=3.0,
        n_finalists=3,
        aggregate="mean",
        on_seed_failure="fail",
        confirm_seeds=(5, 6),
        confirm_top=2,
        num_samples=4,
        search_seed=None,
        param_space={"lr": "loguniform"},
        version="0",
    )
    header.write(ExperimentDir.at(tmp_path))
    assert Header.read(ExperimentDir.at(tmp_path)) == header


def test_a_directory_without_a_study_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="not the directory of an experiment"):
        Header.read(ExperimentDir.at(tmp_path))
