"""How far a simulated share may stray from its true value before a test calls it wrong."""

from math import sqrt


def slack(probability: float, repeats: int) -> float:
    """3.5 standard errors of a share of independent repeats: passed over once in 2,000 tests."""
    return 3.5 * sqrt(probability * (1 - probability) / repeats)
