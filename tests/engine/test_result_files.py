"""``result.json`` and ``progress.csv`` of many trials, as Ray's own loggers write them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from pyarrow.fs import LocalFileSystem
from ray.tune.logger.csv import CSVLoggerCallback
from ray.tune.logger.json import JsonLoggerCallback

from tune_seeds._compat.ray_loggers import CsvLogger, JsonLogger, result_loggers


class OnDisk:
    """What these loggers ask of a trial; a real one needs a running Ray."""

    checkpoint = None

    def __init__(self, path: Path, k: int):
        self.trial_id, self.config, self.local_path = f"t{k}", {"x": k}, str(path / f"trial{k}")

    def init_local_path(self) -> None:
        os.makedirs(self.local_path, exist_ok=True)


def trials(path: Path, n: int) -> list[OnDisk]:
    made = [OnDisk(path, k) for k in range(n)]
    for trial in made:
        trial.init_local_path()
    return made


def written(path: Path, callbacks: list, n: int = 3) -> dict[str, str]:
    """What two loggers write of runs that take turns, go on and end."""
    for trial in (made := trials(path, n)):
        for callback in callbacks:
            callback.log_trial_start(trial)
    for epoch in (1, 2):
        for k, trial in enumerate(made):
            result = {"epoch": epoch, "loss": k / epoch, "config": trial.config}
            for callback in callbacks:
                callback.log_trial_result(epoch, trial, result)
    for callback in callbacks:
        callback.log_trial_end(made[0])
        callback.log_trial_start(made[0])
        callback.log_trial_result(3, made[0], {"epoch": 3, "loss": 0.5})
    files = sorted(path.rglob("*.json")) + sorted(path.rglob("*.csv"))
    return {str(file.relative_to(path)): file.read_text() for file in files}


def test_they_write_what_rays_own_write(tmp_path: Path):
    theirs = written(tmp_path / "theirs", [JsonLoggerCallback(), CSVLoggerCallback()])
    ours = written(tmp_path / "ours", [JsonLogger(), CsvLogger()])
    assert ours == theirs
    assert sum(name.endswith("result.json") for name in ours) == 3


def test_waiting_trials_hold_no_files(tmp_path: Path):
    loggers = [JsonLogger(), CsvLogger()]
    before = len(psutil.Process(os.getpid()).open_files())
    written(tmp_path / "many", loggers, n=60)
    assert len(psutil.Process(os.getpid()).open_files()) <= before


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        (None, [JsonLogger, CsvLogger]),
        ([CSVLoggerCallback()], [JsonLogger]),
        ([JsonLoggerCallback(), CSVLoggerCallback()], []),
    ],
)
def test_a_users_own_logger_does_its_work(given, kinds):
    assert [type(logger) for logger in result_loggers(given)] == kinds


def test_rays_switch_for_its_loggers_is_honoured(monkeypatch):
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    assert result_loggers(None) == []


class Stored(OnDisk):
    """A trial that goes on from a checkpoint, with an older copy of its files on the storage."""

    checkpoint = object()

    def __init__(self, path: Path, k: int):
        super().__init__(path / "local", k)
        storage = path / "storage" / f"trial{k}"
        storage.mkdir(parents=True)
        for name in ("result.json", "progress.csv"):
            (storage / name).write_text("old\n")
        self.storage = SimpleNamespace(
            trial_fs_path=str(storage), storage_filesystem=LocalFileSystem()
        )


@pytest.mark.parametrize("kind", [JsonLogger, CsvLogger])
def test_the_lines_of_this_driver_outlive_a_pause_and_another_driver_takes_the_stored_ones(
    tmp_path: Path, kind: type
):
    trial = Stored(tmp_path, 0)
    trial.init_local_path()
    file = Path(trial.local_path, "result.json" if kind is JsonLogger else "progress.csv")
    file.write_text("own\n")
    result = {"epoch": 1, "loss": 0.5, "config": trial.config}
    kind().log_trial_result(1, trial, result)
    assert file.read_text().startswith("own\n")
    file.unlink()  # as in a driver that has restored the study
    kind().log_trial_result(1, trial, result)
    assert file.read_text().startswith("old\n")
