"""Private names of Python's standard library, seen in Python 3.11, 3.12 and 3.13."""

from __future__ import annotations


def belongs_to_abc(attribute: str) -> bool:
    """Whether ``abc`` keeps an attribute of this name in an abstract class, for its own caches.

    It is an object of C code (``_abc_impl``), which can't be pickled or compared.
    """
    return attribute.startswith("_abc_")
