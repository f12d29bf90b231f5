"""Without the trackers themselves: ``experiments/trackers.py`` runs the real ones, offline."""

from __future__ import annotations

import math
import posixpath
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from benchmarks.made_up import MadeUp, steps

from tune_seeds.views.trackers.callback import Filed, filed
from tune_seeds.views.trackers.config_log import params
from tune_seeds.views.trackers.tools import TOOLS, mlflow_name


class WandbLoggerCallback:
    """As much of Ray's as is touched."""

    def __init__(self) -> None:
        self.kwargs = {"mode": "offline", "config": {"mine": 1}}
        self.project = "project"
        self.calls: list[tuple[Any, ...]] = []

    def on_trial_start(self, iteration, trials, trial, **info):
        self.calls.append(("start", trial.trial_id, dict(self.kwargs)))

    def on_trial_complete(self, iteration, trials, trial, **info):
        self.calls.append(("complete", trial.trial_id))

    def on_experiment_end(self, trials, **info):
        self.calls.append(("end",))


class Recorder:
    """A tool that notes what it is told."""

    def named(self, values):
        return {name.upper(): value for name, value in values.items()}

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def before_start(self, trial, place):
        self.told.append(("before", trial.trial_id, place))

    def after_start(self, trial, place):
        self.told.append(("after", trial.trial_id, place))

    def log_config(self, place, config, cells):
        self.told.append(("config", place, config, cells))


@pytest.fixture
def study(tmp_path: Path):
    path = tmp_path / "study"
    made = MadeUp([{"x": k, "net": {"width": 8}} for k in range(6)], fails=frozenset({(5, 47)}))
    *_, last = steps(path, made)
    return last


def trial(study, group: str, seed: int) -> Any:
    (key,) = [key for key in study.trials if key == (group, seed)]
    return SimpleNamespace(trial_id=study.trials[key], config={**study.race.ledger.configs[group]})


def test_a_run_says_its_seed_config_and_group_around_its_start(study):
    inner, tool = WandbLoggerCallback(), Recorder()
    callback = Filed(inner, tool, study, "cifar")
    one = trial(study, "g0002", 47)
    callback.on_trial_start(0, [], one)
    place = {"experiment": "cifar", "group": "g0002", "seed": 47}
    assert tool.told == [("before", one.trial_id, place), ("after", one.trial_id, place)]
    assert [call[0] for call in inner.calls] == ["start"]


def test_each_config_is_logged_once_at_the_end_before_the_tool_closes(study):
    inner, tool = WandbLoggerCallback(), Recorder()
    Filed(inner, tool, study, "cifar").on_experiment_end([])
    assert [told[1]["group"] for told in tool.told].count("g0001") == 1
    assert len(tool.told) == 6
    best = tool.told[0]
    assert best[2] == {"X": best[2]["X"], "NET/WIDTH": 8}
    assert best[3]["seeds"] == 3 and best[3]["epochs"] == 9
    group = study.race.groups[best[1]["group"]]
    assert best[3]["score"] == group.scores[study.race.policy.rungs[-1]]
    assert best[3]["interval_low"] < best[3]["score"] < best[3]["interval_high"]
    one_seed = next(told[3] for told in tool.told if told[3]["seeds"] == 1)
    assert "std" not in one_seed and "interval_low" not in one_seed
    assert inner.calls == [("end",)]
    again = Recorder()  # after it was confirmed, say
    Filed(WandbLoggerCallback(), again, study, "cifar").on_experiment_end([])
    assert not again.told


def test_a_config_that_a_tracker_refused_is_logged_the_next_time(study):
    class Refuses(Recorder):
        def log_config(self, place, config, cells):
            if place["group"] == "g0002":
                raise ConnectionError("no server")
            super().log_config(place, config, cells)

    Filed(WandbLoggerCallback(), Refuses(), study, "cifar").on_experiment_end([])
    again = Recorder()
    Filed(WandbLoggerCallback(), again, study, "cifar").on_experiment_end([])
    assert [told[1]["group"] for told in again.told] == ["g0002"]


