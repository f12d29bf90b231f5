"""The random state of a run: the one module that touches the global generators."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import os
import random
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from tune_seeds._compat.torch_dynamo import reset_compiler


def seed_run(seed: int) -> None:
    """Seed Python, NumPy and torch, and data-loader workers, as a plain Lightning script does.

    Does what ``lightning.seed_everything(seed, workers=True)`` does, in Lightning 2.5 and 2.6,
    without importing Lightning: a process that trains a plain function starts in half the time.

    Args:
        seed: 0 … 2³²−1.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    # Lightning reads them when it makes data-loader workers and processes of its own.
    os.environ["PL_GLOBAL_SEED"] = str(seed)
    os.environ["PL_SEED_WORKERS"] = "1"


@contextmanager
def seeded_generators(seed: int) -> Generator[None]:
    """Seed the global generators for a while, and put their states back afterwards.

    Args:
        seed: 0 … 2³²−1.
    """
    before = rng_state()
    try:
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        yield
    finally:
        set_rng_state(before)


def reset_process(threads: int) -> None:
    """Undo what an earlier run in this process may have switched, and fix the number of threads.

    Args:
        threads: of torch; sums are split among them, so their number is part of the result.
    """
    # Per thread, and Ray starts each run of a reused process in a new one.
    torch.set_num_threads(threads)
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)
    if torch.get_default_device() != torch.device("cpu"):  # torch 2.6 can't say it after a None
        torch.set_default_device(None)
    torch.set_float32_matmul_precision("highest")
    if torch.are_deterministic_algorithms_enabled():  # the call imports torch's whole compiler
        torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False
    torch.backends.cudnn.benchmark = False
    torch.set_flush_denormal(False)
    torch.autograd.set_detect_anomaly(False)
    np.seterr(all="warn", under="ignore")
    reset_compiler()


_SWITCHES: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "threads": (torch.get_num_threads, torch.set_num_threads),
    "dtype": (
        lambda: str(torch.get_default_dtype()).partition(".")[2],
        lambda name: torch.set_default_dtype(getattr(torch, name)),
    ),
    "matmul": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "deterministic": (
        lambda: [
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ],
        lambda on: torch.use_deterministic_algorithms(on[0], warn_only=on[1]),
    ),
    "cudnn": (
        lambda: [torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark],
        lambda on: (
            setattr(torch.backends.cudnn, "deterministic", on[0]),
            setattr(torch.backends.cudnn, "benchmark", on[1]),
        ),
    ),
    "anomaly": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "numpy errors": (lambda: dict(np.geterr()), lambda on: np.seterr(**on)),
}


def switches() -> dict[str, Any]:
    """What of torch's and NumPy's settings a run may switch while it trains, as plain types."""
    return {name: get() for name, (get, _) in _SWITCHES.items()}


def set_switches(changed: Mapping[str, Any]) -> None:
    """Put back some of what ``switches`` returned."""
    for name, value in changed.items():
        _SWITCHES[name][1](value)


def rng_state() -> dict[str, Any]:
    """The states of the global generators of Python, NumPy, torch and every CUDA device in use.

    One of several DDP workers uses one device, and where it finds it depends on its neighbours: a
    worker's state holds that of its own device alone.

    Returns:
        Tensors and plain types only, so that ``torch.load(weights_only=True)`` accepts it in a
        checkpoint.
    """
    version, internal, gauss = random.getstate()
    # NumPy is pinned to its legacy global generator here: that is what `np.random.rand` draws from.
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "python": {"version": version, "internal": torch.tensor(internal), "gauss": gauss},
        "numpy": {
            "name": str(name),
            "keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        one = _is_one_of_several()
        state["cuda"] = [torch.cuda.get_rng_state()] if one else torch.cuda.get_rng_state_all()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Put back what ``rng_state`` returned.

    Args:
        state: from ``rng_state``, perhaps through ``torch.save`` and ``torch.load``.

    Raises:
        ValueError: the state holds more CUDA devices than this process sees.
    """
    python, numpy = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["internal"].tolist()), python["gauss"]))
    np.random.set_state(
        (
            numpy["name"],
            numpy["keys"].cpu().numpy().astype(np.uint32),
            numpy["position"],
            numpy["has_gauss"],
            numpy["cached"],
        )
    )
    # A checkpoint loaded onto a GPU moves every tensor there; the CPU generator takes CPU bytes.
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and _is_one_of_several():
        torch.cuda.set_rng_state(state["cuda"][0].cpu())
    elif "cuda" in state:
        if len(state["cuda"]) > torch.cuda.device_count():
            raise ValueError(
                f"the checkpoint holds RNG states of {len(state['cuda'])} CUDA devices, but this "
                f"process sees {torch.cuda.device_count()}; give the run as many GPUs as before"
            )
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])


def _is_one_of_several() -> bool:
    group = torch.distributed
    return group.is_available() and group.is_initialized() and group.get_world_size() > 1
