"""What an analysis can't say, as errors."""

from __future__ import annotations


class NoCompleteGroupError(RuntimeError):
    """No config can be called best: each one failed, or none had come to a rung."""


class NothingToCompareError(RuntimeError):
    """No group holds every seed at that rung."""
