"""Where an experiment is: a local path, or a URI whose query says how to reach its storage."""

from __future__ import annotations


def joined(storage: str, name: str) -> str:
    """The experiment of a name in a storage path: ``s3://bucket/name?endpoint_override=…``."""
    path, query = _parts(storage)
    return f"{path.rstrip('/')}/{name}{query}"


def split(experiment: str) -> tuple[str, str]:
    """The storage path of an experiment and its name."""
    path, query = _parts(experiment)
    storage, _, name = path.rstrip("/").rpartition("/")
    return f"{storage}{query}", name


def _parts(path: str) -> tuple[str, str]:
    if "://" not in path:
        return path, ""
    path, mark, query = path.partition("?")
    return path, f"{mark}{query}"
