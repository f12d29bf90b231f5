"""Which report a file name asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tune_seeds.report.page import page
from tune_seeds.tables import Table, latex, markdown, ranking_table

if TYPE_CHECKING:
    from tune_seeds.results import SeedResults


def write_report(results: SeedResults, path: str | Path) -> Path:
    """Write a report.

    Args:
        results: of the study.
        path: ``.html`` for the whole report, in one file that opens offline; ``.md`` or ``.tex``
            for the table of the ranking.

    Returns:
        Where it was written.

    Raises:
        ValueError: the name has another ending.
    """
    file = Path(path).expanduser()
    match file.suffix:
        case ".html":
            text = page(results)
        case ".md":
            text = markdown(_ranking(results))
        case ".tex":
            text = latex(_ranking(results))
        case _:
            raise ValueError(f"a report ends in .html, .md or .tex, got {str(path)!r}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", errors="replace")
    return file


def _ranking(results: SeedResults) -> Table:
    return ranking_table(results.race, resolution=results.resolution)