def test_a_run_that_did_not_start_since_a_restore_is_not_ended(study):
    inner = WandbLoggerCallback()
    callback = Filed(inner, Recorder(), study, "cifar")
    one, other = trial(study, "g0001", 47), trial(study, "g0002", 47)
    callback.on_trial_start(0, [], one)
    callback.on_trial_complete(0, [], one)
    callback.on_trial_complete(0, [], other)
    assert [call[:2] for call in inner.calls if call[0] == "complete"] == [
        ("complete", one.trial_id)
    ]


def test_a_tracker_is_shown_a_config_and_names_that_it_takes(study):
    class Asks(WandbLoggerCallback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            self.calls.append((str(trial), trial.trial_id, trial.config, result))

    inner = Asks()
    callback = Filed(inner, Recorder(), study, "cifar")
    one = trial(study, "g0001", 47)
    callback.on_trial_start(0, [], one)
    callback.on_trial_result(0, [], one, {"acc": 1.0, "config": {"x": 0}})
    config = {"X": 0, "NET/WIDTH": 8}
    assert inner.calls[-1] == (str(one), one.trial_id, config, {"ACC": 1.0, "config": config})


def test_a_tracker_that_refuses_is_warned_of_once_and_ends_nothing(study, caplog):
    class Refuses(WandbLoggerCallback):
        def on_trial_start(self, iteration, trials, trial, **info):
            raise ConnectionError("no server")

    callback = Filed(Refuses(), Recorder(), study, "cifar")
    for _ in range(2):
        callback.on_trial_start(0, [], trial(study, "g0001", 47))
    assert caplog.text.count("Refuses did not take something: ConnectionError: no server") == 1


def test_hostile_values_are_cut_and_stay_apart():
    shown = params(
        {"a": {"b.c": "z" * 5000, "": None}, "": 1, "nan": math.nan, "n": 10**30, "f": len}
    )
    assert shown["nan"] == "nan" and shown["n"] == str(10**30) and shown["''"] == 1
    assert params({"group": 1, "seed": 2}) == {"config/group": 1, "seed": 2}
    assert set(shown) == {"a/b.c", "a/", "''", "nan", "n", "f"}
    assert all(len(value) <= 250 for value in shown.values() if isinstance(value, str))


@pytest.mark.parametrize("name", ["val/acc", "net.lr", "a b", "ключ", "x:y-z_1"])
def test_names_that_mlflow_takes_are_left(name):
    assert mlflow_name(name) == name


@pytest.mark.parametrize(
    "name", ["val/acc%\"'", "</script>", "", "/a", "a//b", "..", "../a", "a/", "k" * 300, "a\nb"]
)
def test_names_that_mlflow_refuses_become_ones_that_it_takes(name):
    """Its rules: these characters only, at most 250, and as a path no other one."""
    found = mlflow_name(name)
    assert re.fullmatch(r"[/\w.\- :]+", found) and len(found) <= 250
    assert posixpath.normpath(found) == found and not found.startswith(("/", "."))
    assert found != mlflow_name(f"{name}'")


def test_wandb_gets_a_group_for_each_trial_and_keeps_what_the_user_gave(study):
    inner = WandbLoggerCallback()
    callback = filed(inner, study, "cifar")
    assert isinstance(callback, Filed)
    for group in ("g0001", "g0002"):
        callback.on_trial_start(0, [], trial(study, group, 47))
    for (_, _, kwargs), group in zip(inner.calls, ("g0001", "g0002"), strict=True):
        assert kwargs["group"] == f"cifar/{group}"
        assert kwargs["mode"] == "offline"
        assert kwargs["config"] == {
            "mine": 1,
            "x": int(group[-1]) - 1,
            "net/width": 8,
            "experiment": "cifar",
            "group": group,
            "seed": 47,
        }


def test_subclasses_of_rays_trackers_are_known_and_others_are_left_alone(study):
    class Mine(WandbLoggerCallback): ...

    assert isinstance(filed(Mine(), study, "cifar"), Filed)
    other = object()
    assert filed(other, study, "cifar") is other
    assert set(TOOLS) == {
        "WandbLoggerCallback",
        "MLflowLoggerCallback",
        "AimLoggerCallback",
        "CometLoggerCallback",
    }
