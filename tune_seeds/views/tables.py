"""The ranking of a study as Markdown and LaTeX, every string escaped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tune_seeds.analysis.group_summary import Standing, ranking
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.jsonable import flat
from tune_seeds.statistics.aggregate import Aggregate
from tune_seeds.statistics.intervals import Interval
from tune_seeds.views.labels import differing, short_names, shortened, value_text

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "…": r"\ldots{}",
}


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text: a title, a header and rows of equal length."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def ranking_table(results: StudyRecord) -> Table:
    """The groups, best first."""
    race, ledger, aggregate = results.race, results.ledger, results.race.aggregate
    standings = [results.standing(name) for name in ranking(race)]
    score = aggregate.name if isinstance(aggregate, Aggregate) else "score"
    keys = differing(ledger.configs.values())
    names = short_names(keys)
    header = (
        "config",
        *(names[key] for key in keys),
        "rung",
        "seeds",
        score,
        "std",
        "expected",
        "95 %",
    )
    rows = [
        (
            item.group,
            *_cells(item, keys),
            str(item.rung) if item.rung else "-",
            str(len(item.values)),
            number(item.score),
            number(item.std),
            number(item.estimate),
            interval_text(item.interval),
            state_text(item),
        )
        for item in standings
    ]
    goal = "higher is better" if ledger.metric.higher_is_better else "lower is better"
    title = f"{ledger.metric} ({goal}), seeds {', '.join(map(str, ledger.seeds))}"
    return Table(title, (*header, "state"), tuple(rows))


def number(value: float) -> str:
    """Five significant digits; nothing for what is not defined."""
    return "" if value != value else f"{value:.5g}"


def interval_text(interval: Interval) -> str:
    """Both ends, or nothing where there is no interval."""
    low, high = interval
    return "" if low != low else f"{low:.4g} to {high:.4g}"


def state_text(item: Standing) -> str:
    """The state, and which seeds failed."""
    if not item.failures:
        return str(item.state)
    return f"{item.state} (failed: seed {', '.join(map(str, item.failures))})"


def markdown(table: Table) -> str:
    """A GitHub-flavoured Markdown table."""
    head = _line(table.header, _markdown)
    rule = "|" + "---|" * len(table.header)
    body = [_line(row, _markdown) for row in table.rows]
    return "\n".join([_markdown(table.title), "", head, rule, *body, ""])


def latex(table: Table) -> str:
    """A LaTeX table; needs the package booktabs."""
    head = " & ".join(_latex(cell) for cell in table.header)
    body = [" & ".join(_latex(cell) for cell in row) + r" \\" for row in table.rows]
    lines = [
        r"\begin{table}",
        rf"\caption{{{_latex(table.title)}}}",
        rf"\begin{{tabular}}{{{'l' * len(table.header)}}}",
        r"\toprule",
        rf"{head} \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def _cells(item: Standing, keys: Sequence[str]) -> Iterable[str]:
    values = flat(item.config)
    return (value_text(values[key]) if key in values else "" for key in keys)


def _line(cells: Iterable[str], escape: Callable[[str], str]) -> str:
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"


def _markdown(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~$])", r"\\\1", re.sub(r"\s+", " ", text))


def _latex(text: str) -> str:
    text = shortened(re.sub(r"\s+", " ", text), 120)
    return "".join(_LATEX.get(letter, letter) for letter in text)
