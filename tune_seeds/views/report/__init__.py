"""A study as one file to look at: HTML that opens offline, Markdown, or LaTeX."""

from tune_seeds.views.report.write import write_report

__all__ = ["write_report"]
