"""What a run may report: any real number, by a name that is text, at a whole epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, SupportsFloat, SupportsIndex, cast

import numpy as np


class OddReportError(ValueError):
    """A report that can't be used: a value that is no number, or an epoch that is not whole."""


def number(value: Any) -> float | None:
    """A reported value as a float; None where it is no real number.

    Every kind of real number counts: Python's, NumPy's scalars, ``Fraction``, ``Decimal``,
    booleans, and arrays and tensors without dimensions of any library (known by ``ndim`` and
    ``item``). Text is never read as a number, and a masked value is nan.

    Raises:
        OddReportError: it is a number that no float can hold, such as ``10**400``.

    Example:
        >>> from fractions import Fraction
        >>> number(np.float32(0.5)), number(Fraction(1, 4)), number(True), number("0.5")
        (0.5, 0.25, 1.0, None)
    """
    if isinstance(value, (str, bytes, bytearray)):
        return None
    if isinstance(value, np.ma.MaskedArray) and value.ndim == 0 and bool(value.mask):
        return math.nan
    if callable(getattr(value, "item", None)) and hasattr(value, "ndim"):
        if value.ndim != 0:
            return None
        value = value.item()
        if isinstance(value, (str, bytes)):
            return None
    if not hasattr(value, "__float__") and not hasattr(value, "__index__"):
        return None
    try:
        return float(cast(SupportsFloat | SupportsIndex, value))
    except OverflowError as error:
        raise OddReportError(
            f"the number {_shown(value)} is too large for a float; report its logarithm, or scale "
            "it"
        ) from error
    except (TypeError, ValueError):  # a complex number of some library, a signalling nan
        return None


def whole(name: str, value: Any) -> int:
    """A reported epoch or step.

    Raises:
        OddReportError: it is no whole number.
    """
    found = number(value)
    if found is None or not math.isfinite(found) or found != int(found):
        raise OddReportError(
            f"{name!r}, by which progress is counted, must be a whole number in every report, got "
            f"{described(value)}"
        )
    return int(found)


def described(value: Any) -> str:
    """A value with its type and, for arrays, its shape, for a message."""
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"a {name} of shape {tuple(shape)}"
    return f"{_shown(value)} (a {name})"


def with_plain_numbers(metrics: Mapping[Any, Any]) -> dict[str, Any]:
    """A report whose real numbers are Python's own, nested ones included; the rest as it is.

    Ray's bookkeeping takes running means of what it is given, and ends the whole study over a
    number that does not mix with floats, a name that is not text, or a tensor.

    Raises:
        OddReportError: a number that no float can hold, or a name that is not text.
    """
    plain: dict[str, Any] = {}
    for name, value in metrics.items():
        if not isinstance(name, str):
            raise OddReportError(
                f"a metric is named {name!r} (a {type(name).__name__}); names must be text"
            )
        if isinstance(value, Mapping):
            plain[name] = with_plain_numbers(cast(Mapping[Any, Any], value))
        elif type(value) is int:
            number(value)
            plain[name] = value
        elif isinstance(value, (bool, float)) and type(value) in (bool, float):
            plain[name] = value
        else:
            found = number(value)
            plain[name] = value if found is None else found
    return plain


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # repr of a huge integer is refused by Python itself
        return "of more digits than can be shown"
    return text if len(text) <= 60 else f"{text[:57]}..."
