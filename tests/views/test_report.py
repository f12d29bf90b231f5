from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from benchmarks.made_up import MadeUp, make, steps
from pictures import browser
from pictures.board import board
from ray import tune

from tune_seeds import SeedResults, SeedTuner
from tune_seeds.analysis.cost import full_cost, spending, trained_epochs
from tune_seeds.analysis.curves import mean_curve
from tune_seeds.analysis.group_summary import State, ranking, standing
from tune_seeds.cli.main import main
from tune_seeds.core.ledger import Ledger, RunKey
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.race import Race
from tune_seeds.statistics.aggregate import get_aggregate
from tune_seeds.views.tables import Table, latex, markdown

ATTACK = "</script><img src=x onerror=alert(1)>"
HOSTILE: list[Mapping[str, Any]] = [
    {
        "x": k / 10,
        ATTACK: ATTACK,
        "long": "z" * 5000 + str(k % 2),
        "nan": math.nan,
        "inf": -math.inf,
        "nested": {"a|b": {"c_d": [1, {"e": None}], "empty": {}}},
        "list": [k, "&lt;", '"'],
        "function": lambda value: value,
        "flag": bool(k % 2),
        "mixed": [1, "one", None, 2.5][k % 4],
        "tex": r"\input{/etc/passwd} $x$ 100% #1",
    }
    for k in range(9)
]
RECORD = {
    "packages": {"python": "3.11.7", "ray": "2.60.0"},
    "config": {"x": 1},
    "git": None,
    "first_batch": "abc",
}
METRIC = "val/acc%\"'<b>"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "<b>study&amp;"
    make(
        path,
        MadeUp(
            HOSTILE,
            metric=METRIC,
            fails=frozenset({(3, 47)}),
            quality=lambda config: config["x"],
            confirm_seeds=(1, 2, 3),
        ),
    )
    return path


def test_the_page_answers_first_and_holds_every_part(hostile, tmp_path):
    results = SeedResults(str(hostile))
    file = results.report(tmp_path / "report.html")
    text = file.read_text()
    assert f"<h1>{results.best.group} is best" in text
    for part in (
        "Ranking",
        "On fresh seeds",
        "Learning curves",
        "All configs",
        "Hyperparameters",
        "Config or seed?",
        "Where the epochs went",
        "Failed seeds",
        "How to reproduce it",
    ):
        assert f"<h2>{part}</h2>" in text
    assert "How sure: " in text
    assert "a made-up failure" in text
    for seed, score in results.best.scores.items():
        assert f"<td>{seed}</td><td>{score:.5g}</td>" in text


def test_the_environment_is_shown_and_what_differs_between_runs(tmp_path):
    path = tmp_path / "study"
    for n, study in enumerate(steps(path, MadeUp([{"x": k} for k in range(5)]))):
        if n == 0:
            continue
        for key, run in study.race.ledger.items():
            if run.reports and run.environment is None:
                torch = "2.13.0" if key.seed != 881 else "2.12.0<b>"
                study.race.note_environment(key, {**RECORD, "seed": key.seed, "torch": torch})
    results = SeedResults(str(path))
    text = results.report(tmp_path / "report.html").read_text()
    section = text[text.index("<h2>Environment</h2>") :].partition("</section>")[0]
    assert "<td>packages/ray</td><td>2.60.0</td>" in section
    assert "<td>git</td><td>null</td>" in section
    assert "<td>2.13.0 | 2.12.0&lt;b&gt;</td>" in section
    assert "first_batch" not in section and "<td>config" not in section
    assert f"Runs of {', '.join(results.environment_differences)} differ in more" in section


def test_runs_that_were_trained_again_from_their_beginning_are_counted(tmp_path):
    path = tmp_path / "study"
    again = {47: {"restarts": "1", "lost": "model.numbers"}, 881: {"restarts": "2", "lost": "data"}}
    for n, study in enumerate(steps(path, MadeUp([{"x": k} for k in range(5)]))):
        if n == 0:
            continue
        for key, run in study.race.ledger.items():
            if run.reports and run.environment is None and key.group == "g0001":
                study.race.note_environment(key, {**RECORD, **again.get(key.seed, {})})
    results = SeedResults(str(path))
    assert results.restarts == {
        RunKey("g0001", 47): (1, "model.numbers"),
        RunKey("g0001", 881): (2, "data"),
    }
    said = "2 of 15 runs were trained again from their beginning, 3 times in all"
    assert said in str(results)
    assert "model.numbers; or data" in str(results)
    assert said in results._repr_html_()
    assert not results.environment_differences


