from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hyperopt.base import JOB_STATE_DONE, JOB_STATE_ERROR
from hypothesis import given
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Searcher
from ray.tune.search.hyperopt import HyperOptSearch
from ray.tune.search.optuna import OptunaSearch

from tune_seeds.core.ledger import Ledger, RunKey
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung
from tune_seeds.engine.search import MAX_EQUAL, SeedSearch
from tune_seeds.engine.search_feedback import on_one_scale
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.race import Decision, Race
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.live_study import Study

SEEDS = (47, 881)
RUNGS = (Rung(1, 1), Rung(2, 1), Rung(2, 2))


def test_groups_that_went_on_share_out_their_own_first_scores():
    scores = {
        "a": {1: 0.9, 2: 0.95},  # the best start, the worst of those that went on
        "b": {1: 0.8, 2: 0.97, 3: 0.5},
        "c": {1: 0.7, 2: 0.96, 3: 0.6},
        "d": {1: 0.75},
    }
    # At rung 2 a, b, c hold 0.9, 0.8, 0.7 and come in as b, c, a; at rung 3 c beats b.
    assert on_one_scale(scores) == {"a": 0.7, "b": 0.8, "c": 0.9, "d": 0.75}


def test_a_group_may_skip_a_rung():
    scores = {"a": {1: 0.9, 3: 0.2}, "b": {1: 0.8, 2: 0.5}, "c": {1: 0.7, 3: 0.3}}
    assert on_one_scale(scores) == {"a": 0.7, "b": 0.8, "c": 0.9}


def test_equal_scores_higher_up_change_nothing():
    assert on_one_scale({"a": {1: 1, 2: 5}, "b": {1: 2, 2: 5}}) == {"a": 1, "b": 2}


fields = st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=4), max_size=12)


@given(fields)
def test_values_are_the_first_scores_and_rank_each_rungs_groups(field: list[list[float]]):
    scores = {f"g{i}": dict(enumerate(line, start=1)) for i, line in enumerate(field)}
    values = on_one_scale(scores)
    assert sorted(values.values()) == sorted(line[0] for line in field)
    for one, first in scores.items():
        if len(first) == 1 and not any(len(line) > 1 for line in field):
            assert values[one] == first[1]
        for other, second in scores.items():
            if len(first) == len(second) and first[len(first)] > second[len(first)]:
                assert values[one] >= values[other]


def curve(config: dict[str, Any], seed: int, epoch: int) -> float:
    """Who starts well ends badly; the second seed turns it around once more."""
    x = config["x"]
    return 10 + x if epoch == 1 else 20 - x + (2 * x if seed == SEEDS[1] else 0)


class Driver:
    """A searcher behind ``SeedSearch`` in one experiment's directory; trains in one slot."""

    def __init__(self, path: Path, searcher: Searcher, mode: str = "max", n_configs: int = 9):
        path.mkdir(exist_ok=True)
        self.mode = mode
        self.searcher = searcher
        self.searcher.set_search_properties("score", mode, {"x": tune.uniform(0, 1)})
        policy = SuccessiveHalving(RUNGS, 3, 2)
        race = Race(Ledger(SEEDS, Metric("score", mode)), policy, statistics.fmean)
        self.study = Study(ExperimentDir.at(path), race)
        self.race = self.study.race
        self.search = SeedSearch(self.study, searcher, {}, n_configs)
        self.n_trials = len(race.groups) * 10

    def run(self, limit: int = 1000, fails: Callable[[RunKey, int], bool] = lambda key, e: False):
        """Train up to ``limit`` epochs, then let the searcher hear what is new."""
        while limit > 0:
            if not self.race.busy:
                self.n_trials += 1
                suggested = self.search.suggest(f"t{self.n_trials}")
                if not self.race.queue:
                    assert suggested in (None, Searcher.FINISHED)
                    break
                self.race.start(self.race.queue[0])
            (key,) = self.race.busy
            decision = Decision.CONTINUE
            while decision is Decision.CONTINUE and limit > 0:
                limit -= 1
                epoch = self.race.ledger[key].last_epoch + 1
                if fails(key, epoch):
                    self.race.fail(key, "planted")
                    break
                value = curve(self.race.ledger.configs[key.group], key.seed, epoch)
                sign = 1 if self.mode == "max" else -1
                decision = self.race.report(key, epoch, {"score": sign * value})
            if decision is Decision.FINISH:
                self.race.complete(key)
        self.search.close()

    def expected(self) -> dict[float, float]:
        """x → what should have been told of it."""
        race = self.race
        scores = {
            name: {k: group.scores[rung] for k, rung in enumerate(RUNGS, 1) if rung in group.scores}
            for name, group in race.groups.items()
            if group.scores and not group.lost
        }
        values = on_one_scale(scores)
        return {race.ledger.configs[n]["x"]: race.ledger.metric.own(v) for n, v in values.items()}


