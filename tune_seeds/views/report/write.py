"""Which report a file name asks for."""

from __future__ import annotations

from pathlib import Path

from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core import checks
from tune_seeds.core.printable import printable
from tune_seeds.store.directory import full_location
from tune_seeds.views.report.page import page
from tune_seeds.views.tables import Table, latex, markdown, ranking_table


def write_report(results: StudyRecord, path: str | Path) -> Path:
    """Write a report.

    Args:
        results: of the study.
        path: ``.html`` for the whole report, in one file that opens offline; ``.md`` or ``.tex``
            for the table of the ranking.

    Returns:
        Where it was written.

    Raises:
        ValueError: the name has another ending.
        FileNotFoundError: its folder does not exist; none is made.
    """
    location = full_location(checks.path("path", path))
    if "://" in location:
        raise ValueError(f"a report is written to a local file, got {str(path)!r}")
    file = Path(location)
    if not file.parent.is_dir():
        # A misspelt path would otherwise become a folder that nobody looks for.
        raise FileNotFoundError(f"there is no folder {file.parent}; make it, or write elsewhere")
    match file.suffix:
        case ".html":
            text = page(results)
        case ".md":
            text = printable(markdown(_ranking(results)))
        case ".tex":
            text = printable(latex(_ranking(results)))
        case _:
            raise ValueError(f"a report ends in .html, .md or .tex, got {str(path)!r}")
    file.write_text(text, encoding="utf-8", errors="replace")
    return file


def _ranking(results: StudyRecord) -> Table:
    return ranking_table(results)
