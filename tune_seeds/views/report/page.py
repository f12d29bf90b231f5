"""The HTML report, in one file that loads nothing: the answer first, then what it rests on."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from importlib import resources

from plotly.offline import get_plotlyjs

from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.printable import printable
from tune_seeds.store.directory import split
from tune_seeds.views.figures import style
from tune_seeds.views.report import details, html
from tune_seeds.views.report.answer import answer, confirmed
from tune_seeds.views.report.charts import Charts
from tune_seeds.views.tables import ranking_table

_RANKING = (
    "Best first: the highest rung reached, then the score there. Small marks are single seeds, the "
    "diamond is what the model of all configs expects on a fresh seed, the line its 95 % interval. "
    "Configs at different rungs were trained for different numbers of epochs and do not compare."
)
_CURVES = (
    "Thick: the mean over the seeds of the last complete rung, with a band of one standard "
    "deviation where few configs are shown; thin lines are single seeds. A click in the legend "
    "hides or shows."
)
_PARALLEL = (
    "One line per config, coloured by its score at the one rung where most configs meet. Drag "
    "along an axis to pick configs, drag an axis's name to move it."
)
_MARGINALS = (
    "The mean score of the configs that share a value, at the rung where most configs meet, on "
    "equal terms. Vertical lines are 95 % intervals, which hold for other configs on other seeds; "
    "faint dots are single configs."
)
_REGRET = (
    "How much worse the best config so far was than the best at the end, at each rung by itself. "
    "Each line ends at 0, because it is the best of this study that counts."
)


def page(results: StudyRecord, plotly: str | None = None) -> str:
    """The whole report as one document.

    Args:
        results: of the study.
        plotly: where the server of this page has Plotly's JavaScript; if None, it is in the page,
            which then loads nothing.
    """
    race = results.race
    _, name = split(results.path)
    charts = Charts(results)
    sections = [
        answer(results),
        confirmed(results),
        html.section(
            "Ranking",
            html.paragraph(_RANKING),
            charts.ranking(),
            html.table(ranking_table(results)),
        ),
        _section("Learning curves", _CURVES, charts.curves()),
        _section("All configs", _PARALLEL, charts.parallel()),
        _section("Hyperparameters", _MARGINALS, charts.marginals()),
        details.seed_share(results, charts.seeds()),
        details.epochs(race, charts.spending()),
        _section("How soon it was found", _REGRET, charts.regret()),
        details.failures(race),
        details.environment(results),
        details.reproduce(results),
    ]
    shown = "".join(sections)
    # What has no place in the page is not drawn.
    figures = {place: row for place, row in charts.figures.items() if f'id="{place}"' in shown}
    scripts = [
        f"const FIGURES = {_literal(figures)}, DARK = {_literal(style.dark())};\n"
        + _file("figures.js")
    ]
    library = ""
    if plotly is None:
        scripts.insert(0, get_plotlyjs())
    else:
        library = f'<script src="{escape(plotly)}"></script>'
    title = f"{name}: {race.ledger.metric} over seeds"
    # Whatever the study's own words hold; the scripts stay as their hashes in the policy say.
    words = printable(f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(scripts, plotly is not None)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{_file("style.css")}
</style>
</head>
<body>
<main>
{html.paragraph(name, "kicker")}
{shown}
</main>
""")
    inline = "".join(f"<script>{script}</script>" for script in scripts)
    return f"{words}{library}{inline}</body></html>\n"


def plotly_js() -> bytes:
    """Plotly's JavaScript, for a server of pages that ask for it."""
    return get_plotlyjs().encode()


def _section(title: str, text: str, chart: str) -> str:
    return html.section(title, html.paragraph(text), chart) if chart else ""


def _literal(value: object) -> str:
    """A value as JavaScript, in ASCII, so that no character of it is obeyed by who shows it."""
    # A "<" inside of JSON could end the script element; as an escape it means the same.
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _policy(scripts: Sequence[str], is_served: bool) -> str:
    """No script runs but ours, whatever a string of the study holds, and nothing else is loaded."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    if is_served:
        hashes = f"'self' {hashes}"
    # Plotly's parallel coordinates compile their drawing commands, hence unsafe-eval.
    return (
        f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:"
    )


def _file(name: str) -> str:
    return resources.files("tune_seeds.views.report").joinpath(name).read_text("utf-8")
