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

import numpy as np
import torch

from tune_seeds.carried import digest

#: Variables that a process reads once, when it starts or when CUDA does.
PROCESS_VARIABLES = {"PYTHONHASHSEED": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}

_PACKAGES = ("torch", "lightning", "numpy", "ray", "torchmetrics", "tune-seeds")

#: Entries that may differ between the seeds of a group.
_SEED_DEPENDENT = frozenset({"seed", "initial_weights", "first_batch"})


def start_environment() -> None:
    """Set the process variables that are not set, for the processes that are started from here.

    Call it before ``ray.init``. This process itself has read its hash seed already.
    """
    for name, value in PROCESS_VARIABLES.items():
        os.environ.setdefault(name, value)


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
        "config": {key: _plain(value) for key, value in config.items() if key != "seed"},
        "packages": {"python": platform.python_version(), **_packages()},
        "device": torch.cuda.get_device_name() if device == "cuda" else _cpu_name(),
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


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Entry → the two values, for every entry that differs; nested ones as ``packages/torch``."""
    flat_a, flat_b = _flat(a), _flat(b)
    keys = [*flat_a, *(key for key in flat_b if key not in flat_a)]
    pairs = {key: (flat_a.get(key), flat_b.get(key)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def unwanted_differences(
    records: Mapping[int, Mapping[str, Any]],
) -> dict[str, dict[Any, list[int]]]:
    """What the runs of one group differ in beside the seed.

    Args:
        records: seed → environment record.

    Returns:
        entry → value → seeds; empty where all agree.
    """
    found: dict[str, dict[Any, list[int]]] = {}
    flat = {seed: _flat(environment) for seed, environment in records.items()}
    for key in sorted({key for entries in flat.values() for key in entries}):
        if key.partition("/")[0] in _SEED_DEPENDENT:
            continue
        values: dict[Any, list[int]] = {}
        for seed, entries in flat.items():
            values.setdefault(_hashable(entries.get(key)), []).append(seed)
        if len(values) > 1:
            found[key] = values
    return found


def fingerprint(value: Any) -> str:
    """A hash of tensors in any nesting, equal for equal bits.

    A fingerprint ends no training: where there is none (of parameters that are not initialized
    yet, say) it names the reason instead.
    """
    try:
        return digest(_tensors(value)).hex()
    except Exception as error:
        return f"none ({type(error).__name__})"


def _tensors(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, np.ndarray):
        array = cast(np.ndarray[Any, Any], value)
        return torch.from_numpy(array) if array.dtype.kind in "biuf" else repr(array.tolist())
    if isinstance(value, Mapping):
        return {str(k): _tensors(v) for k, v in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return [_tensors(item) for item in cast(list[Any], value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "__dict__"):
        return _tensors(vars(value))
    return type(value).__name__


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in cast(list[Any], value)]
    return repr(value)


def _flat(environment: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in environment.items():
        if isinstance(value, Mapping):
            flat.update(_flat(cast(Mapping[str, Any], value), f"{prefix}{key}/"))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _hashable(value: Any) -> Any:
    return tuple(map(str, cast(list[Any], value))) if isinstance(value, list) else value


@functools.cache
def _packages() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


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
