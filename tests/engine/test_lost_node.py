"""Losing a node costs time, not configs; GPUs are shared by fractions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "cluster" / "lost_node.py"


@pytest.mark.slow
def test_a_study_outlives_a_node_and_uses_one_that_joins(tmp_path: Path):
    environment = {name: v for name, v in os.environ.items() if name != "RAY_ADDRESS"}
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
    )
    lines = ended.stdout.splitlines()
    found = [line.removeprefix("FOUND ") for line in lines if line.startswith("FOUND ")]
    assert found, ended.stdout[-3000:]
    report = json.loads(found[0])
    assert report["came and went"] and report["finished"]
    assert report["wrong"] == [], "every curve is that of an uninterrupted run"
    assert "failed" not in report["states"]
    assert report["best"] == 0.8
    assert all(report["starts on"][node] > 0 for node in ("first", "second")), report
    assert report["without a GPU"] == 0
