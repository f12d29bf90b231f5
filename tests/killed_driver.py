"""A driver for test_restore.py to kill: python killed_driver.py STORAGE."""

from __future__ import annotations

import sys

import ray
import tiny
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.hyperopt import HyperOptSearch

from tune_seeds import SeedTuner

if __name__ == "__main__":
    ray.init(address="auto", log_to_driver=False)
    SeedTuner(
        tiny.slow_walk,
        seeds=tiny.SEEDS,
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=6,
            search_alg=HyperOptSearch(random_state_seed=0),
            scheduler=ASHAScheduler(time_attr="t", max_t=4, reduction_factor=2),
        ),
        run_config=tune.RunConfig(name="killed", storage_path=sys.argv[1]),
        seeds_per_rung=[1, 2, 3],
        n_finalists=2,
    ).fit()
