# pyright: reportPrivateUsage=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""torch's compiler, whose state outlives a run."""

from __future__ import annotations

import sys
from typing import Any, cast

import torch


def reset_compiler() -> None:
    """Forget what earlier runs of this process have compiled.

    Dynamo compiles a function again, with symbolic shapes, when it meets a second shape; a later
    run would start with that code. ``torch.compiler.reset`` is public, the counters are not: they
    are how torch's own tests see whether anything was compiled (torch 2.6 … 2.13).
    """
    if "torch._dynamo" not in sys.modules:  # its import takes seconds
        return
    torch.compiler.reset()
    _counters().clear()


def has_compiled() -> bool:
    """Whether anything was compiled since ``reset_compiler``, in whatever way it was asked for."""
    if "torch._dynamo" not in sys.modules:
        return False
    return sum(_counters().get("frames", {}).values()) > 0


def _counters() -> Any:
    return cast(Any, sys.modules["torch._dynamo"]).utils.counters
