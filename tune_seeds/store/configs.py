"""Configs as their runs got them, objects included; reading an experiment never unpickles one."""

from __future__ import annotations

import base64
import io
import json
import pickle
from typing import Any

import numpy as np

from tune_seeds.core.events import GroupAdded
from tune_seeds.store.codec import decode
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.journal import JOURNAL

_MARK = f'"event":"{GroupAdded.__name__}","group":"'


def load_config(directory: ExperimentDir, group: str) -> dict[str, Any]:
    """Unpickle one group's config, which runs code: only for experiments of one's own.

    Args:
        directory: of the experiment.
        group: its name.

    Raises:
        KeyError: the experiment has no such group.
    """
    return _loaded(directory, f'{_MARK}{group}"')[group]


def load_configs(directory: ExperimentDir) -> dict[str, dict[str, Any]]:
    """Group → config, for every group; see ``load_config``."""
    return _loaded(directory, _MARK)


def _loaded(directory: ExperimentDir, mark: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for line in directory.read(JOURNAL).splitlines() if directory.exists(JOURNAL) else ():
        if mark.encode() not in line:
            continue
        try:
            event = decode(line, unpickle=True)
        except (ValueError, TypeError, KeyError):
            continue  # damaged; readers have said so
        if isinstance(event, GroupAdded):
            found[event.group] = event.config
    return found


def config_without_objects(directory: ExperimentDir, group: str) -> dict[str, Any] | None:
    """One group's config in its own types, if it holds plain values only; runs no code.

    Args:
        directory: of the experiment.
        group: its name.

    Returns:
        None where it holds objects (classes, functions, tensors), which only ``load_config`` makes.

    Raises:
        KeyError: the experiment has no such group.
    """
    mark = f'{_MARK}{group}"'.encode()
    for line in directory.read(JOURNAL).splitlines() if directory.exists(JOURNAL) else ():
        if mark not in line:
            continue
        try:
            record: Any = json.loads(line)
        except ValueError:
            continue  # damaged; readers have said so
        if "config_pickle" not in record:
            return dict(record["config"])
        try:
            pickled = base64.b64decode(record["config_pickle"])
            return dict(_PlainUnpickler(io.BytesIO(pickled)).load())
        except (pickle.UnpicklingError, ValueError, TypeError, EOFError, AttributeError):
            return None
    raise KeyError(group)


class _PlainUnpickler(pickle.Unpickler):
    """Builds containers, numbers and text, NumPy's scalars among them, and looks up no other name.

    Searchers suggest NumPy's scalars and tuples, which the journal keeps beside their JSON.
    """

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Refuse every name but the two that a NumPy scalar needs."""
        if (module_name, global_name) == ("numpy", "dtype"):
            return np.dtype
        if module_name.startswith(("numpy.core.", "numpy._core.")) and global_name == "scalar":
            return np.float64(0).__reduce__()[0]
        raise pickle.UnpicklingError(f"{module_name}.{global_name} is no plain value")
