"""What ``Trainer.fit`` of different versions of Lightning takes."""

from __future__ import annotations

import inspect
from typing import Any

from lightning import Trainer


def safe_loading(safe: bool) -> dict[str, Any]:
    """The argument that says whether a checkpoint is loaded without running code.

    ``Trainer.fit(weights_only=...)`` came with Lightning 2.6. Lightning 2.5 always unpickles a
    local checkpoint in full, so it needs no argument to take hyperparameters of any type.
    """
    known = inspect.signature(Trainer.fit).parameters
    return {"weights_only": safe} if "weights_only" in known else {}
