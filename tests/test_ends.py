"""Ways in which a study ends before its end, and who may go on with it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import tiny
from ray import tune

from tune_seeds import SeedResults, SeedTuner
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.errors import StudyInUseError
from tune_seeds.store.lease import Lease

pytestmark = pytest.mark.usefixtures("ray_session")


def test_sigterm_ends_a_study_in_order_and_one_driver_goes_on(storage, tmp_path: Path, capsys):
    driver = os.getpid()

    def interrupts(config):
        if config["x"] == 0.2 and not (tmp_path / "again").exists():
            (tmp_path / "again").touch()
            os.kill(driver, signal.SIGTERM)
        tiny.slow_walk(config)

    def make() -> SeedTuner:
        return SeedTuner(
            interrupts,
            seeds=[1],
            param_space={"x": tune.grid_search([0.1, 0.2, 0.3])},
            tune_config=tune.TuneConfig(metric="score", mode="max", max_concurrent_trials=1),
            run_config=tune.RunConfig(name="ends", storage_path=storage),
        )

    assert not SeedTuner.can_restore(f"{storage}/ends")
    tuner, twin = make(), make()
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as status:
        tuner.fit()
    assert status.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is handler
    assert f"SeedTuner.restore({tuner.path!r}, trainable).fit()" in capsys.readouterr().out
    before = SeedResults(tuner.path)
    assert before.completeness.left == "SIGTERM"
    with pytest.raises(FileExistsError, match="continue it with SeedTuner"):
        twin.fit()

    assert SeedTuner.can_restore(tuner.path)

    # Whatever process drives it: the one that comes second is refused, and changes nothing.
    lease = Lease.take(ExperimentDir.at(tuner.path))
    with pytest.raises(StudyInUseError, match=f"process {os.getpid()} on .* since"):
        SeedTuner.restore(tuner.path, interrupts).fit()
    assert SeedResults(tuner.path).groups.equals(before.groups)
    lease.release()
    results = SeedTuner.restore(tuner.path, interrupts).fit()
    assert set(results.groups["state"]) == {"complete"}
    for name in ("study.json", "study.pkl", "trainable.pkl"):
        assert Path(tuner.path, name).stat().st_mode & 0o077 == 0, "they may hold secrets"


@pytest.mark.parametrize("name", ["..", ".", "../../x", "/x", "a/../../x", "a\x1b[2J", "a\nb"])
def test_a_name_that_is_none_of_a_directory_in_the_storage_is_refused(storage, name):
    with pytest.raises(ValueError, match=r"RunConfig\(name="):
        SeedTuner(
            tiny.walk,
            seeds=[1],
            param_space={"x": tune.grid_search([0.1])},
            tune_config=tune.TuneConfig(metric="score", mode="max"),
            run_config=tune.RunConfig(name=name, storage_path=storage),
        )
