from __future__ import annotations

import dataclasses
import enum
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_seeds.core.jsonable import plain
from tune_seeds.core.rungs import Rung
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.study_spec import HEADER, Header


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    y: tuple[float, ...]


@pytest.mark.parametrize(
    ("value", "shown", "in_a_document"),
    [
        (3, 3, 3),
        ("nan", "nan", "nan"),
        (math.nan, "nan", None),
        (-math.inf, "-inf", None),
        (np.float64(math.nan), "nan", None),
        (np.float32(0.5), 0.5, 0.5),
        (np.bool_(True), True, True),
        ((1, [math.inf]), [1, ["inf"]], [1, [None]]),
        ({1: np.int64(2)}, {"1": 2}, {"1": 2}),
        (np.array([1.0, math.nan]), "array([ 1., nan])", [1.0, None]),
        (Colour.RED, "<Colour.RED: 1>", "Colour.RED"),
        (Point(math.nan, (1.0,)), "Point(x=nan, y=(1.0,))", {"x": None, "y": [1.0]}),
        (Point, repr(Point), repr(Point)),
        (1 + 2j, "(1+2j)", "(1+2j)"),
    ],
)
def test_a_value_is_shown_and_stands_in_a_document(value: Any, shown: Any, in_a_document: Any):
    assert plain(value) == shown
    assert plain(value, document=True) == in_a_document


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.complex_numbers()
    | st.floats(width=32).map(np.float32)
    | st.just(Colour.RED)
    | st.builds(Point, st.floats(), st.tuples(st.floats())),
    lambda inner: st.lists(inner) | st.dictionaries(st.integers() | st.text(), inner),
    max_leaves=8,
)


@given(anything, st.booleans())
@pytest.mark.slow
def test_everything_becomes_strict_json_and_stays_what_it_is(value: Any, document: bool):
    once = plain(value, document=document)
    assert json.loads(json.dumps(once, allow_nan=False)) == once
    assert plain(once, document=document) == once


def test_a_study_without_a_range_is_strict_json_too(tmp_path: Path):
    header = Header.read(_written(tmp_path))
    assert header.metric_range == (-math.inf, math.inf)

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    json.loads((tmp_path / HEADER).read_text(), parse_constant=refuse)


def _written(path: Path) -> ExperimentDir:
    directory = ExperimentDir.at(path)
    Header(
        seeds=(1, 2),
        metric="score",
        mode="max",
        time_attr="epoch",
        policy="halving",
        rungs=(Rung(1, 2),),
        reduction_factor=3.0,
        n_finalists=1,
        aggregate="mean",
        on_seed_failure="fail",
        confirm_seeds=(),
        confirm_top=3,
        num_samples=4,
        search_seed=None,
        param_space={},
        version="0",
        metric_range=(-math.inf, math.inf),
    ).write(directory)
    return directory
