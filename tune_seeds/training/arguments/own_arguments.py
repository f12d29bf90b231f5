"""The arguments of ``LightningTrainer`` beside those that it hands to Lightning."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from lightning import Trainer

from tune_seeds.core import checks
from tune_seeds.training.config_routing import parameters


def check_unknown(given: Mapping[str, Any]) -> None:
    """Refuse keyword arguments that ``LightningTrainer`` does not have."""
    known, _ = parameters(Trainer)
    for name, value in given.items():
        if name in known:
            raise ValueError(
                f"{name} is an argument of lightning.Trainer; give it as "
                f"trainer_kwargs={{{name!r}: {value!r}}}"
            )
        own = ("train_dataloaders", "val_dataloaders", "trainer_kwargs", "cpus", "gpus", "pause")
        own = (*own, "num_workers", "datamodule", "resources")
        near = difflib.get_close_matches(name, own, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"LightningTrainer takes no {name!r}{hint}")


def check_resources(cpus: Any, gpus: Any, num_workers: Any, resources: Any) -> None:
    """Refuse resources out of their ranges."""
    checks.real_number("cpus", cpus, above=0)
    checks.whole_number("num_workers", num_workers, at_least=1)
    if gpus != "auto":
        n = checks.real_number("gpus", gpus)
        if n < 0 or (n > 1 and n != int(n)):
            raise ValueError(
                "gpus must be between 0 and 1 per worker, a whole number of them for code that "
                f"spreads one model over several, or 'auto', got {gpus}"
            )
        if num_workers > 1 and n > 1:
            raise ValueError(
                f"gpus={gpus} with num_workers={num_workers}: each worker drives one GPU; give "
                "gpus=1 and as many workers as a run has GPUs"
            )
        if num_workers > 1 and n not in (0, 1):
            raise ValueError(
                f"gpus={gpus} with num_workers={num_workers}: DDP needs a GPU for each worker; "
                "give gpus=1, or gpus=0 to train on CPUs"
            )
    for name, amount in checks.mapping("resources", {} if resources is None else resources).items():
        if name.lower() in ("cpu", "gpu", "num_cpus", "num_gpus"):
            argument = "cpus" if "cpu" in name.lower() else "gpus"
            raise ValueError(f"resources must not hold {name!r}: give {argument}=...")
        checks.real_number(f"resources[{name!r}]", amount, above=0)
