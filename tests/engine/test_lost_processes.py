"""Which runs are tried again whose process is gone, and whose failure that settles."""

from __future__ import annotations

from typing import Any, cast

from ray.exceptions import NodeDiedError, OutOfMemoryError

from tune_seeds.core.ledger import RunKey
from tune_seeds.engine.schedule.lost_processes import (
    MAX_IN_A_ROW,
    MAX_LOST_PROCESSES,
    LostProcesses,
)

KEY, OTHER = RunKey("g0001", 47), RunKey("g0002", 47)
TRIAL, OTHER_TRIAL = cast(Any, object()), cast(Any, object())


def test_a_run_goes_on_until_it_has_lost_too_many_nodes():
    lost = LostProcesses()
    for _ in range(MAX_LOST_PROCESSES):
        assert lost.is_tried_again(KEY, TRIAL, NodeDiedError("gone"))
    assert not lost.is_tried_again(KEY, TRIAL, NodeDiedError("gone"))
    assert lost.is_tried_again(OTHER, OTHER_TRIAL, NodeDiedError("gone"))


def test_a_run_whose_processes_end_by_themselves_is_given_up_unless_it_gets_on():
    lost = LostProcesses()
    for _ in range(MAX_IN_A_ROW - 1):
        assert lost.is_tried_again(KEY, TRIAL, OutOfMemoryError("too much"))
    lost.note_progress(KEY)
    for _ in range(MAX_IN_A_ROW - 1):
        assert lost.is_tried_again(KEY, TRIAL, OutOfMemoryError("too much"))
    assert not lost.is_tried_again(KEY, TRIAL, OutOfMemoryError("too much"))


def test_the_failure_that_ray_reports_next_is_settled_once():
    lost = LostProcesses()
    assert not lost.is_settled(TRIAL)
    assert lost.is_tried_again(KEY, TRIAL, NodeDiedError("gone"))
    assert not lost.is_settled(OTHER_TRIAL)
    assert lost.is_settled(TRIAL)
    assert not lost.is_settled(TRIAL), "the next failure is one of its code"
