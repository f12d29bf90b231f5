"""Where a study's metric and mode come from."""

from __future__ import annotations

import pytest
from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
)

from tune_seeds.engine.ray_options import read_metric


def test_metric_and_mode_may_come_from_any_place_but_must_agree():
    config = tune.TuneConfig(scheduler=ASHAScheduler(metric="acc", mode="max"))
    assert read_metric(config) == ("acc", "max")
    config = tune.TuneConfig(metric="acc", mode="max", scheduler=ASHAScheduler(metric="loss"))
    with pytest.raises(ValueError, match="TuneConfig says 'acc', the scheduler says 'loss'"):
        read_metric(config)
    with pytest.raises(ValueError, match="mode is missing"):
        read_metric(tune.TuneConfig(metric="acc"))
    with pytest.raises(ValueError, match="metric is missing"):
        read_metric(tune.TuneConfig(mode="max"))