def hyperopt_holds(searcher: Any) -> dict[float, float]:
    """x → loss, of the trials that TPE learns from."""
    return {
        doc["misc"]["vals"]["x"][0]: doc["result"]["loss"]
        for doc in searcher._hpopt_trials.trials
        if doc["state"] == JOB_STATE_DONE
    }


def optuna_holds(searcher: Any) -> dict[float, float]:
    trials = searcher._ot_study.get_trials(states=[TrialState.COMPLETE])
    return {trial.params["x"]: trial.value for trial in trials}


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("limited", [False, True])
def test_hyperopt_holds_every_scored_group_on_one_scale(tmp_path: Path, mode: str, limited: bool):
    inner = HyperOptSearch(metric="score", mode=mode, random_state_seed=0, n_initial_points=3)
    driver = Driver(tmp_path / "s", ConcurrencyLimiter(inner, 2) if limited else inner, mode)
    sign = -1 if mode == "max" else 1
    for _ in range(30):
        driver.run(limit=1)
        held = hyperopt_holds(inner)
        assert held == {x: sign * value for x, value in driver.expected().items()}
    driver.run()
    assert driver.race.done
    waits = [g for g in driver.race.groups.values() if set(g.scores) == {RUNGS[0]}]
    assert waits and len(hyperopt_holds(inner)) == 9
    # Who started best did not end best, so it holds the best value no longer.
    best = max(driver.race.groups.values(), key=lambda group: group.scores[RUNGS[0]])
    x = driver.race.ledger.configs[list(driver.race.groups)[best.index]]["x"]
    assert hyperopt_holds(inner)[x] > min(hyperopt_holds(inner).values())


@pytest.mark.parametrize("mode", ["max", "min"])
def test_optuna_holds_every_scored_group_on_one_scale_and_its_scores_by_rung(
    tmp_path: Path, mode: str
):
    inner = OptunaSearch(metric="score", mode=mode, seed=0)
    driver = Driver(tmp_path / "s", inner, mode)
    for _ in range(30):
        driver.run(limit=1)
        assert optuna_holds(inner) == driver.expected()
    driver.run()
    sign = driver.race.ledger.metric.own(1.0)
    for trial in inner._ot_study.get_trials(states=[TrialState.COMPLETE]):
        name = next(n for n, c in driver.race.ledger.configs.items() if c == trial.params)
        scores = driver.race.groups[name].scores
        assert trial.intermediate_values == {
            k: sign * scores[rung] for k, rung in enumerate(RUNGS, 1) if rung in scores
        }
    assert max(len(t.intermediate_values) for t in inner._ot_study.trials) == len(RUNGS)


