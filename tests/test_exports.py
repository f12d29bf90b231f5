"""Whatever a public call can raise or return has a public name."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections import defaultdict
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import tune_seeds
from tune_seeds import testing

#: Raised and caught within the package, or what a user's object is turned into on the way.
INNER = {
    "Blueprint",
    "ExperimentDir",
    "NotResumedError",
    "SeededTrainable",
    "Stopped",
    "UnpicklableError",
}


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(tune_seeds.__path__, "tune_seeds."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def classes() -> dict[str, type]:
    """Every class of the package that does not hide, by its name."""
    found: dict[str, type] = {}
    for module in modules():
        for name, value in vars(module).items():
            own = inspect.isclass(value) and value.__module__ == module.__name__
            if own and not name.startswith("_"):
                found[name] = value
    return found


def annotations(value: Any) -> Iterator[tuple[str, str]]:
    """The attributes and methods of a class, or a function, with what they give back."""
    if inspect.isfunction(value):
        yield "", str(value.__annotations__.get("return", ""))
        return
    for kind in value.__mro__:
        if not kind.__module__.startswith("tune_seeds"):
            continue
        for name, member in vars(kind).items():
            if name == "__annotations__":
                shown = {k: v for k, v in member.items() if not k.startswith("_")}
                yield from ((k, str(v)) for k, v in shown.items())
            if name.startswith("_"):
                continue
            function = getattr(member, "fget", None) or getattr(member, "func", None) or member
            function = getattr(function, "__func__", function)
            if inspect.isfunction(function):
                yield name, str(function.__annotations__.get("return", ""))


def test_every_error_is_exported():
    errors = {name for name, kind in classes().items() if issubclass(kind, BaseException)}
    assert errors - INNER - {*testing.__all__} <= {*tune_seeds.__all__}


def test_every_type_that_a_public_call_gives_back_is_exported():
    known = classes()
    missing: defaultdict[str, list[str]] = defaultdict(list)
    for public in tune_seeds.__all__:
        for name, annotation in annotations(getattr(tune_seeds, public)):
            for word in re.findall(r"\w+", annotation):
                if word in known and word not in {*tune_seeds.__all__, *INNER}:
                    missing[word].append(f"{public}.{name}".rstrip("."))
    assert not missing


def test_what_is_exported_is_documented():
    undocumented = [name for name in tune_seeds.__all__ if not getattr(tune_seeds, name).__doc__]
    assert not undocumented
