"""The random state of a run: the one module that touches the global generators."""

from __future__ import annotations

import random
from typing import Any

import lightning
import numpy as np
import torch

MAX_SEED = 2**32 - 1


def seed_run(seed: int) -> None:
    """Seed Python, NumPy and torch, and data-loader workers, as a plain Lightning script does.

    Args:
        seed: 0 … 2³²−1.
    """
    lightning.seed_everything(seed, workers=True, verbose=False)


def rng_state() -> dict[str, Any]:
    """The states of the global generators of Python, NumPy, torch and every CUDA device in use.

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
        state["cuda"] = torch.cuda.get_rng_state_all()
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
    if "cuda" in state:
        if len(state["cuda"]) > torch.cuda.device_count():
            raise ValueError(
                f"the checkpoint holds RNG states of {len(state['cuda'])} CUDA devices, but this "
                f"process sees {torch.cuda.device_count()}; give the run as many GPUs as before"
            )
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
