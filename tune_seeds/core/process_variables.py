"""Variables of the environment that change what a process computes, and are read when it starts."""

from __future__ import annotations

import os

#: Variables that a process reads once, when it starts or when CUDA does.
PROCESS_VARIABLES = {"PYTHONHASHSEED": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


def start_environment() -> None:
    """Set the process variables that are not set, for the processes that are started from here.

    Call it before ``ray.init``. This process itself has read its hash seed already.
    """
    for name, value in PROCESS_VARIABLES.items():
        os.environ.setdefault(name, value)
