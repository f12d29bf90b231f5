from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

# Ray reads it when it starts. At its default niceness workers crawl beside anything busy.
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

# Workers import by name what tests train: from tiny.py and the like, from the experiments, and
# from the test modules themselves.
_HERE = Path(__file__).parent
_FOLDERS = sorted(str(folder) for folder in _HERE.iterdir() if folder.is_dir())
_PLACES = [str(_HERE), str(_HERE.parent / "experiments"), *_FOLDERS]
_PLACES.append(os.environ.get("PYTHONPATH", ""))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, _PLACES))

import ray  # noqa: E402 - reads the environment set above

# The only reasons for which a test may be skipped; any other fails the run.
ALLOWED_SKIPS = ("chromium is not installed", "no CUDA device")


# They train, or start processes; what is left is the pure core and what shows its results.
_SLOW_FOLDERS = ("experiments", "handover", "reproduce", "training")
_SLOW_FILES = ("test_cluster.py", "test_imports.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use Ray: ``pytest -m "not slow"`` is the quick selection.

    Those of the core that take more than a second of their own say so themselves.
    """
    for item in items:
        names, path = getattr(item, "fixturenames", ()), item.path
        slow = path.parent.name in _SLOW_FOLDERS or path.name in _SLOW_FILES
        if slow or "ray_session" in names:
            item.add_marker(pytest.mark.slow)


N_CPUS = 2


def _start_ray() -> None:
    ray.init(num_cpus=N_CPUS, include_dashboard=False, log_to_driver=False)


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray for the whole run: starting one takes seconds."""
    _start_ray()
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def _whole_ray(request: pytest.FixtureRequest) -> None:
    """Each test finds every CPU free; where one does not come back, Ray is started anew.

    Ray 2.60 can lose those of a placement group that is removed while it is being made, as the end
    of a study removes what nobody needs any more: nothing holds them, and they stay taken.
    """
    if "ray_session" not in request.fixturenames:
        return
    request.getfixturevalue("ray_session")
    end = time.monotonic() + 20
    while ray.available_resources().get("CPU", 0) < N_CPUS:
        if time.monotonic() > end:
            ray.shutdown()
            _start_ray()
            return
        time.sleep(0.2)


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return str(tmp_path / "ray_results")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if not any(allowed in reason for allowed in ALLOWED_SKIPS):
            report.outcome = "failed"
            report.longrepr = f"skipped for a reason that is not on the list: {reason}"
    return report
