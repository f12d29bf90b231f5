"""Random generators that a user's object holds, which a loader's workers get copies of."""

from __future__ import annotations

import random
import types
from typing import Any, cast

import numpy as np
import torch

_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)


def generator_paths(value: Any) -> list[str]:
    """Where an object, a data set say, holds random generators of its own."""
    found: list[str] = []
    seen: set[int] = set()
    waiting = [("dataset", value)]
    while waiting:
        path, item = waiting.pop(0)
        if id(item) in seen or isinstance(item, (type, types.ModuleType, torch.Tensor)):
            continue
        seen.add(id(item))
        if isinstance(item, _GENERATORS):
            found.append(path)
        elif isinstance(item, (list, tuple)):
            waiting.extend((f"{path}/{i}", part) for i, part in enumerate(cast(list[Any], item)))
        elif isinstance(item, dict):
            waiting.extend((f"{path}/{k}", part) for k, part in cast(Any, item).items())
        elif hasattr(item, "__dict__"):
            waiting.extend((f"{path}/{name}", part) for name, part in vars(item).items())
    return found
