"""When failures are taken for a mistake that all runs share."""

from __future__ import annotations

import pickle

import pytest

from tune_seeds.core.ledger import RunKey
from tune_seeds.core.root_cause import RootCause
from tune_seeds.race.common_failure import (
    ENOUGH,
    ENOUGH_OF_A_KIND,
    ENOUGH_TRIES,
    CommonFailure,
    CommonFailureError,
)

BOOM = RootCause("ValueError", "boom", "train.py:7")


def key(number: int) -> RunKey:
    return RunKey(f"g{number:04d}", 47)


def failed(*causes: RootCause) -> CommonFailure:
    failures = CommonFailure()
    for number, cause in enumerate(causes):
        failures.note(key(number), cause, {})
    return failures


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (["boom"] * 2, 0),
        (["boom"] * 3, 3),
        (["boom", "other", "boom", "boom"], 3),
        (["a", "b", "c", "d"], 0),
        ([f"x={n} is too large" for n in range(ENOUGH_OF_A_KIND - 1)], 0),
        ([f"x={n} is too large" for n in range(ENOUGH_OF_A_KIND)], ENOUGH_OF_A_KIND),
    ],
)
def test_how_many_runs_have_to_fail_alike(messages: list[str], expected: int):
    failures = failed(*(RootCause("ValueError", text, "train.py:7") for text in messages))
    assert len(failures.suspects()) == expected


def test_different_places_and_kinds_are_different_mistakes():
    causes = [RootCause(kind, "boom", f"a.py:{n}") for kind in "EF" for n in range(9)]
    assert failed(*causes).suspects() == ()


def test_one_run_that_fails_again_and_again_is_one_run():
    failures = CommonFailure()
    for _ in range(20):
        failures.note(key(0), BOOM, {}, retried=True)
    assert failures.suspects() == () and failures.all_alike(1) == (key(0),)


def test_retries_are_given_a_chance_but_not_without_end():
    failures = CommonFailure()
    for number in range(ENOUGH):
        assert failures.suspects() == ()
        for _ in range(ENOUGH_TRIES - 1):
            failures.note(key(number), BOOM, {}, retried=True)
        assert failures.has_failed(key(number)) and failures.all_alike(number + 1) == ()
        failures.note(key(number), BOOM, {}, retried=True)
    assert failures.suspects() == tuple(key(number) for number in range(ENOUGH))


def test_a_short_study_has_a_common_mistake_where_all_of_it_failed_alike():
    assert failed(BOOM).all_alike(1) == (key(0),)
    assert failed(BOOM, BOOM).all_alike(2) == (key(0), key(1))
    assert failed(BOOM).all_alike(2) == (), "another run ended otherwise"
    assert failed(BOOM, RootCause("KeyError", "'x'", "train.py:7")).all_alike(2) == ()
    assert CommonFailure().all_alike(0) == ()


def test_the_error_names_the_cause_the_runs_and_what_to_do():
    error = failed(BOOM, BOOM, BOOM, BOOM).error(tuple(key(n) for n in range(4)))
    assert str(error).startswith("ValueError: boom (train.py:7)\ng0000 with seed 47, g0001")
    assert "and 1 more failed alike" in str(error)
    missing = RootCause("ModuleNotFoundError", "No module named 'helpers'")
    advice = str(failed(missing).error((key(0),)))
    assert "no module 'helpers'" in advice and "working_dir" in advice and "alike" not in advice
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, CommonFailureError)
    assert (str(again), again.cause, again.runs) == (str(error), error.cause, error.runs)
