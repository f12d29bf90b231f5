"""The user's own modules, which travel with what needs them.

A function or class of a module is pickled by its name, so a worker has to be able to import that
module. Packages are installed on every node; the files beside a script are on the driver's machine
only. Pickling them by value would need no files, but then nothing that a run itself pickles (its
checkpoints, the data sets of loader processes) could refer to them by name.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import logging
import os
import shutil
import site
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

# Ray's own keeps the owners of object references, as tune.with_parameters has them, and knows what
# ray.cloudpickle.register_pickle_by_value was told.
from ray import cloudpickle

logger = logging.getLogger(__name__)

# A script may lie beside much that is not its own, in a home directory for instance.
_MOST_FILES = 2000
_MOST_BYTES = 20_000_000
_NOT_CODE = ("__pycache__", "node_modules", "venv", "site-packages")


@dataclass(frozen=True, slots=True)
class OwnCode:
    """Python files by the folder from which they are imported.

    Attributes:
        folders: entries of ``sys.path``, in its order, each with its files: paths relative to it,
            and contents.
    """

    folders: tuple[tuple[str, tuple[tuple[str, bytes], ...]], ...] = ()

    @classmethod
    def of_this_process(cls) -> OwnCode:
        """The modules that were imported here and belong to no installed package, and those beside.

        Of a package that was imported, all of its modules; beside the script, modules and packages
        that it may import later. What exceeds 2000 files or 20 MB is left out, the latter
        first, and a warning says so.
        """
        script = _script_folder()
        files: dict[str, dict[str, bytes]] = {}
        n, size = 0, 0
        for folder, path in (*_imported(), *(_beside(script) if script else ())):
            known = files.setdefault(str(folder), {})
            relative = path.relative_to(folder).as_posix()
            if relative in known:
                continue
            try:
                content = path.read_bytes()
            except OSError:  # a link to nothing, or somebody else's
                continue
            n, size = n + 1, size + len(content)
            if n > _MOST_FILES or size > _MOST_BYTES:
                logger.warning(
                    "more than %d Python files or %d MB belong to the script's own modules; from "
                    "%s on they are not sent to the workers, which need them in place",
                    _MOST_FILES,
                    _MOST_BYTES // 1_000_000,
                    path,
                )
                break
            known[relative] = content
        places = [os.path.realpath(place or ".") for place in sys.path]
        order = {place: number for number, place in reversed(list(enumerate(places)))}
        folders = sorted(files, key=lambda folder: order.get(folder, len(order)))
        return cls(tuple((folder, tuple(sorted(files[folder].items()))) for folder in folders))

    def install(self) -> None:
        """Let this process import the modules, from where they are or from copies.

        A folder that this machine has too, with the same files, is used as it is.
        """
        for folder, files in reversed(self.folders):
            here = all(_has(Path(folder, name), content) for name, content in files)
            place = folder if here else _unpacked(files)
            if place not in sys.path:
                # A node's own files of the same name may be older, so copies go first.
                sys.path.insert(len(sys.path) if here else 0, place)
        importlib.invalidate_caches()
        _installed.code = self


class _Installed:
    """What this process has been given; a worker hands it on to workers of its own."""

    code = OwnCode()


_installed = _Installed()


def installed() -> OwnCode:
    """The code that came with what this process was sent."""
    return _installed.code


class WithCode:
    """A callable that is unpickled only once its code can be imported.

    Args:
        function: any callable.
        code: what it needs.
    """

    def __init__(self, function: Callable[..., Any], code: OwnCode) -> None:
        self._function = function
        self._code = code

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return self._function(*args, **kwargs)

    def __reduce__(self) -> tuple[Callable[..., WithCode], tuple[OwnCode, bytes]]:
        return _load, (self._code, cast(Any, cloudpickle).dumps(self._function))


def _load(code: OwnCode, pickled: bytes) -> WithCode:
    code.install()
    return WithCode(cast(Callable[..., Any], cast(Any, cloudpickle).loads(pickled)), code)


def _script_folder() -> Path | None:
    """Where the driver's script lies; where there is none (a notebook), the working directory."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    folder = Path(script).resolve().parent if script else Path.cwd()
    return None if _is_installed(folder / "any.py") else folder


def _imported() -> Iterator[tuple[Path, Path]]:
    """The files of imported modules with the folders from which they were imported."""
    for name, module in sorted(sys.modules.items()):
        if "." in name or name == "__main__" or not isinstance(module, ModuleType):
            continue
        file = getattr(module, "__file__", None)
        packages = [Path(place).resolve() for place in getattr(module, "__path__", None) or []]
        if not packages:
            if file and file.endswith(".py") and not _is_installed(Path(file).resolve()):
                path = Path(file).resolve()
                if path.stem == name and path.is_file():
                    yield path.parent, path
            continue
        for package in packages:
            # A namespace package of many distributions lies in several folders.
            if package.name == name and package.is_dir() and not _is_installed(package / "any.py"):
                yield from ((package.parent, path) for path in _python_files(package))


def _beside(folder: Path) -> Iterator[tuple[Path, Path]]:
    yield from ((folder, path) for path in sorted(folder.glob("*.py")) if path.is_file())
    for package in sorted(folder.glob("*/__init__.py")):
        yield from ((folder, path) for path in _python_files(package.parent))


def _python_files(package: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(package):
        folders[:] = sorted(f for f in folders if f not in _NOT_CODE and not f.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if name.endswith(".py"))


def _is_installed(path: Path) -> bool:
    """Whether a file belongs to Python, to an installed package or to this package."""
    return any(path.is_relative_to(place) for place in _installed_places()) or (
        "site-packages" in path.parts or "dist-packages" in path.parts
    )


@functools.cache
def _installed_places() -> list[Path]:
    own = Path(__file__).resolve().parents[1]
    paths = sysconfig.get_paths()
    found = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found += [*site.getsitepackages(), site.getusersitepackages()]
    return [own, *(Path(place).resolve() for place in found)]


def _has(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False


def _is_ours(folder: Path) -> bool:
    """Whether nobody else on this machine can change what lies there."""
    return folder.is_dir() and (not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid())


def _unpacked(files: tuple[tuple[str, bytes], ...]) -> str:
    """A folder of this machine with copies of files, shared by its processes."""
    digest = hashlib.sha256()
    for name, content in files:
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir(), f"tune_seeds-code-{user}-{digest.hexdigest()[:20]}")
    if _is_ours(folder) and all(_has(folder / name, content) for name, content in files):
        return str(folder)
    draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    for name, content in files:
        (draft / name).parent.mkdir(parents=True, exist_ok=True)
        (draft / name).write_bytes(content)
    try:
        draft.rename(folder)
    except OSError:
        # Another process was first; or what lies there was tampered with, and is not used.
        if not (_is_ours(folder) and all(_has(folder / name, data) for name, data in files)):
            return str(draft)
        shutil.rmtree(draft)
    return str(folder)
