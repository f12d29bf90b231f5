"""Plain JSON values for values of any type."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Container, Mapping
from enum import Enum
from typing import Any, cast

import numpy as np

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def plain(value: Any, *, document: bool = False) -> Any:
    """A value of any type as JSON takes it: the one way from our objects to JSON.

    Numbers and text stay, NumPy's become Python's own, tuples become lists, keys become text. The
    rest depends on who reads it:

    * A config, or what was reported, must be told apart from others like it, and shown. What JSON
      has no word for is its ``repr``: objects, and numbers that are not finite.
    * A document is read by programs that know its schema. There numbers that are not finite are
      null, dataclasses are objects, arrays are lists, and members of enumerations are their text.

    Args:
        value: of any type.
        document: whether it is for a document.

    Example:
        >>> plain({"lr": np.float32(0.5), 1: (2, math.nan), "net": print})
        {'lr': 0.5, '1': [2, 'nan'], 'net': '<built-in function print>'}
        >>> plain({"interval": np.array([0.25, math.inf])}, document=True)
        {'interval': [0.25, None]}
    """
    if isinstance(value, np.generic) or (document and isinstance(value, np.ndarray)):
        value = value.tolist()
    if document and isinstance(value, Enum):
        return str(value)
    if document and dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        value = {field.name: getattr(value, field.name) for field in fields}
    if isinstance(value, dict):
        return {str(k): plain(v, document=document) for k, v in cast(Any, value).items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, document=document) for item in cast(list[Any], value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None if document else repr(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return repr(value)


def is_plain(value: Any) -> bool:
    """Whether JSON can hold a value as it is, but for tuples, which become lists."""
    if isinstance(value, dict):
        items = cast(dict[Any, Any], value).items()
        return all(isinstance(key, str) and is_plain(item) for key, item in items)
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, cast(list[Any], value)))
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) in (bool, int, str)


def flat(
    config: Mapping[str, Any], prefix: str = "", *, whole: Container[str] = ()
) -> dict[str, Any]:
    """A config without nesting: keys joined by ``/``, values that JSON can hold.

    An empty dict stays as a value, so that no key is lost; objects are shown by their ``repr``
    without its address, which would differ from process to process.

    Args:
        config: perhaps nested.
        prefix: of the keys.
        whole: flat keys whose values are kept as one, even where they are dicts.
    """
    flattened: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value and name not in whole:
            flattened.update(flat(cast(dict[str, Any], value), f"{name}/", whole=whole))
        else:
            flattened[name] = _without_addresses(plain(value))
    return flattened


def _without_addresses(value: Any) -> Any:
    if isinstance(value, str):
        return _ADDRESS.sub("", value)
    if isinstance(value, list):
        return [_without_addresses(item) for item in cast(list[Any], value)]
    if isinstance(value, dict):
        return {k: _without_addresses(v) for k, v in cast(dict[str, Any], value).items()}
    return value
