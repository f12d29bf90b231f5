from __future__ import annotations

import pytest
from benchmarks import exact_runs, exactness
from benchmarks.exact_models import CASES, EPOCHS


@pytest.mark.filterwarnings("ignore:ReduceLROnPlateau conditioned on metric val_loss")
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.workers == 1])
def test_torn_down_and_resumed_at_every_epoch(name: str, tmp_path):
    assert exactness.resumed(name, str(tmp_path)) == "identical"


def test_uninterrupted_is_the_plain_script():
    ours = exact_runs.retrained(exact_runs.with_lr(CASES["everything at once"], 0.05), ())
    theirs = exact_runs.reference("everything at once", 0.05, exact_runs.SEED)
    assert sorted(ours.metrics) == list(range(1, EPOCHS + 1))
    assert theirs.first_difference(ours) is None


def test_the_comparison_can_fail():
    """A control: another seed and another learning rate come out differently."""
    name, seed = "dropout, batch norm, epoch schedule", exact_runs.SEED
    a = exact_runs.reference(name, 0.05, seed)
    assert a.first_difference(exact_runs.reference(name, 0.05, 47)) is not None
    assert a.first_difference(exact_runs.reference(name, 0.02, seed)) is not None


WAYS = [way for way in exactness.WAYS if way != "resumed at every epoch"]


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("way", WAYS)
def test_in_ray(way: str, tmp_path):
    assert exactness.WAYS[way]("everything at once", str(tmp_path)) == "identical"