@pytest.mark.parametrize(
    ("make", "holds"),
    [(HyperOptSearch, hyperopt_holds), (OptunaSearch, optuna_holds)],
    ids=["hyperopt", "optuna"],
)
class TestBoth:
    @staticmethod
    def turned(driver: Driver, holds: Any) -> dict[float, float]:
        held = holds(driver.searcher)
        return {x: -v for x, v in held.items()} if holds is hyperopt_holds else held

    def test_a_restore_goes_on_telling(self, tmp_path: Path, make: Any, holds: Any):
        driver = Driver(tmp_path / "s", make(metric="score", mode="max"))
        driver.run(limit=8)
        before = holds(driver.searcher)
        driver.study.journal.close()
        again = Driver(tmp_path / "s", make(metric="score", mode="max"))
        assert before and holds(again.searcher) == before
        again.run()
        assert again.race.done
        assert self.turned(again, holds) == again.expected()
        assert len(holds(again.searcher)) == 9

    def test_a_group_that_fails_higher_up_is_told_as_an_error_until_it_is_retried(
        self, tmp_path: Path, make: Any, holds: Any
    ):
        driver = Driver(tmp_path / "s", make(metric="score", mode="max"))
        failed: list[RunKey] = []

        def fails(key: RunKey, epoch: int) -> bool:
            if epoch == 2 and not failed:
                failed.append(key)
            return key in failed and epoch == 2

        driver.run(limit=5, fails=fails)
        key = failed[0]
        x = driver.race.ledger.configs[key.group]["x"]
        assert driver.race.groups[key.group].scores.keys() == {RUNGS[0]}
        assert x not in holds(driver.searcher)
        assert self.turned(driver, holds) == driver.expected()
        if holds is hyperopt_holds:
            states = {d["tid"]: d["state"] for d in driver.searcher._hpopt_trials._dynamic_trials}
            assert list(states.values()).count(JOB_STATE_ERROR) == 1
        driver.race.retry(key)
        driver.run()
        assert x in holds(driver.searcher)
        assert self.turned(driver, holds) == driver.expected()

    def test_a_failure_before_the_first_rung_is_told_as_an_error(
        self, tmp_path: Path, make: Any, holds: Any
    ):
        driver = Driver(tmp_path / "s", make(metric="score", mode="max"))
        driver.run(fails=lambda key, epoch: key.group == "g0002")
        assert len(holds(driver.searcher)) == 8
        assert driver.race.ledger.configs["g0002"]["x"] not in holds(driver.searcher)

    def test_equal_configs_are_told_alike(self, tmp_path: Path, make: Any, holds: Any):
        class Rounded(make):
            def suggest(self, trial_id: str) -> dict[str, float]:
                return {"x": 0.2 if super().suggest(trial_id)["x"] < 0.5 else 0.8}

        # Unseeded, a searcher may draw values of one half only, and never another.
        seed = {"random_state_seed": 3} if issubclass(make, HyperOptSearch) else {"seed": 3}
        driver = Driver(tmp_path / "s", Rounded(metric="score", mode="max", **seed))
        driver.run()
        assert len(driver.race.groups) == 2
        held, expected = self.turned(driver, holds), driver.expected()
        assert len(held) >= 2 + MAX_EQUAL, "asked until it had no others"
        assert all(v == expected[0.2 if x < 0.5 else 0.8] for x, v in held.items())


class Notes(Searcher):
    """Any other searcher: suggests in turn and keeps what it is told."""

    def __init__(self):
        super().__init__()
        self.told: list[tuple[str, Any, bool]] = []

    def set_search_properties(self, metric, mode, config, **spec):
        return True

    def suggest(self, trial_id):
        return {"x": int(trial_id[1:]) / 10}

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.told.append((trial_id, result, error))

    def save(self, checkpoint_path):
        Path(checkpoint_path).write_text("")

    def restore(self, checkpoint_path):
        pass


def test_any_other_searcher_hears_the_first_score_of_each_config_once(tmp_path: Path):
    driver = Driver(tmp_path / "s", Notes())
    driver.run(limit=8)
    driver.study.journal.close()
    again = Driver(tmp_path / "s", Notes())
    again.run()
    told = driver.searcher.told + again.searcher.told
    expected = {"epoch": 1, "n_seeds": 1, "training_iteration": 1}
    assert told == [
        (f"c{i:04d}", {"score": curve({"x": i / 10}, 47, 1), **expected}, False)
        for i in range(1, 10)
    ]


def test_trials_in_a_database_are_told_once(tmp_path: Path):
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "optuna.log")))
    driver = Driver(tmp_path / "s", OptunaSearch(metric="score", mode="max", storage=storage))
    driver.run()
    assert driver.race.done
    assert sorted(optuna_holds(driver.searcher).items()) == sorted(
        (config["x"], curve(config, 47, 1)) for config in driver.race.ledger.configs.values()
    )
