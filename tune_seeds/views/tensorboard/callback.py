"""The study in TensorBoard while it runs, in the place of Ray's own logger."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, cast

import pyarrow.fs
from ray.tune.experiment import Trial
from ray.tune.logger.tensorboardx import TBXLoggerCallback

from tune_seeds.analysis.estimates import Estimates
from tune_seeds.analysis.group_summary import State, standing
from tune_seeds.core.reported import OddReportError, whole
from tune_seeds.store.live_study import Study
from tune_seeds.views.tensorboard import hparams
from tune_seeds.views.tensorboard.config_rows import (
    ENDED,
    FAILED,
    GroupWriter,
    Media,
    announcement,
    directory_name,
)
from tune_seeds.views.tensorboard.domains import of_searcher
from tune_seeds.views.tensorboard.event_file import EventFile
from tune_seeds.views.tensorboard.media import media

# Runs that hold nothing but the announcement, while columns may still change.
_COLUMNS = "columns_"


class SeedTBXLoggerCallback(TBXLoggerCallback):
    """Writes what is new in the ledger, as it comes.

    It is a ``TBXLoggerCallback`` so that Ray leaves its own one out: that one writes one row per
    trial, at its end, with the seed as a hyperparameter.

    Args:
        study: read only.
        space: the search space; gives HPARAMS its columns and their domains.
        searcher: its own space does so where it has one.
        time_attr: the report key that counts progress.
        metric_range: of the metric, where the user declared it.
    """

    def __init__(
        self,
        study: Study,
        space: Mapping[str, Any] | None = None,
        searcher: Any = None,
        time_attr: str = "training_iteration",
        metric_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self._study = study
        self._time_attr = time_attr
        self._estimates = Estimates(study.race, metric_range)
        self._columns = hparams.Columns(
            space or {}, None if searcher is None else of_searcher(searcher)
        )
        self._n_added = 0
        self._n_announced = 0
        self._announced: list[tuple[pyarrow.fs.FileSystem, str, int]] | None = None
        self._root: Path | None = None
        if study.directory.is_local:
            self._root = Path(study.directory.path)
        self._groups: dict[str, GroupWriter] = {}
        self._changed: dict[str, None] = {}
        self._media: dict[str, list[Media]] = {}
        self._written: set[str] | None = None  # directories of an earlier process
        self._failed = set(study.race.failed)
        self._known = dict.fromkeys(study.race.groups)

    def log_trial_start(self, trial: Trial) -> None:
        """Show a config as soon as a run of it starts."""
        if self._root is None:
            self._root = Path(trial.local_experiment_path)  # Ray copies it to the experiment
        self._note(trial)

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Note that there is something to write, and keep what the ledger does not."""
        self._note(trial)
        key = self._study.keys.get(trial.trial_id)
        if key is not None:
            try:
                step = whole(self._time_attr, result.get(self._time_attr, 0))
            except OddReportError:
                return  # the scheduler has ended the run for it
            kept = self._media.setdefault(key.group, [])
            kept.extend(Media(key.seed, step, summary) for summary in media(result))

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Note that there may be something to write."""
        self._note(trial)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Write what is new."""
        failed = self._study.race.failed
        self._changed.update(dict.fromkeys(name for name in failed if name not in self._failed))
        self._failed = set(failed)
        if self._root is None:
            return
        for name in self._changed:
            self._writer(name, self._root).write(self._media.pop(name, ()))
        self._changed.clear()

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Write the rest, and mark the rows that are over."""
        if self._root is None:
            return
        self.on_step_end(0, trials)
        for writer in self._groups.values():
            # What the last configs came to has moved what the others are expected to.
            writer.write(last=True)
        for name, writer in self._groups.items():
            if standing(self._study.race, name).state is not State.UNFINISHED:
                writer.end()
        if not self._study.directory.is_local:
            self._upload(self._root)

    def _upload(self, root: Path) -> None:
        """Bring what was written last to the storage; Ray copies files before this callback ends.

        And take away the announcements that it had copied before they were replaced.
        """
        fs = self._study.directory.fs
        for writer in self._groups.values():
            name = writer.directory.name
            there = {
                i.path: i.size
                for i in _listed(fs, self._study.directory.join(name), recursive=True)
            }
            for file in writer.directory.rglob("*tfevents*"):
                target = self._study.directory.join(file.relative_to(root).as_posix())
                if there.get(target) != file.stat().st_size:
                    fs.create_dir(str(PurePosixPath(target).parent))
                    with fs.open_output_stream(target) as stream:
                        stream.write(file.read_bytes())
        for place, path, number in self._announcements(root) if self._n_announced else []:
            if number < self._n_announced:
                place.delete_dir(path)

    def _note(self, trial: Trial) -> None:
        key = self._study.keys.get(trial.trial_id)
        if key is not None:
            self._changed[key.group] = None

    def _writer(self, name: str, root: Path) -> GroupWriter:
        if name not in self._groups:
            race = self._study.race
            self._add_columns(root)
            directory = directory_name(race, name, self._columns)
            found = self._latest(directory) if name in self._known else None
            resumed = found is not None
            if found is not None:
                directory = self._reopened(root, directory, found)
            writer = GroupWriter(
                race,
                name,
                root / directory,
                self._columns,
                resumed=resumed,
                estimates=self._estimates,
            )
            if name == next(iter(race.groups)) and not resumed:
                writer.lay_out()
                if self._columns.final:
                    self._announce(root / directory)
            self._groups[name] = writer
        return self._groups[name]

    def _add_columns(self, root: Path) -> None:
        """Learn the columns of the configs that are new, and announce them anew if they change.

        TensorBoard keeps the first announcement that it meets in a run, and picks any of those in
        several. So columns that may change are announced in a run of their own, and when they do,
        a new run takes its place.
        """
        configs = list(self._study.race.ledger.configs.values())
        changed = [self._columns.add(config) for config in configs[self._n_added :]]
        self._n_added = len(configs)
        if not any(changed) or self._columns.final:
            return
        if self._announced is None:
            self._announced = self._announcements(root)
        number = 1 + max((number for *_, number in self._announced), default=0)
        directory = root / f"{_COLUMNS}{number}"
        self._announce(directory)
        for fs, path, _ in self._announced:
            fs.delete_dir(path)
        self._announced = [(pyarrow.fs.LocalFileSystem(), str(directory), number)]
        self._n_announced = number

    def _announcements(self, root: Path) -> list[tuple[pyarrow.fs.FileSystem, str, int]]:
        """Those that an earlier process left, and their numbers."""
        places = [(self._study.directory.fs, self._study.directory.path)]
        if not self._study.directory.is_local:
            places.append((pyarrow.fs.LocalFileSystem(), str(root)))
        return [
            (fs, info.path, int(found[1]))
            for fs, path in places
            for info in _listed(fs, path)
            if (found := re.fullmatch(rf"{_COLUMNS}(\d+)", info.base_name))
        ]

    def _announce(self, directory: Path) -> None:
        file = EventFile(directory)
        file.add(announcement(self._study.race, self._columns))
        file.flush()

    def _latest(self, directory: str) -> int | None:
        """How often a group's runs were tried again; None where it was never written."""
        if self._written is None:
            listed = _listed(self._study.directory.fs, self._study.directory.path)
            self._written = {info.base_name for info in listed}
        counts = range(len(self._written), -1, -1)
        return next((n for n in counts if _again(directory, n) in self._written), None)

    def _reopened(self, root: Path, directory: str, n: int) -> str:
        """The directory of a group that goes on, where nothing says any more that it is over.

        TensorBoard does not forget what it has read of a run. So the runs of a group that had
        failed get another name, where the file system can give it.
        """
        fs = self._study.directory.fs
        current = self._study.directory.join(_again(directory, n))
        files = [info.path for info in _listed(fs, current, recursive=True)]
        ends = [file for file in files if file.endswith((ENDED, FAILED))]
        for file in ends:
            fs.delete_file(file)
            # Where Ray copies from, it may lie too.
            (root / PurePosixPath(file).relative_to(self._study.directory.path)).unlink(
                missing_ok=True
            )
        failed = any(file.endswith(FAILED) for file in ends)
        if failed and self._study.directory.is_local:
            n += 1
            fs.move(current, self._study.directory.join(_again(directory, n)))
        return _again(directory, n)


def _listed(
    fs: pyarrow.fs.FileSystem, path: str, *, recursive: bool = False
) -> list[pyarrow.fs.FileInfo]:
    selector = pyarrow.fs.FileSelector(path, allow_not_found=True, recursive=recursive)
    return cast(list[pyarrow.fs.FileInfo], fs.get_file_info(selector))


def _again(directory: str, n: int) -> str:
    return f"{directory},again={n}" if n else directory
