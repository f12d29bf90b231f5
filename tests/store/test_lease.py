from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.fs
import pytest

from tune_seeds.store import lease as lease_module
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.errors import StudyInUseError, StudyLostError
from tune_seeds.store.lease import LEASE, Lease, Owner, read_owner


@pytest.fixture(params=["disk", "object store"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> ExperimentDir:
    if request.param == "disk":
        found = ExperimentDir.at(tmp_path / "exp")
    else:
        fs = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
        found = ExperimentDir(fs, "exp")
    found.create()
    return found


def left_by(directory: ExperimentDir, **changes: object) -> Owner:
    owner = dataclasses.replace(Owner.here(), **changes)
    directory.write(LEASE, json.dumps(dataclasses.asdict(owner)).encode())
    return owner


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_one_at_a_time_and_the_next_when_it_is_free(directory: ExperimentDir):
    lease = Lease.take(directory)
    with pytest.raises(StudyInUseError, match=r"process \d+ on .* drives it since 20\d\d-"):
        Lease.take(directory)
    lease.confirm()
    lease.release()
    assert not directory.exists(LEASE)
    Lease.take(directory).release()


ELSEWHERE = {"machine": "another", "host": "node7"}


def test_an_owner_that_has_ended_is_no_obstacle(directory: ExperimentDir):
    for changes in (
        {},  # this process, from a drive that has ended
        {"pid": ended_process()},
        {"pid": 1, "started": "before that one"},  # the pid is another process's by now
    ):
        left_by(directory, **changes)
        Lease.take(directory).release()


def test_a_record_cut_by_a_crash_is_no_obstacle(directory: ExperimentDir):
    for damage in (b"", b"{", b"[1]", b'{"host": "a"}', b"\xff"):
        directory.write(LEASE, damage)
        Lease.take(directory).release()


def test_an_owner_that_may_be_alive_is_one(directory: ExperimentDir):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        alive = {"pid": process.pid, "started": lease_module._started(process.pid)}
        for changes in (alive, ELSEWHERE, {**ELSEWHERE, "beat": time.time() + 3600}):
            owner = left_by(directory, **changes)
            with pytest.raises(StudyInUseError, match="take_over=True"):
                Lease.take(directory)
            assert read_owner(directory) == owner
    finally:
        process.communicate()


def test_an_owner_elsewhere_is_gone_when_it_is_silent_and_stays_so(directory, monkeypatch):
    monkeypatch.setattr(lease_module, "PERIOD_S", 0.05)
    left_by(directory, **ELSEWHERE, beat=time.time() - lease_module.GONE_AFTER_S - 1)
    Lease.take(directory).release()


def test_a_driver_that_was_taken_over_notices(directory: ExperimentDir, monkeypatch):
    monkeypatch.setattr(lease_module, "PERIOD_S", 0.05)
    first = Lease.take(directory)
    second = Lease.take(directory, take_over=True)
    deadline = time.monotonic() + 30
    with pytest.raises(StudyLostError, match="was taken over: process"):
        while time.monotonic() < deadline:
            first.check()
            time.sleep(0.01)
    second.confirm()
    first.release()
    second.confirm()
    assert directory.exists(LEASE)
    second.release()


def test_a_directory_that_is_deleted_meanwhile_is_noticed(directory, tmp_path, monkeypatch):
    monkeypatch.setattr(lease_module, "PERIOD_S", 0.05)
    lease = Lease.take(directory)
    shutil.rmtree(tmp_path / "exp")
    deadline = time.monotonic() + 30
    with pytest.raises(StudyLostError, match=r"exp was deleted .* while the study ran"):
        while time.monotonic() < deadline:
            lease.check()
            time.sleep(0.01)
    lease.release()
    assert not (tmp_path / "exp").exists()


def test_it_gives_signs_of_life(directory: ExperimentDir, monkeypatch):
    monkeypatch.setattr(lease_module, "PERIOD_S", 0.05)
    lease = Lease.take(directory)
    first = read_owner(directory)
    deadline = time.monotonic() + 30
    while (now := read_owner(directory)) == first or now is None:
        assert time.monotonic() < deadline
    assert dataclasses.replace(now, beat=first.beat) == first
    lease.release()
