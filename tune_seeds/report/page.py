"""The HTML report: the answer first, then what it rests on. Every string is escaped here."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from plotly.offline import get_plotlyjs

from tune_seeds.labels import flat, shortened, value_text
from tune_seeds.race import Race
from tune_seeds.report.data import charts
from tune_seeds.spending import full_cost, spending, trained
from tune_seeds.tables import Table, number, ranking_table

if TYPE_CHECKING:
    from tune_seeds.results import BestGroup, SeedResults

_FATES = ("went on", "complete", "stopped", "failed", "unfinished")


def page(results: SeedResults) -> str:
    """The whole report as one document that loads nothing."""
    race = results.race
    name = PurePosixPath(results.path.rstrip("/")).name
    # A "<" inside of JSON could end the script element; as an escape it means the same.
    data = json.dumps(charts(race), allow_nan=False).replace("<", "\\u003c")
    scripts = [get_plotlyjs(), f"const DATA = {data};\n{_file('charts.js')}"]
    sections = [
        _answer(results),
        _section("Ranking", _RANKING, _chart("ranking"), _table(ranking_table(race), fold=30)),
        _section("Learning curves", _CURVES, _chart("curves")),
        _section("All configs", _PARALLEL, _chart("parallel")),
        _section("Where the epochs went", _cost(race), _chart("spending"), _spending(race)),
        _failures(race),
        _section("How to reproduce it", _reproduce(results)),
    ]
    body = "\n".join(section for section in sections if section)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(name)}: {escape(race.ledger.metric)} over seeds</title>
<style>
{_file("style.css")}
</style>
</head>
<body>
<main>
<p class="kicker">{escape(name)}</p>
{body}
</main>
{"".join(f"<script>{script}</script>" for script in scripts)}
</body>
</html>
"""


_RANKING = (
    "Best first: the highest rung reached, then the score there. Small marks are single seeds, the "
    "diamond is their mean, the line its 95 % interval. Configs at different rungs were trained "
    "for different numbers of epochs and do not compare."
)
_CURVES = (
    "Mean over the seeds of the last complete rung, with a band of one standard deviation where "
    "there are two seeds or more; thin lines are single seeds. Tick a config to show it."
)
_PARALLEL = (
    "One line per config, coloured by its score at its last complete rung. Drag along an axis to "
    "pick configs, drag an axis's name to move it."
)


def _answer(results: SeedResults) -> str:
    race = results.race
    top = race.policy.rungs[-1]
    finalists = [g for g in race.groups.values() if top in g.scores and not g.lost]
    if not finalists:
        n = len(race.ledger.seeds)
        return (
            "<h1>No config is finished</h1>"
            f"<p>None has all {n} seeds at the last rung ({escape(str(top))}), so none can be "
            "called best. The ranking below is of lower rungs.</p>"
        )
    best = results.best
    better = "highest" if race.ledger.mode == "max" else "lowest"
    return (
        f"<h1>{escape(best.group)} is best: {escape(race.ledger.metric)} {number(best.mean)}</h1>"
        f'<p class="lead">{_config(best)}</p>'
        f"<dl class=facts>"
        f"{_fact('mean over seeds', number(best.mean))}"
        f"{_fact('95 % interval', _interval(best))}"
        f"{_fact('standard deviation', number(best.std) or 'one seed')}"
        f"{_fact('seeds', str(len(best.scores)))}"
        f"{_fact('configs tried', str(len(race.groups)))}"
        f"{_fact('finished on every seed', str(len(finalists)))}"
        f"</dl>"
        f"{_scores(best)}"
        f'<p class="note">It has the {better} mean of {len(finalists)} configs that hold every '
        f"epoch on every seed. The best of many is flattered by having been chosen: expect a "
        f"little less on fresh seeds.</p>"
    )


def _config(best: BestGroup) -> str:
    return " ".join(
        f"<code>{escape(key)}&nbsp;=&nbsp;{escape(value_text(value, 80))}</code>"
        for key, value in flat(best.config).items()
    )


def _interval(best: BestGroup) -> str:
    low, high = (float(end) for end in best.interval)
    return "needs 2 seeds" if math.isnan(low) else f"{low:.4g} to {high:.4g}"


