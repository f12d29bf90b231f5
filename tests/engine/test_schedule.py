from __future__ import annotations

from pathlib import Path

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray_controller import Controller

from tune_seeds.core.ledger import RunKey
from tune_seeds.core.rungs import Rung

pytestmark = pytest.mark.usefixtures("ray_session")  # Ray names a trial's folder after its session


def test_a_run_that_is_promoted_while_its_pause_is_being_saved_gets_its_slot(tmp_path: Path):
    controller = Controller(tmp_path)
    race = controller.study.race
    good, other = (controller.add(race.add_group({"x": x})) for x in (0.5, 0.4))
    assert controller.start_next() is good
    assert controller.start_next() is other
    assert controller.result(good, 1, 0.5) == TrialScheduler.PAUSE
    # Ray saves the pause; until that is done the trial is RUNNING. The other's score promotes it.
    assert controller.result(other, 1, 0.4) == TrialScheduler.PAUSE
    for _ in range(3):  # the first call promotes it, later ones look at what runs
        assert controller.start_next() is None, "its pause is not carried out yet"
    key = RunKey("g0001", 47)
    assert race.groups["g0001"].goal == Rung(2, 1)
    assert race.queue == [key] and key not in race.busy, "it waits; it was not started"
    for trial in (good, other):
        trial.set_status(Trial.PAUSED)
    assert controller.start_next() is good
    assert controller.start_next() is None
    assert race.busy == {key}
    assert controller.result(good, 2, 0.6) == TrialScheduler.STOP
    controller.scheduler.on_trial_complete(controller, good, {})
    race.exhaust()
    assert race.done
