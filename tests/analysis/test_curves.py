from __future__ import annotations

import math

import pytest

from tune_seeds.analysis.curves import mean_curve, metric_names, run_curve
from tune_seeds.core.ledger import Ledger, RunKey
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.race import Race
from tune_seeds.statistics.aggregate import get_aggregate


@pytest.fixture
def race() -> Race:
    """One config on two seeds; the loss is the metric, and the best so far counts."""
    rungs = (Rung(1, 1), Rung(2, 2))
    race = Race(
        Ledger([7, 8], Metric("loss", "min", "best")),
        SuccessiveHalving(rungs, 2, 1),
        get_aggregate("mean"),
    )
    name = race.add_group({"n": 1})
    for seed, losses in ((7, (1.0, 3.0)), (8, (4.0, 2.0))):
        race.start(RunKey(name, seed))
        for epoch, loss in enumerate(losses, 1):
            acc = {"acc": math.inf} if (seed, epoch) == (8, 2) else {"acc": loss / 10}
            race.report(RunKey(name, seed), epoch, {"loss": loss, "epoch": epoch, **acc})
        race.exhaust()
        race.promote_next()
    return race


def test_what_runs_report_has_names(race):
    assert metric_names(race) == ["loss", "acc"]


def test_the_tuned_metric_is_as_it_counts_and_by_name_as_it_was_reported(race):
    run = race.ledger[RunKey("g0001", 7)]
    assert run_curve(race, run) == {1: 1.0, 2: 1.0}
    assert run_curve(race, run, "loss") == {1: 1.0, 2: 3.0}
    assert run_curve(race, run, "acc") == {1: 0.1, 2: 0.3}
    assert run_curve(race, run, "nothing") == {}


def test_a_mean_over_seeds_goes_as_far_as_all_of_them(race):
    points = mean_curve(race, "g0001", "loss")
    assert [(p.epoch, p.mean, round(p.std, 6)) for p in points] == [
        (1, 2.5, round(math.sqrt(4.5), 6)),
        (2, 2.5, round(math.sqrt(0.5), 6)),
    ]
    first, second = mean_curve(race, "g0001", "acc")
    assert first.mean == pytest.approx(0.25)
    assert second.mean == math.inf and math.isnan(second.std)  # and no warning
