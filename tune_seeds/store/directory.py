"""Where an experiment is: a directory on a file system, local or of an object store."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote

import pyarrow.fs


@dataclass(frozen=True, slots=True)
class ExperimentDir:
    """The directory of one experiment, or of several.

    Attributes:
        fs: its file system.
        path: the directory there.
    """

    fs: pyarrow.fs.FileSystem
    path: str

    @classmethod
    def at(
        cls,
        location: str | os.PathLike[str],
        storage_filesystem: pyarrow.fs.FileSystem | None = None,
    ) -> ExperimentDir:
        """The directory that a user names.

        Args:
            location: a local path, relative ones and ``~`` included, or any URI that Ray takes.
                With ``storage_filesystem``, a path on that.
            storage_filesystem: a file system of the user's own.

        Raises:
            OSError: there is no file system for such a URI.
        """
        if storage_filesystem is not None:
            return cls(storage_filesystem, PurePosixPath(location).as_posix())
        location = full_location(location)
        if "://" not in location:
            return cls(pyarrow.fs.LocalFileSystem(), location)
        fs, path = pyarrow.fs.FileSystem.from_uri(location)
        return cls(fs, PurePosixPath(path).as_posix())

    @property
    def name(self) -> str:
        """Of the experiment."""
        return PurePosixPath(self.path).name

    @property
    def is_local(self) -> bool:
        """Whether it lies on a disk that appends and renames, and not in an object store."""
        return isinstance(self.fs, pyarrow.fs.LocalFileSystem)

    def join(self, relative: str) -> str:
        """The path of something in it, on its file system."""
        return str(PurePosixPath(self.path) / relative)

    def exists(self, relative: str = "") -> bool:
        """Whether there is something in it under that name, or itself."""
        info = self.fs.get_file_info(self.join(relative))
        return info.type != pyarrow.fs.FileType.NotFound

    def create(self) -> None:
        """Make it, and what lies above."""
        self.fs.create_dir(self.path)

    def subdirectories(self) -> list[ExperimentDir]:
        """The directories in it, by name."""
        infos = self.fs.get_file_info(pyarrow.fs.FileSelector(self.path))
        found = [i.path for i in infos if i.type == pyarrow.fs.FileType.Directory]
        return [ExperimentDir(self.fs, path) for path in sorted(found)]

    def read(self, relative: str) -> bytes:
        """A whole file.

        Raises:
            FileNotFoundError: there is none of that name.
            OSError: it is a directory, a pipe or a device, which could be read for ever.
        """
        info = self.fs.get_file_info(self.join(relative))
        if info.type in (pyarrow.fs.FileType.Directory, pyarrow.fs.FileType.Unknown):
            raise OSError(f"{self.join(relative)} is no regular file")
        with self.fs.open_input_stream(self.join(relative)) as stream:
            return stream.read()

    def write(self, relative: str, data: bytes, *, private: bool = False) -> None:
        """Replace a file, so that a kill leaves the old one or the new one.

        An object store replaces atomically by itself, and has no cheap rename.

        Args:
            relative: its name.
            data: all of it.
            private: on a local disk nobody but the user may read it.
        """
        file = self.join(relative)
        if not self.is_local:
            with self.fs.open_output_stream(file) as stream:
                stream.write(data)
            return
        target = f"{file}.{os.getpid()}.tmp"
        mode = 0o600 if private else 0o666
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as stream:
            stream.write(data)
            if private:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(target, file)

    def delete(self, relative: str) -> None:
        """Delete a file."""
        self.fs.delete_file(self.join(relative))


def full_location(location: str | os.PathLike[str]) -> str:
    """A local path in full, from the root of the file system; any other URI as it is."""
    text = os.fspath(location)
    if text[:7].lower() == "file://":
        # pyarrow refuses characters that a URI has to escape, such as a space; people type them.
        text = unquote(text[7:])
        if text.startswith("localhost/"):
            text = text.removeprefix("localhost")
    return text if "://" in text else os.path.abspath(os.path.expanduser(text))


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
