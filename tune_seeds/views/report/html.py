"""Pieces of HTML; every string from a study is escaped here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from tune_seeds.views.tables import Table


def section(title: str, *parts: str) -> str:
    """A heading and what stands below it; empty parts are left out."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text; of class ``kind``."""
    return f'<p class="{kind}">{escape(text)}</p>' if text else ""


def chart(name: str, *, height: int, min_width: int = 0) -> str:
    """The place where a figure is drawn; one that needs some width is scrolled on a phone."""
    figure = (
        f'<figure id="{name}" class="chart" style="min-height:{height}px;min-width:{min_width}px">'
        "<noscript>This chart needs JavaScript; the tables do not.</noscript></figure>"
    )
    return f'<div class="scroll">{figure}</div>' if min_width else figure


def choice(of: str, label: str, names: Sequence[str]) -> str:
    """A menu that chooses among the figures of one place."""
    options = "".join(f"<option>{escape(name)}</option>" for name in names)
    return f'<p><label>{escape(label)} <select data-of="{of}">{options}</select></label></p>'


def table(content: Table, *, fold: int = 30, kind: str = "") -> str:
    """A table of class ``kind``, with the rows beyond ``fold`` to be opened."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in content.header)

    def part(rows: Sequence[Sequence[str]]) -> str:
        return (
            f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
            f"<tbody>{_rows(rows)}</tbody></table></div>"
        )

    rest = content.rows[fold:]
    if not rest:
        return part(content.rows)
    folded = f"<details><summary>{len(rest)} more</summary>{part(rest)}</details>"
    return part(content.rows[:fold]) + folded


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Short facts side by side."""
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs
    )
    return f'<dl class="facts">{cells}</dl>'


def codes(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values in a row."""
    cells = " ".join(
        f"<code>{escape(name)}&nbsp;=&nbsp;{escape(value)}</code>" for name, value in pairs
    )
    return f'<p class="lead">{cells}</p>'


def preformatted(lines: Iterable[str]) -> str:
    """Lines as they stand."""
    return f"<pre>{escape(chr(10).join(lines))}</pre>"


def _rows(rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)


def _cell(text: str) -> str:
    kind = ' class="long"' if len(text) > 32 else ""
    return f"<td{kind}>{escape(text)}</td>"
