from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Ray reads it when it starts. At its default niceness workers crawl beside anything busy.
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

# Workers import the tests' own modules (tiny.py) and those of the experiments by name.
_HERE = Path(__file__).parent
_PLACES = [str(_HERE), str(_HERE.parent / "experiments"), os.environ.get("PYTHONPATH", "")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, _PLACES))

import ray  # noqa: E402 - reads the environment set above

# The only reasons for which a test may be skipped; any other fails the run.
ALLOWED_SKIPS = ("chromium is not installed", "no CUDA device")


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray for the whole run: starting one takes seconds."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


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
