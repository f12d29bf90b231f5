"""What a trainable is made of, part by part, so that a restore notices when it has changed.

The code of a class or function is its source without comments and docstrings, together with that
of everything of the user's own that it names: base classes, helper functions, constants, what a
closure holds. Installed packages are left to their versions, which every run records.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.metadata
import inspect
import platform
import site
import sys
import sysconfig
import textwrap
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from tune_seeds.store.identity import identity
from tune_seeds.training.trainable import SeededTrainable

_PACKAGES = ("torch", "lightning", "ray", "numpy")
_PLAIN = (str, bytes, bool, int, float, complex, type(None))

#: How deep code is followed from the trainable; cycles end by themselves.
_DEPTH = 12

_PACKAGE = str(Path(__file__).resolve().parents[1])
_INSTALLED = tuple(
    {
        *(str(Path(path).resolve()) for path in site.getsitepackages()),
        str(Path(site.getusersitepackages()).resolve()),
        *(str(Path(sysconfig.get_paths()[k]).resolve()) for k in ("stdlib", "platstdlib")),
        _PACKAGE,
    }
)


def fingerprint(trainable: SeededTrainable) -> dict[str, str]:
    """Part → a digest of it, or its value where that is short; equal where nothing has changed.

    The entries that begin with ``version of`` say what the parts run on.
    """
    parts = cast(Mapping[str, Any], getattr(trainable, "parts", {}))  # absent in older pickles
    found = {name: _part(value) for name, value in parts.items()}
    found["version of python"] = platform.python_version()
    for package in _PACKAGES:
        try:
            found[f"version of {package}"] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The parts of a trainable that have changed, and what it runs on that has.

    Parts that one of both does not know are left out: another version of this package took them.

    Returns:
        Names of parts; and sentences on versions.
    """
    changed = [name for name in then if name in now and then[name] != now[name]]
    parts = [name for name in changed if not name.startswith("version of ")]
    versions = [
        f"{name.removeprefix('version of ')} was {then[name]} and is {now[name]}"
        for name in changed
        if name not in parts
    ]
    return parts, versions


def _part(value: Any) -> str:
    if isinstance(value, _PLAIN):
        return repr(value)
    return _Walk().of(value, 0).hex()


