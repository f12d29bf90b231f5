"""A policy of a user's own, from the argument of SeedTuner to a restored study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import tiny
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from tune_seeds import CannotLoadPolicyError, SeedResults, SeedTuner
from tune_seeds.core.ledger import Ledger
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import TO_THE_END, Rung
from tune_seeds.policies.base import Policy, Promotion
from tune_seeds.policies.given import checked_policy
from tune_seeds.race.race import Race
from tune_seeds.statistics.aggregate import get_aggregate
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.live_study import Study
from tune_seeds.store.own_policy import POLICY, store_policy
from tune_seeds.store.rebuild.race import rebuild
from tune_seeds.store.study_spec import Header
from tune_seeds.testing import Driver, check_policy


class BestOfAll:
    """Takes every config to the first rung, and then the best one to the last.

    Args:
        epochs: of the first and of the last rung.
        n_seeds: of the study.
        worst: lead with the worst config instead, as no other policy does.
    """

    def __init__(self, epochs: tuple[int, int] = (1, 3), n_seeds: int = 2, worst: bool = False):
        self.rungs = (Rung(epochs[0], 1), Rung(epochs[1], n_seeds))
        self.worst = worst
        self.scores: dict[str, dict[Rung, float]] = {}
        self.goals: dict[str, Rung] = {}
        self.gone: set[str] = set()

    def first(self) -> Rung:
        return self.rungs[0]

    def promoted(self, group: str, rung: Rung) -> None:
        self.goals[group] = rung

    def scored(
        self,
        group: str,
        rung: Rung,
        values: Sequence[float],
        score: float,
        recent: Sequence[float] = (),
    ) -> None:
        self.scores.setdefault(group, {})[rung] = -score if self.worst else score

    def dropped(self, group: str) -> None:
        self.gone.add(group)

    def revived(self, group: str) -> None:
        self.gone.discard(group)

    def propose(self, *, exhausted: bool, n_slots: int = 1, n_busy: int = 0) -> Promotion | None:
        alive = [group for group in self.goals if group not in self.gone]
        if not exhausted or any(self.goals[g] not in self.scores.get(g, {}) for g in alive):
            return None  # a run that is on its way has yet to report
        leader = self.leader()
        if leader is None or self.goals[leader] == self.rungs[-1]:
            return None
        return Promotion(leader, self.rungs[-1])

    def fresh(self, rungs: Sequence[Rung], n_finalists: int) -> BestOfAll:
        lower, upper = rungs
        return BestOfAll((lower.epochs, upper.epochs), upper.n_seeds, self.worst)

    def leader(self) -> str | None:
        for rung in reversed(self.rungs):
            there = {
                group: by_rung[rung]
                for group, by_rung in self.scores.items()
                if rung in by_rung and group not in self.gone
            }
            if there:
                return max(sorted(there), key=there.__getitem__)
        return None


class Unpicklable(BestOfAll):
    def __reduce__(self) -> Any:
        raise TypeError("it holds a socket")


def test_the_example_is_sound():
    check_policy(lambda: BestOfAll((1, 3), 2), n_finalists=1, n_histories=60)


def used() -> BestOfAll:
    policy = BestOfAll()
    policy.promoted("g0001", policy.first())
    policy.scored("g0001", policy.first(), [1.0], 1.0)
    return policy


def with_rungs(*rungs: Any) -> BestOfAll:
    policy = BestOfAll()
    policy.rungs = rungs
    return policy


class Half:
    rungs = (Rung(1, 2),)

    def propose(self) -> None: ...


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (BestOfAll, r"is the class BestOfAll; give an instance"),
        (Half(), "Half lacks scored, promoted, dropped, revived, first, fresh, leader"),
        (used(), "knows groups of another study"),
        (BestOfAll((1, 3), 3), "last rung of BestOfAll has 3 seeds, and the study has 2"),
        (with_rungs(), "a tuple of at least one Rung"),
        (with_rungs((1, 2)), "a tuple of at least one Rung"),
        (with_rungs(Rung(3, 1), Rung(1, 2)), "must rise"),
        (with_rungs(Rung(1, 2), Rung(3, 1), Rung(9, 2)), "must rise"),
        (with_rungs(Rung(3, 2), Rung(3, 2)), "must rise"),
        (with_rungs(Rung(1, 1), Rung(TO_THE_END, 2)), "mix"),
        (Unpicklable(), "can't be pickled.*it holds a socket"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(given: Any, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=message):
        tuner(str(tmp_path), given)
    assert not list(tmp_path.iterdir())


def test_a_policy_of_one_rung_may_leave_the_end_to_the_runs():
    policy = with_rungs(Rung(TO_THE_END, 2))
    assert checked_policy(policy, 2) is policy


def test_a_policy_and_a_scheduler_contradict_each_other(tmp_path: Path):
    with pytest.raises(ValueError, match="leave the scheduler out"):
        tuner(str(tmp_path), BestOfAll(), scheduler=ASHAScheduler(max_t=3))


def tuner(storage: str, policy: Any, **tune_config: Any) -> SeedTuner:
    return SeedTuner(
        tiny.walk,
        seeds=[47, 881],
        seeds_per_rung=policy,
        param_space={"x": tune.grid_search([0.1, 0.4, 0.2])},
        tune_config=tune.TuneConfig(metric="score", mode="max", **tune_config),
        run_config=tune.RunConfig(name="own", storage_path=storage),
        n_finalists=1,
    )


def left_study(storage: str, given: BestOfAll, n_scored: int | None = None) -> Path:
    """The directory of a study, driven without Ray; left after some scores, or finished."""
    launch = tuner(storage, given)._launch
    launch.directory.create()
    launch.arguments.write(launch.directory)
    assert launch.policy is not None
    store_policy(launch.directory, launch.policy)
    launch.header.write(launch.directory)
    study = Study(launch.directory, driven(launch.header, launch.header.make_policy(launch.policy)))
    configs = [{"x": x} for x in (0.1, 0.4, 0.2)]
    driver = Driver(study.race, configs, lambda config, seed, epoch: config["x"] * epoch)
    while n_scored is None or sum(len(g.scores) for g in study.race.groups.values()) < n_scored:
        if not driver.step():
            break
    study.journal.close()
    return Path(launch.directory.path)


def driven(header: Header, policy: Policy) -> Race:
    ledger = Ledger(header.seeds, Metric(header.metric, header.mode))
    return Race(ledger, policy, get_aggregate(header.aggregate))


def test_a_finished_study_reads_the_same_without_its_policy(tmp_path: Path):
    given = BestOfAll()
    path = left_study(str(tmp_path), given)
    assert given.leader() is None, "the study has a copy of its own"
    results = SeedResults(str(path))
    assert results.header.policy == "test_own_policy:BestOfAll"
    assert [str(rung) for rung in results.header.rungs] == ["1x1", "3x2"]
    assert results.completeness.finished and results.leader == "g0002"
    assert sum(run.last_epoch for run in results.ledger.values()) == 2 * 1 + 2 * 3
    assert str(SeedResults(str(path), policy=BestOfAll())) == str(results)
    assert "was not asked" not in str(results)


def test_an_unfinished_study_says_who_was_not_asked(tmp_path: Path):
    path = str(left_study(str(tmp_path), BestOfAll(), n_scored=2))
    left = SeedResults(path)
    assert not left.completeness.finished
    assert "test_own_policy:BestOfAll was not asked who leads" in str(left)
    assert left.leader == "g0002"
    asked = SeedResults(path, policy=BestOfAll(worst=True))
    assert asked.leader == "g0001" and "was not asked" not in str(asked)
    loaded = SeedResults(path, unpickle=True)
    assert loaded.leader == "g0002" and "was not asked" not in str(loaded)
    with pytest.raises(ValueError, match="started with 1x1 3x2"):
        SeedResults(path, policy=BestOfAll((1, 9)))


def test_a_restored_study_has_its_policy(tmp_path: Path):
    path = str(left_study(str(tmp_path), BestOfAll(worst=True), n_scored=2))
    assert SeedTuner.can_restore(path)
    launch = SeedTuner.restore(path, tiny.walk)._launch
    assert isinstance(launch.policy, BestOfAll) and launch.policy.worst
    assert launch.trainable.time_attr == launch.header.time_attr
    race = driven(launch.header, launch.header.make_policy(launch.policy))
    assert rebuild(race, launch.directory) is None
    assert race.policy.leader() == "g0001"


def test_a_study_with_it_grows_by_configs_and_keeps_its_rungs(tmp_path: Path):
    path = str(left_study(str(tmp_path), BestOfAll(worst=True)))
    launch = SeedTuner.restore(path, tiny.walk, time_budget_s=60)._launch
    assert launch.growth is not None
    assert launch.growth.rungs == launch.header.rungs
    for more in ({"seeds": 3}, {"max_t": 9}):
        with pytest.raises(ValueError, match=r"BestOfAll laid the rungs of this study, 1x1 3x2"):
            SeedTuner.restore(path, tiny.walk, **more)


def test_a_policy_that_can_t_be_loaded_steers_nothing(tmp_path: Path):
    path = left_study(str(tmp_path), BestOfAll())
    before = str(SeedResults(str(path)))
    (path / POLICY).write_bytes(b"cno_such_module\nBestOfAll\n.")
    assert str(SeedResults(str(path))) == before
    for steer in (
        lambda: SeedTuner.restore(str(path), tiny.walk),
        lambda: SeedResults(str(path), unpickle=True),
        lambda: SeedTuner.confirm(str(path), [5], trainable=tiny.walk),
    ):
        with pytest.raises(CannotLoadPolicyError, match=r"BestOfAll.*no_such_module.*importable"):
            steer()
    (path / POLICY).write_bytes(cloudpickle.dumps(Unpicklable))
    with pytest.raises(CannotLoadPolicyError, match="put the file of this study back"):
        SeedResults(str(path), unpickle=True)


@pytest.mark.usefixtures("ray_session")
def test_a_study_on_ray_is_steered_by_it(storage: str):
    results = tuner(storage, BestOfAll()).fit()
    assert results.completeness.finished
    assert (results.groups["state"] == "complete").sum() == 1
    assert results.leader == results.groups["group"][0]
    assert sum(run.last_epoch for run in results.ledger.values()) == 2 * 1 + 2 * 3


def test_another_policy_can_t_take_the_place(tmp_path: Path):
    header = header_of(tmp_path)
    with pytest.raises(ValueError, match="user's policy mine:Policy, which is not given"):
        header.make_policy()
    with pytest.raises(ValueError, match="started with 1x1 3x2"):
        header.make_policy(BestOfAll((1, 9), 2))
    given = BestOfAll()
    made = header.make_policy(given)
    made.promoted("g0001", Rung(1, 1))
    assert not given.goals, "each race has its own"


def header_of(path: Path) -> Header:
    header = Header(
        seeds=(1, 2),
        metric="score",
        mode="max",
        time_attr="training_iteration",
        policy="mine:Policy",
        rungs=(Rung(1, 1), Rung(3, 2)),
        reduction_factor=4.0,
        n_finalists=1,
        aggregate="mean",
        on_seed_failure="fail",
        confirm_seeds=(),
        confirm_top=3,
        num_samples=4,
        search_seed=0,
        param_space={},
        version="0",
    )
    header.write(ExperimentDir.at(path))
    assert Header.read(ExperimentDir.at(path)) == header
    return header
