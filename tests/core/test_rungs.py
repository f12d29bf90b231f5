from __future__ import annotations

import pytest

from tune_seeds.core.rungs import TO_THE_END, Rung, build_rungs, milestones


@pytest.mark.parametrize(
    ("max_t", "grace_period", "reduction_factor", "expected"),
    [
        (27, 1, 3, (1, 3, 9, 27)),
        (9, 1, 3, (1, 3, 9)),
        (10, 1, 3, (1, 3, 9, 10)),
        (5, 5, 3, (5,)),
        (100, 2, 4, (2, 8, 32, 100)),
        (8, 1, 1.5, (1, 2, 3, 5, 8)),
        (243, 1, 3, (1, 3, 9, 27, 81, 243)),
    ],
)
def test_milestones(max_t: int, grace_period: int, reduction_factor: float, expected: tuple):
    assert milestones(max_t, grace_period, reduction_factor) == expected


@pytest.mark.parametrize("arguments", [(9, 0, 3), (2, 3, 3), (9, 1, 1)])
def test_milestones_refuse(arguments: tuple):
    with pytest.raises(ValueError):
        milestones(*arguments)


@pytest.mark.parametrize(
    ("seeds_per_rung", "expected"),
    [
        ("adaptive", ["1x1", "3x1", "9x1", "9x2", "9x3"]),
        ("all", ["1x3", "3x3", "9x3"]),
        ("ladder", ["1x1", "3x1", "9x1", "9x3"]),
        ([1, 2, 3], ["1x1", "3x2", "9x3"]),
        ([1, 2, 2], ["1x1", "3x2", "9x2", "9x3"]),
    ],
)
def test_build_rungs(seeds_per_rung: str | list[int], expected: list[str]):
    assert [str(rung) for rung in build_rungs([1, 3, 9], 3, seeds_per_rung)] == expected


def test_one_seed_has_no_second_top():
    assert build_rungs([1, 3], 1, "ladder") == (Rung(1, 1), Rung(3, 1))


@pytest.mark.parametrize(
    ("seeds_per_rung", "message"),
    [
        ("some", "'adaptive', 'all', 'ladder' or a list"),
        ([1, 2], "2 numbers for 3 rungs"),
        ([1, 2, 4], "4 seeds at a rung, but the study has 3"),
        ([2, 1, 3], "must not fall"),
        ([0, 1, 3], "at least 1"),
        ([1, 1.5, 3], "whole numbers"),
    ],
)
def test_build_rungs_refuses(seeds_per_rung: str | list[int], message: str):
    with pytest.raises(ValueError, match=message):
        build_rungs([1, 3, 9], 3, seeds_per_rung)


def test_rung_at_the_end_is_named():
    assert str(Rung(TO_THE_END, 2)) == "endx2"


@pytest.mark.parametrize("arguments", [(0, 1), (1, 0)])
def test_rung_refuses(arguments: tuple[int, int]):
    with pytest.raises(ValueError):
        Rung(*arguments)