class _Walk:
    """Digests values and the user's code behind them; each object once."""

    def __init__(self) -> None:
        self._done: dict[int, bytes] = {}
        self._alive: list[Any] = []  # so that no id is given to another object meanwhile

    def of(self, value: Any, depth: int) -> bytes:
        """The digest of a value."""
        if isinstance(value, _PLAIN):
            return _digest(type(value).__name__, repr(value))
        if id(value) in self._done:
            return self._done[id(value)]
        named = _digest("named", _name(value))
        if depth > _DEPTH:
            return named
        self._done[id(value)] = named  # for what refers to itself
        self._alive.append(value)
        found = self._done[id(value)] = self._taken_apart(value, depth)
        return found

    def _taken_apart(self, value: Any, depth: int) -> bytes:
        if isinstance(value, functools.partial):
            made = cast(Any, value)
            parts = (made.func, list(made.args), dict(made.keywords))
            return _digest("partial", *(self.of(part, depth + 1) for part in parts))
        if isinstance(value, types.MethodType):
            inside = (value.__func__, value.__self__)
            return _digest("method", *(self.of(part, depth + 1) for part in inside))
        if isinstance(value, types.FunctionType):
            return self._of_function(value, depth)
        if isinstance(value, type):
            return self._of_class(value, depth)
        if isinstance(value, types.ModuleType):
            return _digest("module", value.__name__)
        if isinstance(value, (list, tuple)):
            items = cast(list[Any], value)
            return _digest("list", *(self.of(item, depth + 1) for item in items))
        if isinstance(value, dict):
            pairs = cast(dict[Any, Any], value).items()
            inner = sorted(_digest(repr(k), self.of(v, depth + 1)) for k, v in pairs)
            return _digest("dict", *inner)
        return self._of_object(value, depth)

    def _of_function(self, function: types.FunctionType, depth: int) -> bytes:
        if not _is_own(function):
            # Ray's with_parameters, say, holds the user's function in its closure.
            held = [self.of(cell, depth + 1) for cell in _cells(function) if _is_own(cell)]
            return _digest("function", _name(function), *held)
        inside = [_source(function)]
        inside += [self.of(cell, depth + 1) for cell in _cells(function)]
        inside.append(self.of(list(function.__defaults__ or ()), depth + 1))
        inside.append(self.of(dict(function.__kwdefaults__ or {}), depth + 1))
        for name, value in _globals(function.__code__, function.__globals__):
            if isinstance(value, (*_PLAIN, list, tuple, dict)) or _is_own(value):
                inside.append(_digest(name, self.of(value, depth + 1)))
        if (wrapped := getattr(function, "__wrapped__", None)) is not None:
            inside.append(self.of(wrapped, depth + 1))
        return _digest("function", *inside)

    def _of_class(self, kind: type[Any], depth: int) -> bytes:
        if not _is_own(kind):
            return _digest("class", _name(kind))
        # Not its source as one text: it can't be found where the class is of another __main__.
        inside = [self.of(base, depth + 1) for base in kind.__bases__]
        for name, value in sorted(vars(kind).items()):
            function = getattr(value, "__func__", getattr(value, "fget", value))
            is_data = isinstance(value, (*_PLAIN, list, tuple, dict)) and not name.startswith("__")
            if is_data or isinstance(function, (types.FunctionType, type)):
                inside.append(_digest(name, self.of(function, depth + 1)))
        return _digest("class", *inside)

    def _of_object(self, value: Any, depth: int) -> bytes:
        """What an object is of, and what is plain in it; data sets by their content."""
        dataset = getattr(value, "dataset", None)
        inside = [self.of(type(value), depth + 1)]
        tensors = getattr(value, "tensors", None)
        if isinstance(tensors, tuple):
            inside.append(identity({"tensors": tensors}))
        elif dataset is not None:
            inside.append(self.of(dataset, depth + 1))
        with contextlib.suppress(Exception):  # it has no length, usually, or raises its own error
            inside.append(_digest("length", str(len(value))))
        attributes = cast(dict[str, Any], getattr(value, "__dict__", {}))
        for name, inner in sorted(attributes.items()):
            if isinstance(inner, _PLAIN) and not name.startswith("_"):
                inside.append(_digest(name, repr(inner)))
        return _digest("object", *inside)


def _digest(*parts: str | bytes) -> bytes:
    total = hashlib.blake2b(digest_size=12)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.digest()


def _is_own(value: Any) -> bool:
    """Whether code is the user's own, and no installed package's."""
    if not isinstance(value, (type, types.FunctionType, types.MethodType, functools.partial)):
        return False
    if isinstance(value, functools.partial):
        return True
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    if file is None:  # __main__ of a console, a notebook; built-in modules have no functions here
        return getattr(value, "__module__", None) in ("__main__", None) or (
            isinstance(value, types.FunctionType)
        )
    path = str(Path(file).resolve())
    return not any(path.startswith(place + "/") for place in _INSTALLED)


def _source(value: types.FunctionType) -> bytes:
    """Its source without comments, docstrings and layout; its bytecode where there is none."""
    try:
        if value.__name__ == "<lambda>":  # its source is the whole statement around it
            raise TypeError
        tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return _digest("code", *_bytecode(value.__code__))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree).encode()


def _bytecode(code: types.CodeType) -> Iterator[bytes]:
    yield code.co_code
    yield repr(code.co_names).encode()
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _bytecode(constant)
        elif isinstance(constant, frozenset):
            yield repr(sorted(map(repr, cast(frozenset[Any], constant)))).encode()
        else:
            yield repr(constant).encode()


def _cells(function: types.FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            continue


def _globals(code: types.CodeType, known: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The globals that code names, also in functions inside it, and what it takes of modules."""
    for name in sorted(set(code.co_names)):
        if name not in known:
            continue
        value = known[name]
        yield name, value
        if isinstance(value, types.ModuleType):
            for attribute in sorted(set(code.co_names)):
                found = vars(value).get(attribute)
                if found is not None and _is_own(found):
                    yield f"{name}.{attribute}", found
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals(constant, known)


def _name(value: Any) -> str:
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{getattr(kind, '__module__', None)}.{kind.__qualname__}"
