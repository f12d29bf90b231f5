"""Which reports carry the environment record."""

from __future__ import annotations

import pytest

from tune_seeds.training.reporting import RESTARTS, RecordDue


@pytest.mark.parametrize(
    ("first", "restarted", "due"),
    [
        (True, [False, False, False], [True, False, False]),
        (False, [False, False, False], [False, False, False]),
        (True, [True, True, True], [True, False, False]),
        (False, [True, True, True], [True, False, False]),
        (True, [False, True, True], [True, True, False]),
    ],
)
def test_the_first_report_does_and_the_first_after_a_restart(
    first: bool, restarted: list[bool], due: list[bool]
):
    asked = RecordDue(first=first)
    assert [asked({RESTARTS: "1"} if again else {}) for again in restarted] == due
