"""What the bits of a run depend on beside its code, config and seed, recorded and compared."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

import ray
import torch

from tune_seeds.core.jsonable import plain

#: How Ray begins the resource that each node has with a GPU of a kind.
ACCELERATOR_TYPE = "accelerator_type:"

_PACKAGES = ("torch", "lightning", "numpy", "ray", "torchmetrics", "tune-seeds")


def missing_variables() -> list[str]:
    """The process variables that this process was started without.

    A process that draws its own hash seed orders sets of strings anew each time.
    """
    missing: list[str] = []
    if os.environ.get("PYTHONHASHSEED", "random") == "random" or (
        sys.flags.hash_randomization and (os.environ.get("PYTHONHASHSEED") == "0")
    ):
        missing.append("PYTHONHASHSEED")
    if torch.cuda.is_available() and "CUBLAS_WORKSPACE_CONFIG" not in os.environ:
        missing.append("CUBLAS_WORKSPACE_CONFIG")
    return missing


def record(
    seed: int,
    config: Mapping[str, Any],
    device: str,
    code: Callable[..., Any],
    workers: int = 1,
) -> dict[str, Any]:
    """What this process would compute a run with; plain types only.

    Args:
        seed: of the run.
        config: of the run; values that JSON has no word for are shown by ``repr``.
        device: ``"cpu"`` or ``"cuda"``.
        code: the user's class or function; the git revision is that of its file.
        workers: processes that train the run together.
    """
    return {
        "seed": seed,
        "config": {key: plain(value) for key, value in config.items() if key != "seed"},
        "packages": {"python": platform.python_version(), **_packages()},
        "device": _gpu_name() or _cpu_name() if device == "cuda" else _cpu_name(),
        "accelerator_type": accelerator_type(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "workers": workers,
        "hash_seed": os.environ.get("PYTHONHASHSEED", "random"),
        "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        "missing_variables": missing_variables(),
        "git": _git_revision(_directory(code)),
        **flags(),
    }


def flags() -> dict[str, Any]:
    """The torch switches that change results; taken after the ``Trainer`` has set its own."""
    mode: bool | str = torch.are_deterministic_algorithms_enabled()
    if mode and torch.is_deterministic_algorithms_warn_only_enabled():
        mode = "warn"
    return {
        "deterministic": mode,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "matmul_precision": torch.get_float32_matmul_precision(),
        "default_dtype": str(torch.get_default_dtype()),
        "mkldnn": cast(Any, torch.backends).mkldnn.enabled,
    }


@functools.cache
def accelerator_type() -> str | None:
    """Ray's word for the kind of GPU in this process's node, such as ``A100``; None without."""
    if not ray.is_initialized():
        return None
    here = ray.get_runtime_context().get_node_id()
    nodes = [node for node in cast(list[Any], ray.nodes()) if node["NodeID"] == here]
    return kind_of_gpu(nodes[0]["Resources"]) if nodes else None


def kind_of_gpu(resources: Mapping[str, float]) -> str | None:
    """Ray's word for the kind of GPU in a node with such resources."""
    kinds = sorted(name for name in resources if name.startswith(ACCELERATOR_TYPE))
    return kinds[0].removeprefix(ACCELERATOR_TYPE) if kinds else None


@functools.cache
def _packages() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _gpu_name() -> str | None:
    # Ray may count a GPU that torch can't use, of another maker or on a test cluster.
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


@functools.cache
def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            models = [line for line in file if line.startswith("model name")]
    except OSError:
        models = []
    name = models[0].partition(":")[2].strip() if models else platform.processor()
    return name or platform.machine()


def _directory(code: Any) -> str | None:
    """Where the source of a class or function lies, also of one that was pickled by value."""
    code = getattr(code, "func", code)  # of a partial
    for part in (code, *vars(code).values()) if hasattr(code, "__dict__") else (code,):
        compiled = getattr(part, "__code__", None)
        if compiled is not None:
            return os.path.dirname(os.path.abspath(compiled.co_filename))
    return None


@functools.cache
def _git_revision(directory: str | None) -> str | None:
    """The commit, with ``+`` where tracked files were changed since."""
    if directory is None or not os.path.isdir(directory):
        return None
    try:
        commit, changed = (
            subprocess.run(
                ["git", "-C", directory, *arguments],
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")
