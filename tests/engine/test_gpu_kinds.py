"""A group's runs on one kind of GPU, where a cluster has several."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ray.tune import PlacementGroupFactory
from ray_controller import Controller

from tune_seeds.core.ledger import RunKey
from tune_seeds.engine.schedule.gpu_kinds import GpuKinds

A100 = {"CPU": 8.0, "GPU": 4.0, "accelerator_type:A100": 1.0}
T4 = {"CPU": 8.0, "GPU": 1.0, "accelerator_type:T4": 1.0}
CPUS = {"CPU": 64.0}


def kinds(*nodes: dict[str, float], **resources: float) -> GpuKinds:
    return GpuKinds({"cpu": 1, "gpu": 1, **resources}, lambda: list(nodes))


def kind(given: PlacementGroupFactory | None) -> str | None:
    if given is None:
        return None
    (bundle,) = given.bundles
    assert bundle["CPU"] == 1 and bundle["GPU"] > 0
    (name,) = [name for name in bundle if name.startswith("accelerator_type:")]
    return name.partition(":")[2]


def test_groups_are_spread_by_the_number_of_gpus_and_keep_their_kind():
    chooser = kinds(A100, T4, CPUS)
    first = {f"g{n}": kind(chooser.resources(f"g{n}")) for n in range(10)}
    assert Counter(first.values()) == {"A100": 8, "T4": 2}
    again = {group: kind(chooser.resources(group)) for group in reversed(first)}
    assert again == first


def test_a_restored_group_goes_back_to_the_kind_that_its_runs_recorded():
    chooser = kinds(A100, T4)
    assert kind(chooser.resources("g1", "T4")) == "T4"
    assert kind(chooser.resources("g1")) == "T4"


@pytest.mark.parametrize(
    ("chooser", "known"),
    [
        (kinds(A100, A100, CPUS), None),
        (kinds(CPUS), None),
        (kinds(A100, T4, gpu=0), None),
        (kinds(A100, T4, **{"accelerator_type:T4": 0.01}), None),
        (kinds(A100, T4), "H100"),
        (kinds(A100, T4, cpu=99), None),
        (GpuKinds(None, lambda: [A100, T4]), None),
    ],
    ids=["one kind", "no GPU", "runs on CPUs", "chosen", "gone", "no room", "none"],
)
def test_where_there_is_no_choice_nothing_is_asked_for(chooser: GpuKinds, known: str | None):
    assert chooser.resources("g1", known) is None


def test_all_workers_of_a_run_train_on_one_kind():
    places = PlacementGroupFactory([{}, {"GPU": 1}, {"GPU": 1}])
    asked = GpuKinds(places, lambda: [A100, T4]).resources("g1")
    assert asked is not None
    workers = asked.bundles
    assert asked.head_bundle_is_empty and len(workers) == 2 and workers[0] == workers[1]
    assert [name for name in workers[0] if name.startswith("accelerator_type:")]


@pytest.mark.usefixtures("ray_session")
def test_a_trial_asks_for_its_groups_kind_and_a_move_is_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    controller = Controller(tmp_path)
    controller.scheduler._kinds = kinds(A100, T4)
    race = controller.study.race
    trial = controller.add(race.add_group({"x": 1}))
    key = RunKey("g0001", 47)
    race.note_environment(key, environment("T4"))
    assert controller.start_next() is trial
    assert kind(trial.placement_group_factory) == "T4"
    controller.scheduler._environments.note(key, environment("T4"))
    assert "went_on_with" not in race.ledger[key].environment
    controller.scheduler._environments.note(key, environment("A100"))
    assert race.ledger[key].environment["went_on_with"] == {
        "device": "NVIDIA A100",
        "accelerator_type": "A100",
    }
    assert race.ledger[key].environment["device"] == "NVIDIA T4"
    assert "goes on with another device (NVIDIA A100)" in caplog.text


def environment(kind: str) -> dict[str, Any]:
    here = {"device": f"NVIDIA {kind}", "accelerator_type": kind}
    return {**here, "cpu_capability": "AVX2", "packages": {"torch": "2.13.0"}}
