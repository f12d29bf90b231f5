"""One helper for each kind of argument: the plain value, or a ValueError that names it."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_seeds.core import checks

ODD: tuple[Any, ...] = (None, True, "3", b"3", 2.5, math.nan, math.inf, [], {}, object(), int)


@pytest.mark.parametrize("value", ODD)
def test_a_whole_number_is_nothing_else(value):
    with pytest.raises(ValueError, match="n must be a whole number, at least 1"):
        checks.whole_number("n", value, at_least=1)


@pytest.mark.parametrize("value", [np.int64(3), np.uint8(3), np.array(3), 3])
def test_integers_of_numpy_count(value):
    assert type(checks.whole_number("n", value, at_least=1)) is int


@given(st.integers())
def test_a_range_holds_its_bounds(number):
    if 1 <= number <= 9:
        assert checks.whole_number("n", number, at_least=1, at_most=9) == number
    else:
        with pytest.raises(ValueError, match=f"n must be from 1 to 9, got {number}"):
            checks.whole_number("n", number, at_least=1, at_most=9)


@pytest.mark.parametrize("value", [None, True, "1", math.nan, math.inf, -1, 0, [1, 2], 10**400])
def test_a_real_number_is_finite_and_in_its_range(value):
    with pytest.raises(ValueError, match="x must be"):
        checks.real_number("x", value, above=0)


def test_a_duration_is_seconds_or_a_timedelta():
    assert checks.duration("t", timedelta(minutes=1)) == checks.duration("t", 60) == 60
    for value in ("1h", -5, 0, math.nan, math.inf, timedelta(0), True, None):
        with pytest.raises(ValueError, match="t must be a number of seconds above 0"):
            checks.duration("t", value)


@pytest.mark.parametrize("value", ["", " ", None, 3, b"x", "a\0b", ["x"]])
def test_a_path_is_text_that_is_not_empty(value):
    with pytest.raises(ValueError, match="p must be a path"):
        checks.path("p", value)


def test_paths_are_taken_as_text():
    assert checks.path("p", Path("a/b")) == "a/b"


@pytest.mark.parametrize("value", ["drops", "", None, 1, ["drop"]])
def test_a_choice_names_its_words(value):
    with pytest.raises(ValueError, match="c must be one of 'drop', 'worst'"):
        checks.choice("c", value, ("drop", "worst"))


@pytest.mark.parametrize("value", [0, 1, "yes", None, np.array([1, 2])])
def test_a_flag_is_true_or_false(value):
    with pytest.raises(ValueError, match="f must be True or False"):
        checks.flag("f", value)


@pytest.mark.parametrize("value", [3, "mean", lambda: 0.0, lambda a, b: 0.0, lambda *, scores: 0.0])
def test_a_function_must_take_what_it_is_called_with(value):
    with pytest.raises(ValueError, match=r"aggregate must be a function of \(scores\)"):
        checks.takes("aggregate", value, "scores")


def test_functions_with_defaults_or_of_c_are_taken():
    for function in (max, np.mean, lambda scores, top=1: 0.0, lambda *scores: 0.0):
        assert checks.takes("aggregate", function, "scores") is function


def test_a_class_is_told_from_its_instance():
    with pytest.raises(ValueError, match=r"make one with timedelta\(\.\.\.\)"):
        checks.instance("t", timedelta, timedelta)


def test_an_object_whose_repr_fails_is_refused_all_the_same():
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    with pytest.raises(ValueError, match="n must be a whole number"):
        checks.whole_number("n", Shy(), at_least=0)
