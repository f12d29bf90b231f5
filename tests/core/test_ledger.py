from __future__ import annotations

import math

import pytest

from tune_seeds.core.ledger import Ledger, Outcome, RunKey
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import TO_THE_END, Rung


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger([7, 5, 9], Metric("loss", "min"))
    ledger.add_group("g1", {"lr": 0.1})
    return ledger


def test_mode_is_turned_once(ledger: Ledger):
    ledger.record(RunKey("g1", 7), 1, {"loss": 0.25, "acc": 0.5})
    assert ledger[RunKey("g1", 7)].curve == {1: -0.25}
    assert ledger[RunKey("g1", 7)].reports == {1: {"loss": 0.25, "acc": 0.5}}


def test_values_need_exactly_the_rungs_seeds_at_exactly_its_epochs(ledger: Ledger):
    ledger.record(RunKey("g1", 7), 1, {"loss": 0.7})
    ledger.record(RunKey("g1", 7), 2, {"loss": 0.6})
    ledger.record(RunKey("g1", 9), 1, {"loss": 0.9})
    ledger.record(RunKey("g1", 5), 2, {"loss": 0.5})
    assert ledger.values_at("g1", Rung(1, 1)) == (-0.7,)
    assert ledger.values_at("g1", Rung(1, 2)) is None, "seed 5 has no report at epoch 1"
    assert ledger.values_at("g1", Rung(2, 2)) == (-0.6, -0.5)
    assert ledger.values_at("g1", Rung(2, 3)) is None


def test_a_value_that_is_not_finite_is_missing(ledger: Ledger):
    ledger.record(RunKey("g1", 7), 1, {"loss": math.nan})
    assert ledger.values_at("g1", Rung(1, 1)) is None


def test_the_first_report_of_an_epoch_counts(ledger: Ledger):
    assert ledger.record(RunKey("g1", 7), 1, {"loss": 0.7})
    assert not ledger.record(RunKey("g1", 7), 1, {"loss": 0.1})
    assert ledger.values_at("g1", Rung(1, 1)) == (-0.7,)


def test_runs_to_their_end_are_compared_at_equal_epochs_only(ledger: Ledger):
    end = Rung(TO_THE_END, 2)
    for seed in (7, 5):
        ledger.record(RunKey("g1", seed), 4, {"loss": seed / 10})
    assert ledger.values_at("g1", end) is None, "neither has ended"
    for seed in (7, 5):
        ledger[RunKey("g1", seed)].outcome = Outcome.COMPLETED
    assert ledger.values_at("g1", end) == (-0.7, -0.5)
    ledger.record(RunKey("g1", 5), 5, {"loss": 0.4})
    assert ledger.values_at("g1", end) is None


def test_refusals(ledger: Ledger):
    with pytest.raises(ValueError, match="exists"):
        ledger.add_group("g1", {})
    with pytest.raises(ValueError, match="'min' or 'max'"):
        Ledger([1], Metric("loss", "minimum"))


def test_it_is_a_mapping_of_every_run(ledger: Ledger):
    assert list(ledger) == [RunKey("g1", 7), RunKey("g1", 5), RunKey("g1", 9)]
    assert len(ledger) == 3
