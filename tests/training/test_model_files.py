"""What lies in an object store of a run's ModelCheckpoint files is what lies on the node's disk."""

from __future__ import annotations

from pathlib import Path

import pyarrow.fs
import pytest

from tune_seeds.training.model_files import ModelFiles


@pytest.fixture
def files(tmp_path: Path) -> ModelFiles:
    (tmp_path / "store").mkdir()
    fs = pyarrow.fs.SubTreeFileSystem(str(tmp_path / "store"), pyarrow.fs.LocalFileSystem())
    return ModelFiles(fs, "exp/run/model_checkpoints", tmp_path / "node")


def stored(files: ModelFiles, tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "store" / files.path
    return {str(f.relative_to(folder)): f.read_text() for f in folder.rglob("*") if f.is_file()}


def test_it_follows_new_changed_and_deleted_files(files: ModelFiles, tmp_path: Path):
    files.fetch(goes_on=False)
    files.store()
    assert stored(files, tmp_path) == {}
    files.local.mkdir()
    (files.local / "a.ckpt").write_text("1")
    (files.local / "b.ckpt").write_text("2")
    files.store()
    assert stored(files, tmp_path) == {"a.ckpt": "1", "b.ckpt": "2"}
    (files.local / "a.ckpt").unlink()
    (files.local / "b.ckpt").write_text("3")
    files.store()
    assert stored(files, tmp_path) == {"b.ckpt": "3"}


def test_a_run_that_goes_on_elsewhere_has_its_files(files: ModelFiles, tmp_path: Path):
    files.local.mkdir()
    (files.local / "a.ckpt").write_text("1")
    files.store()
    elsewhere = ModelFiles(files.fs, files.path, tmp_path / "other node")
    elsewhere.fetch(goes_on=True)
    assert (elsewhere.local / "a.ckpt").read_text() == "1"
    elsewhere.fetch(goes_on=False)  # from its beginning: it has made none yet
    elsewhere.store()
    assert not elsewhere.local.exists()


def test_on_a_disk_they_are_written_in_place(tmp_path: Path):
    files = ModelFiles.of_run(pyarrow.fs.LocalFileSystem(), str(tmp_path / "run"))
    assert files.is_direct and files.local == tmp_path / "run" / "model_checkpoints"
    files.local.mkdir(parents=True)
    (files.local / "a.ckpt").write_text("1")
    files.fetch(goes_on=True)
    files.store()
    assert (files.local / "a.ckpt").exists()
