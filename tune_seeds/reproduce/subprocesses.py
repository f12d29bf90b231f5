"""Jobs in a new Python process, whose hash seed is chosen before it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class ProcessFailedError(RuntimeError):
    """A job wrote no result; the message is the last line of its error output."""


def run_module(module: str, job: bytes, variables: Mapping[str, str]) -> Any:
    """``python -m MODULE JOB RESULT`` with two files, of which it reads one and writes the other.

    Args:
        module: what to run.
        job: the content of its first file.
        variables: of its environment, beside this process's own.

    Returns:
        The JSON that it wrote.

    Raises:
        ProcessFailedError: it wrote nothing.
    """
    with tempfile.TemporaryDirectory() as directory:
        job_file, result_file = Path(directory) / "job", Path(directory) / "result"
        job_file.write_bytes(job)
        done = subprocess.run(
            [sys.executable, "-m", module, str(job_file), str(result_file)],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        if not result_file.exists():
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            why = lines[-1] if lines else f"the process ended with status {done.returncode}"
            raise ProcessFailedError(why)
        return json.loads(result_file.read_text())
