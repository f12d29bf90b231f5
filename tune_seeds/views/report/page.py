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
from tune_seeds.core.jsonable import plain
from tune_seeds.core.printable import printable
from tune_seeds.store.directory import split
from tune_seeds.views.report import details, html
from tune_seeds.views.report.answer import answer, confirmed
from tune_seeds.views.report.data import charts
from tune_seeds.views.tables import ranking_table

_RANKING = (
    "Best first: the highest rung reached, then the score there. Small marks are single seeds, the "
    "diamond is what the model of all configs expects on a fresh seed, the line its 95 % interval. "
    "Configs at different rungs were trained for different numbers of epochs and do not compare."
)
_CURVES = (
    "Mean over the seeds of the last complete rung, with a band of one standard deviation where "
    "there are two seeds or more; thin lines are single seeds. Tick a config to show it."
)
_PARALLEL = (
    "One line per config, coloured by its score at its last complete rung. Drag along an axis to "
    "pick configs, drag an axis's name to move it."
)
_MARGINALS = (
    "The mean score of the configs that share a value, at the rung where most configs meet, on "
    "equal terms. Lines are 95 % intervals, which hold for other configs on other seeds."
)


def page(results: StudyRecord) -> str:
    """The whole report as one document."""
    race = results.race
    _, name = split(results.path)
    drawn = charts(results)
    # A "<" inside of JSON could end the script element; as an escape it means the same.
    data = json.dumps(plain(drawn, document=True), allow_nan=False).replace("<", "\\u003c")
    scripts = [get_plotlyjs(), f"const DATA = {data};\n{_file('charts.js')}"]
    marginals = html.section("Hyperparameters", html.paragraph(_MARGINALS), html.chart("marginals"))
    sections = [
        answer(results),
        confirmed(results),
        html.section(
            "Ranking",
            html.paragraph(_RANKING),
            html.chart("ranking"),
            html.table(ranking_table(results)),
        ),
        html.section("Learning curves", html.paragraph(_CURVES), html.chart("curves")),
        html.section("All configs", html.paragraph(_PARALLEL), html.chart("parallel")),
        marginals if drawn["marginals"] else "",
        details.seed_share(results),
        details.epochs(race),
        details.failures(race),
        details.environment(results),
        details.reproduce(results),
    ]
    title = f"{name}: {race.ledger.metric} over seeds"
    # Whatever the study's own words hold; the scripts stay as their hashes in the policy say.
    words = printable(f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">
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
{"".join(sections)}
</main>
""")
    return f"{words}{''.join(f'<script>{script}</script>' for script in scripts)}</body></html>\n"


def _policy(scripts: Sequence[str]) -> str:
    """Nothing is loaded, and no script runs but ours, whatever a string of the study holds."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    # Plotly's parallel coordinates compile their drawing commands, hence unsafe-eval.
    return (
        f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:"
    )


def _file(name: str) -> str:
    return resources.files("tune_seeds.views.report").joinpath(name).read_text("utf-8")