def test_a_notebook_shows_a_table_and_no_foreign_markup(hostile):
    results = SeedResults(str(hostile))
    shown = results._repr_html_()
    assert "<img" not in shown and "<b>" not in shown and shown.count("<tr") >= len(HOSTILE)
    assert f"best: {results.best.group}" in shown
    assert repr(results) == f"SeedResults({str(hostile)!r}): 4 of 9 configs complete"


@pytest.mark.usefixtures("ray_session")
def test_a_real_study_of_hostile_values_is_shown_in_every_view(tmp_path, capsys):
    def train(config):
        tune.report({METRIC: config["chosen"] + config["seed"] / 1000})

    path = tmp_path / "study"
    results = SeedTuner(
        train,
        seeds=[1, 2],
        param_space={**HOSTILE[0], "chosen": tune.grid_search([1, 2]), "k" * 300: 10**30},
        tune_config=tune.TuneConfig(metric=METRIC, mode="max"),
        run_config=tune.RunConfig(name="study", storage_path=str(tmp_path)),
    ).fit()
    assert results.best.scores == {1: 2.001, 2: 2.002}
    assert json.loads(results.to_json())
    for command in ("show", "best", "list"):
        assert main([command, str(tmp_path if command == "list" else path)]) == 0
    assert capsys.readouterr().out
    assert "<img" not in _without_plotly(results.report(tmp_path / "r.html").read_text())
    with board(str(path)) as server:
        rows = {row["name"]: row for row in server.wait_for_rows(2)}
    assert rows["g0002"]["hparams"]["chosen"] == 2
    assert rows["g0002"]["metrics"][METRIC] == pytest.approx(2.0015, abs=1e-6)


def test_no_string_of_a_study_becomes_markup(hostile, tmp_path):
    text = SeedResults(str(hostile)).report(tmp_path / "report.html").read_text()
    assert "<img" not in _without_plotly(text)
    assert "<b>" not in _without_plotly(text)
    assert text.count("</script>") == 2
    assert "zzzzz" * 100 not in text


