from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tune_seeds.core.reported import OddReportError, number, whole, with_plain_numbers


@pytest.mark.parametrize(
    "value",
    [
        0.5,
        np.float64(0.5),
        np.float32(0.5),
        np.float16(0.5),
        np.array(0.5),
        torch.tensor(0.5),
        torch.tensor(0.5, dtype=torch.bfloat16),
        torch.tensor(0.5, requires_grad=True),
        Fraction(1, 2),
        Decimal("0.5"),
        np.ma.masked_array(0.5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_kind_of_real_number_is_the_same_number(value):
    assert number(value) == 0.5 and type(number(value)) is float
    (plain,) = with_plain_numbers({"x": value}).values()
    assert plain == 0.5 and type(plain) is float


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, 1.0), (np.bool_(False), 0.0), (np.int64(3), 3.0), (torch.tensor(3), 3.0), (7, 7.0)],
)
def test_whole_numbers_and_booleans_count(value, expected):
    assert number(value) == expected


@pytest.mark.parametrize("value", [math.nan, Decimal("nan"), np.ma.masked, np.float16("nan")])
def test_what_is_undefined_is_nan(value):
    assert math.isnan(number(value))


@pytest.mark.parametrize(
    "value",
    [
        "0.5",
        np.str_("0.5"),
        b"0.5",
        None,
        [0.5],
        (0.5,),
        np.array([0.5]),
        torch.tensor([0.5]),
        {"a": 1},
        1j,
        np.complex64(1),
        np.array("0.5"),
        object(),
        float,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_number_is_none(value):
    assert number(value) is None


@given(st.floats(allow_nan=False) | st.integers(-(2**53), 2**53))
def test_python_numbers_stay_as_they_are(value):
    assert with_plain_numbers({"x": value}) == {"x": value}
    assert number(value) == value


def test_a_number_beyond_every_float_is_refused():
    for value in (10**400, Fraction(10**400), Decimal(10) ** 400):
        try:
            assert number(value) == math.inf  # Decimal's own conversion
        except OddReportError as error:
            assert "too large for a float" in str(error)
    with pytest.raises(OddReportError, match="too large"):
        with_plain_numbers({"x": 10**5000})


def test_a_report_is_made_plain_all_through():
    given = {"val": {"loss": np.float32(2), "name": "best"}, "steps": np.int64(3)}
    plain = with_plain_numbers(given)
    assert plain == {"val": {"loss": 2.0, "name": "best"}, "steps": 3.0}
    assert type(plain["val"]["loss"]) is float
    for named in ({1: 0.5}, {("a", "b"): 0.5}, {"val": {0: 0.5}}):
        with pytest.raises(OddReportError, match="names must be text"):
            with_plain_numbers(named)


@pytest.mark.parametrize("value", [3, 3.0, np.int32(3), torch.tensor(3), Fraction(3)])
def test_whole_epochs(value):
    assert whole("t", value) == 3


@pytest.mark.parametrize("value", [3.5, math.nan, math.inf, None, "3", [3], np.array([3])])
def test_epochs_that_are_not_whole(value):
    with pytest.raises(OddReportError, match="'t', by which progress is counted, must be a whole"):
        whole("t", value)
