from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray_controller import Controller

from tune_seeds import MetricNotFoundError, RungMissedError, SeedResults, SeedTuner
from tune_seeds.core.ledger import RunKey
from tune_seeds.core.reported import OddReportError

pytestmark = pytest.mark.usefixtures("ray_session")

ODD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"t": 2}, MetricNotFoundError, "'score' was not reported at epoch 2"),
    ({"score": 1.0}, MetricNotFoundError, "reports no 't'"),
    ({"t": 2, "score": 10**400}, OddReportError, "too large for a float"),
    ({"t": float("nan"), "score": 1.0}, OddReportError, "must be a whole number"),
    ({"t": None, "score": 1.0}, OddReportError, "must be a whole number"),
    ({"t": "two", "score": 1.0}, OddReportError, "a whole number in every report, got 'two'"),
    ({"t": 2.5, "score": 1.0}, OddReportError, "must be a whole number"),
    ({"t": 3, "score": 1.0}, RungMissedError, "never at the rung 2"),
    ({"t": 2, "score": "high"}, OddReportError, "must be a number, got 'high' (a str)"),
    ({"t": 2, "score": None}, OddReportError, "must be a number, got None (a NoneType)"),
    ({"t": 2, "score": np.ones(2)}, OddReportError, "a numpy.ndarray of shape (2,)"),
    ({"t": 2, "score": ["0.5"]}, OddReportError, "got ['0.5'] (a list)"),
]


@pytest.mark.parametrize(("odd", "error", "why"), ODD, ids=[str(odd) for odd, *_ in ODD])
def test_one_odd_report_ends_its_run_and_not_the_study(tmp_path: Path, odd, error, why: str):
    controller = Controller(tmp_path, 2, 4)
    race = controller.study.race
    bad, good = (controller.add(race.add_group({"x": x})) for x in (0.5, 0.4))
    for trial in (bad, good):
        assert controller.start_next() is trial
    assert controller.result(bad, 1, 0.5) == TrialScheduler.CONTINUE
    assert controller.report(bad, odd) == TrialScheduler.STOP
    controller.scheduler.on_trial_complete(controller, bad, {})
    assert why in race.ledger[RunKey("g0001", 47)].error
    assert race.failed == ["g0001"] and controller.study.fatal is None
    assert controller.result(good, 1, 0.4) == TrialScheduler.CONTINUE
    assert controller.result(good, 2, 0.4) in (TrialScheduler.PAUSE, TrialScheduler.CONTINUE)
    assert race.groups["g0002"].scores
    controller.study.journal.close()
    again = Controller(tmp_path, 2, 4).study.race
    assert again.failed == ["g0001"] and again.groups["g0002"].scores


@pytest.mark.parametrize(("odd", "error", "why"), ODD, ids=[str(odd) for odd, *_ in ODD])
def test_what_the_first_report_of_a_study_shows_is_fatal(tmp_path: Path, odd, error, why: str):
    controller = Controller(tmp_path, 2, 4)
    trial = controller.add(controller.study.race.add_group({"x": 1}))
    controller.start_next()
    with pytest.raises(error) as raised:
        controller.report(trial, odd)
    assert why in str(raised.value) and controller.study.fatal is raised.value


VALUES = [np.float32(0.5), np.float16(0.5), torch.tensor(0.5), Fraction(1, 2), Decimal("0.5")]


def test_numbers_of_every_kind_and_odd_reports_in_a_study(storage: str):
    """What Ray itself would make of such reports: it takes means of them, and joins their names."""
    odd = {5: {"t": 2, 7: 1.0}, 6: {"t": 2, "score": 10**400}, 7: {"t": float("nan"), "score": 1}}

    def train(config):
        k = config["k"]
        for t in range(1, 4):
            value = VALUES[k] if k < len(VALUES) else 0.4
            tune.report(
                odd[k]
                if k in odd and t == 2
                else {"t": np.int64(t), "score": value, "other": {"x": value}}
            )

    results = SeedTuner(
        train,
        seeds=[1],
        param_space={"k": tune.grid_search(list(range(8)))},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            scheduler=ASHAScheduler(time_attr="t", max_t=3, grace_period=3),
        ),
        run_config=tune.RunConfig(name="odd", storage_path=storage),
    ).fit()
    rows = results.groups.set_index("config/k")
    assert list(rows["state"][range(5)]) == ["complete"] * 5
    assert set(rows["score"][range(5)]) == {0.5}
    assert list(rows["state"][range(5, 8)]) == ["failed"] * 3
    whys = ["names must be text", "too large for a float", "must be a whole number"]
    assert all(why in rows["why"][k] for k, why in enumerate(whys, start=5))
    for key, run in results.ledger.items():
        if results.ledger.configs[key.group]["k"] < 5:
            assert all(report["other/x"] == 0.5 for report in run.reports.values())
    assert SeedTuner.restore(results.path, train).fit().best.scores == {1: 0.5}
    assert SeedResults(results.path).best.scores == {1: 0.5}