def _fact(name: str, value: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"


def _scores(best: BestGroup) -> str:
    cells = "".join(
        f"<tr><td>{seed}</td><td>{number(value)}</td></tr>" for seed, value in best.scores.items()
    )
    head = "<tr><th>seed</th><th>score</th></tr>"
    return f'<div class="scroll"><table class="small">{head}{cells}</table></div>'


def _section(title: str, *parts: str) -> str:
    head = f"<h2>{escape(title)}</h2>"
    body = "".join(part if part.startswith("<") else f"<p>{escape(part)}</p>" for part in parts)
    return f"<section>{head}{body}</section>"


def _chart(name: str) -> str:
    figure = (
        f'<figure id="{name}" class="chart"><noscript>This chart needs JavaScript; the tables do '
        "not.</noscript></figure>"
    )
    if name == "curves":
        return f'{figure}<div id="curves-key" class="key"></div>'
    return f'<div id="{name}-key" class="marks"></div>{figure}'


def _table(table: Table, *, fold: int) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    shown = _rows(table.rows[:fold])
    html = f'<div class="scroll"><table><thead><tr>{head}</tr></thead>{shown}</table></div>'
    if len(table.rows) > fold:
        rest = f'<div class="scroll"><table><tr>{head}</tr>{_rows(table.rows[fold:])}</table></div>'
        html += f"<details><summary>{len(table.rows) - fold} more</summary>{rest}</details>"
    return html


def _rows(rows: Iterable[Sequence[str]]) -> str:
    return "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in rows)


def _cell(text: str) -> str:
    long = ' class="long"' if len(text) > 32 else ""
    return f"<td{long}>{escape(text)}</td>"


def _cost(race: Race) -> str:
    spent, full = trained(race), full_cost(race)
    if not full:
        return f"{spent} epochs were trained."
    return (
        f"{spent} epochs were trained; all {len(race.groups)} configs on all "
        f"{len(race.ledger.seeds)} seeds to the end would have been {full} "
        f"({spent / full:.0%} of that)."
    )


def _spending(race: Race) -> str:
    table = spending(race)
    fates = [fate for fate in _FATES if any(fate in item.epochs for item in table)]
    rows = [
        (
            str(item.rung),
            str(sum(item.epochs.values())),
            str(item.n_scored),
            *(str(item.n_groups.get(fate, 0)) for fate in fates),
        )
        for item in table
    ]
    header = ("rung (epochs x seeds)", "epochs trained", "scored", *fates)
    return _table(Table("", header, tuple(rows)), fold=len(rows))


def _failures(race: Race) -> str:
    rows = [
        (name, str(seed), shortened(why, 300))
        for name, group in race.groups.items()
        for seed, why in group.failures.items()
    ]
    if not rows:
        return ""
    note = "A config with a failed seed can't win: a missing score is never averaged away."
    table = _table(Table("", ("config", "seed", "why"), tuple(rows)), fold=20)
    return _section("Failed seeds", note, table)


def _reproduce(results: SeedResults) -> str:
    header = results.header
    space = ", ".join(
        f"{key!r}: {value_text(value, 120)}" for key, value in flat(header.param_space).items()
    )
    lines = [
        f"seeds            {', '.join(map(str, header.seeds))}",
        f"metric, mode     {header.metric}, {header.mode}",
        f"rungs            {' '.join(map(str, header.rungs))}   (epochs x seeds)",
        f"reduction factor {header.reduction_factor:g}",
        f"finalists        {header.n_finalists}",
        f"num_samples      {header.num_samples}",
        f"search seed      {header.search_seed}",
        f"search space     {shortened(space, 2000)}",
        f"tune-seeds       {header.version}",
    ]
    return (
        f"<pre>{escape(chr(10).join(lines))}</pre>"
        "<p>A run is a function of its code, its config and its seed. Alone, it is this script:</p>"
        "<pre>seed_everything(seed, workers=True)\n"
        "module, data = Module(**config), DataModule(**config)\n"
        "Trainer(deterministic=True, max_epochs=...).fit(module, datamodule=data)</pre>"
    )


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
    return resources.files("tune_seeds.report").joinpath(name).read_text("utf-8")
