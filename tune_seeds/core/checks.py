"""Arguments of public calls, checked before anything starts: one function for each kind.

Each takes the argument's name and value, returns the value in its plain form, and raises a
``ValueError`` that names the argument, the rule and what was given. A wrong type is a
``ValueError`` too, so that a caller has one kind of error to expect.
"""

from __future__ import annotations

import inspect
import math
import os
import reprlib
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import PurePath
from typing import Any, TypeVar, cast

T = TypeVar("T")


def whole_number(name: str, value: Any, *, at_least: int, at_most: int | None = None) -> int:
    """A whole number in a range; NumPy's integers count, booleans and 2.0 do not.

    Example:
        >>> whole_number("n_finalists", 3, at_least=1)
        3
    """
    rule = f"at least {at_least}" if at_most is None else f"from {at_least} to {at_most}"
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise _refused(name, f"a whole number, {rule}", value)
    try:
        number = int(value.__index__())
    except TypeError:  # an array
        raise _refused(name, f"a whole number, {rule}", value) from None
    if number < at_least or (at_most is not None and number > at_most):
        raise ValueError(f"{name} must be {rule}, got {number}")
    return number


def real_number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> float:
    """A finite number in a range."""
    bounds = (("above", above), ("at least", at_least), ("at most", at_most))
    rule = " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
    number = _float(value)
    if number is None or not math.isfinite(number):
        raise _refused(name, f"a finite number{', ' if rule else ''}{rule}", value)
    if (
        (above is not None and number <= above)
        or (at_least is not None and number < at_least)
        or (at_most is not None and number > at_most)
    ):
        raise ValueError(f"{name} must be {rule}, got {value}")
    return number


def duration(name: str, value: Any) -> float:
    """Seconds above 0, as a number or a ``timedelta``."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    number = _float(value)
    if number is None or not math.isfinite(number) or number <= 0:
        raise _refused(name, "a number of seconds above 0, or a datetime.timedelta,", value)
    return number


def choice(name: str, value: Any, options: Iterable[str]) -> str:
    """One of a few words."""
    words = [str(option) for option in options]
    if not isinstance(value, str) or value not in words:
        raise _refused(name, f"one of {', '.join(map(repr, words))}", value)
    return str(value)


def flag(name: str, value: Any) -> bool:
    """True or False; 1 and "yes" are neither."""
    if not isinstance(value, bool):
        raise _refused(name, "True or False", value)
    return value


def path(name: str, value: Any) -> str:
    """A path or URI as text; not empty."""
    if not isinstance(value, (str, PurePath)) and not isinstance(value, os.PathLike):
        raise _refused(name, "a path", value)
    text = os.fspath(cast(Any, value))
    if not isinstance(text, str) or not text.strip():
        raise _refused(name, "a path as text, not empty,", value)
    if "\0" in text:
        raise _refused(name, "a path without the character NUL", value)
    return text


def instance(name: str, value: Any, kind: type[T], hint: str = "") -> T:
    """An object of a class, not the class itself."""
    if not isinstance(value, kind):
        if isinstance(value, type) and issubclass(value, kind):
            hint = f"that is the class; make one with {cast(Any, value).__name__}(...)"
        raise _refused(name, f"a {kind.__name__}", value, hint)
    return value


def mapping(name: str, value: Any) -> dict[str, Any]:
    """A mapping whose keys are text."""
    if not isinstance(value, Mapping):
        raise _refused(name, "a dict", value)
    for key in cast(Mapping[Any, Any], value):
        if not isinstance(key, str):
            raise ValueError(
                f"{name} has the key {key!r} (a {type(key).__name__}); keys must be text"
            )
    return dict(cast(Mapping[str, Any], value))


def takes(name: str, value: Any, *parameters: str) -> Callable[..., Any]:
    """A callable that may be called with one positional argument for each of ``parameters``."""
    called = f"a function of ({', '.join(parameters)})"
    if not callable(value):
        raise _refused(name, called, value)
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # some callables of C say nothing of their parameters
        return value
    try:
        signature.bind(*parameters)
    except TypeError as error:
        shown = getattr(value, "__name__", type(value).__name__)
        raise ValueError(f"{name} must be {called}, got {shown}{signature}: {error}") from None
    return value


def _float(value: Any) -> float | None:
    if isinstance(value, (bool, str, bytes)):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _refused(name: str, rule: str, value: Any, hint: str = "") -> ValueError:
    try:
        shown = reprlib.repr(value)
    except Exception:  # an object whose own repr fails
        shown = "an object"
    kind = "" if value is None else f" (a {type(value).__name__})"
    comma = "" if rule.endswith(",") else ","
    return ValueError(f"{name} must be {rule}{comma} got {shown}{kind}{hint and f'; {hint}'}")
