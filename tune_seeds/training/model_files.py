"""The files of a user's own ``ModelCheckpoint`` callbacks, kept in the experiment."""

# pyright: reportUnknownMemberType=false
from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.fs
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

#: The folder of a run's directory that they lie in.
FOLDER = "model_checkpoints"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where the checkpoints of one run's ``ModelCheckpoint`` callbacks go.

    Lightning would write them into the process's working directory, which Ray gives a trial in its
    session's folder and forgets. On a disk they are written into the experiment at once. An object
    store gets a copy of a local folder whenever the run saves its state, and at its end; a run that
    goes on elsewhere begins with that copy, so that the callback finds the files it knows of.

    Attributes:
        fs: the experiment's file system.
        path: the folder of the run there.
        local: where the callbacks write.
    """

    fs: pyarrow.fs.FileSystem
    path: str
    local: Path

    @classmethod
    def of_run(cls, fs: pyarrow.fs.FileSystem, run_path: str) -> ModelFiles:
        """Those of the run in this process, whose directory is ``run_path``."""
        path = f"{run_path.rstrip('/')}/{FOLDER}"
        local = (
            Path(path) if isinstance(fs, pyarrow.fs.LocalFileSystem) else Path(os.getcwd(), FOLDER)
        )
        return cls(fs, path, local)

    @property
    def is_direct(self) -> bool:
        """Whether the callbacks write into the experiment itself."""
        return isinstance(self.fs, pyarrow.fs.LocalFileSystem)

    def fetch(self, *, goes_on: bool) -> None:
        """Begin with what the experiment has of this run; a run from its beginning has nothing."""
        if not goes_on:
            shutil.rmtree(self.local, ignore_errors=True)
        elif not self.is_direct and self._stored():
            shutil.rmtree(self.local, ignore_errors=True)
            self.local.mkdir(parents=True)
            here = pyarrow.fs.LocalFileSystem()
            pyarrow.fs.copy_files(
                self.path, str(self.local), source_filesystem=self.fs, destination_filesystem=here
            )

    def store(self) -> None:
        """Let the experiment have the same files; what a callback has deleted goes there too."""
        if self.is_direct or not self.local.is_dir():
            return
        kept = {
            str(file.relative_to(self.local)) for file in self.local.rglob("*") if file.is_file()
        }
        for name in self._stored() - kept:
            self.fs.delete_file(f"{self.path}/{name}")
        if not kept:
            return
        self.fs.create_dir(self.path)
        here = pyarrow.fs.LocalFileSystem()
        pyarrow.fs.copy_files(
            str(self.local), self.path, source_filesystem=here, destination_filesystem=self.fs
        )

    def saving(self, save: Callable[[Path], None] | None) -> Callable[[Path], None] | None:
        """A run's way to save its state, which stores these files too."""
        if save is None or self.is_direct:
            return save

        def both(directory: Path) -> None:
            save(directory)
            self.store()

        return both

    def _stored(self) -> set[str]:
        selector = pyarrow.fs.FileSelector(self.path, allow_not_found=True, recursive=True)
        files = [i for i in self.fs.get_file_info(selector) if i.type == pyarrow.fs.FileType.File]
        return {info.path.removeprefix(f"{self.path}/") for info in files}


class _Current:
    """The folder of the run in this process."""

    folder = ""


_current = _Current()


class PlaceModelFiles(Callback):
    """Gives each ``ModelCheckpoint`` without a ``dirpath`` of its own the run's folder.

    Lightning calls it before the checkpoint callbacks, which come last, and also for those that
    the module makes in ``configure_callbacks``. It holds nothing itself: a callback's state is
    compared over a pause, and an experiment may be moved meanwhile.
    """

    @classmethod
    def at(cls, folder: Path) -> PlaceModelFiles:
        """One for the run that begins in this process."""
        _current.folder = str(folder)
        return cls()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Place them."""
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = _current.folder
