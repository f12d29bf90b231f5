"""Python's cyclic garbage collector beside the half a million objects of torch, Ray and the like.

A full collection looks at each of them: 0.27 s, as long as an epoch of a small training. They stay
until the process ends, so they are taken out of what it looks at.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


def freeze_imports() -> None:
    """Let later collections of this process look at newer objects alone; does so once."""
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


@contextmanager
def frozen_objects() -> Generator[None]:
    """The same for a while; afterwards what has become garbage meanwhile can be collected."""
    before = gc.get_freeze_count()
    freeze_imports()
    try:
        yield
    finally:
        if not before:
            gc.unfreeze()