def test_it_loads_nothing(hostile, tmp_path):
    text = SeedResults(str(hostile)).report(tmp_path / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="?https?:', _without_plotly(text))
    assert "default-src 'none'" in text


PLACES = ("ranking", "curves", "parallel", "marginals-0", "seeds", "spending", "regret")


@pytest.mark.slow
@pytest.mark.skipif(browser.executable() is None, reason="chromium is not installed")
def test_it_draws_every_chart_in_a_browser_and_runs_no_foreign_script(hostile, tmp_path):
    results = SeedResults(str(hostile))
    file = results.report(tmp_path / "report.html")
    with browser.browser(1200, 900) as page:
        page.open(f"file://{file}")
        for place in PLACES:
            page.wait_for(f"document.querySelector('#{place} .main-svg') !== null")
        assert page.evaluate("document.querySelectorAll('img').length") == 0
        assert page.evaluate("document.body.innerText").count("can't be drawn") == 0
        assert page.console == []
        assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []
        for width in (390, 1200):
            page.resize(width, 844, phone=width < 500)
            page.wait_for(f"document.documentElement.scrollWidth <= {width}")
        # What a string of the study looks like is what it is.
        assert page.evaluate("document.querySelector('#ranking').textContent").count(METRIC)
        title = "document.querySelector('#curves .ytitle').textContent"
        assert page.evaluate(title) == METRIC
        page.evaluate(
            "(() => { const menu = document.querySelector('select[data-of=curves]');"
            "menu.selectedIndex = 1; menu.dispatchEvent(new Event('change')); })()"
        )
        page.wait_for(f"{title} === 'train_loss'")
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        back = "document.querySelector('#ranking .main-svg').style.background"
        assert page.evaluate(back) == light
        page.prefer("dark")
        page.wait_for(f"getComputedStyle(document.body).backgroundColor !== {json.dumps(light)}")
        page.wait_for(f"{back} === getComputedStyle(document.body).backgroundColor")
        assert page.console == []


@pytest.mark.slow
@pytest.mark.skipif(browser.executable() is None, reason="chromium is not installed")
@pytest.mark.parametrize("n", [1, 200])
def test_a_page_of_any_size_fits_a_phone(n, tmp_path):
    path = tmp_path / "study"
    configs = [
        {"lr": 10.0 ** -(k % 7), "w": k, **{f"h{i}": k % 3 for i in range(9)}} for k in range(n)
    ]
    make(path, MadeUp(configs, seeds_per_rung="adaptive"))
    file = SeedResults(str(path)).report(tmp_path / "report.html")
    with browser.browser(390, 844) as page:
        page.resize(390, 844, phone=True)
        page.open(f"file://{file}")
        page.wait_for("document.querySelector('#regret .main-svg') !== null")
        page.wait_for("document.documentElement.scrollWidth <= 390")
        assert page.evaluate("document.body.innerText").count("can't be drawn") == 0
        assert page.console == []


def test_a_study_without_a_finished_config_says_so(tmp_path):
    path = tmp_path / "study"
    for n, _ in enumerate(steps(path, MadeUp([{"x": k} for k in range(5)]))):
        if n == 4:
            break
    results = SeedResults(str(path))
    text = results.report(tmp_path / "report.html").read_text()
    assert f"<h1>{results.best.group} leads: " in text
    assert f"eft before its end: {len(results.race.groups)} of 5 configs started" in text
    assert "not yet at" in text
    assert "<td>stopped</td>" in text
    assert not re.search("<td>(queued|running|waiting)</td>", text)


def test_the_ending_chooses_the_kind(hostile, tmp_path):
    results = SeedResults(str(hostile))
    table = results.report(tmp_path / "ranking.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(HOSTILE)
    widths = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert len(widths) == 1
    assert "<img" not in table
    tex = results.report(tmp_path / "ranking.tex").read_text()
    assert r"\input" not in tex
    assert (
        len({len(re.findall(r"(?<!\\)&", line)) for line in tex.splitlines() if "&" in line}) <= 2
    )
    with pytest.raises(ValueError, match=r"\.html, \.md or \.tex"):
        results.report(tmp_path / "report.pdf")


def test_markdown_and_latex_of_a_small_table():
    table = Table("a_b", ("x", "y"), (("1|2", "<b>"), ("50%", "")))
    assert markdown(table) == ("a\\_b\n\n| x | y |\n|---|---|\n| 1\\|2 | &lt;b&gt; |\n| 50% |  |\n")
    assert r"1\textbar{}2 & \textless{}b\textgreater{} \\" in latex(table)
    assert r"50\% &  \\" in latex(table)


class TestSpending:
    """Hand-computed: two configs on two seeds, rungs 1x1, 3x1, 3x2."""

    def race(self) -> Race:
        rungs = (Rung(1, 1), Rung(3, 1), Rung(3, 2))
        race = Race(
            Ledger([7, 8], Metric("acc", "max")),
            SuccessiveHalving(rungs, 2, 1),
            get_aggregate("mean"),
        )
        a, b = race.add_group({"n": 1}), race.add_group({"n": 2})
        for group, value in ((a, 0.9), (b, 0.1)):
            race.start(RunKey(group, 7))
            race.report(RunKey(group, 7), 1, {"acc": value})
        race.promote_next()
        race.start(RunKey(a, 7))
        for epoch in (2, 3):
            race.report(RunKey(a, 7), epoch, {"acc": 0.9})
        race.exhaust()
        race.promote_next()
        for epoch in (1, 2):
            race.report(RunKey(a, 8), epoch, {"acc": 0.7})
        return race

    def test_epochs_by_rung_and_fate(self):
        race = self.race()
        low, middle, top = spending(race)
        assert low.epochs == {"went on": 1, "stopped": 1} and low.n_scored == 2
        assert middle.epochs == {"went on": 2} and middle.n_scored == 1
        assert top.epochs == {"unfinished": 2} and top.n_scored == 0
        assert trained_epochs(race) == 6
        assert full_cost(race) == 12

    def test_standings(self):
        race = self.race()
        assert ranking(race) == ["g0001", "g0002"]
        first, second = (standing(race, name) for name in ranking(race))
        assert (first.state, first.rung, first.epochs) == (State.UNFINISHED, Rung(3, 1), 3)
        assert (second.state, second.score, second.values) == (State.STOPPED, 0.1, {7: 0.1})
        assert standing(race, "g0002", live=True).state is State.WAITING
        race.report(RunKey("g0001", 8), 3, {"acc": 0.5})
        done = standing(race, "g0001")
        assert done.state is State.COMPLETE
        assert done.std == pytest.approx(math.sqrt(0.08))
        curve = [(point.epoch, round(point.mean, 9)) for point in mean_curve(race, "g0001")]
        assert curve == [(1, 0.8), (2, 0.8), (3, 0.7)]

    def test_what_was_trained_is_what_the_rungs_add_up_to(self, hostile):
        race = SeedResults(str(hostile)).race
        assert sum(sum(item.epochs.values()) for item in spending(race)) == trained_epochs(race)


def _without_plotly(text: str) -> str:
    start = text.index("<script>")
    return text[:start] + text[text.index("</script>") :]
