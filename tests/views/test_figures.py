"""Each figure over a table of studies: what it draws is what results say, in the metric's unit."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.made_up import MadeUp, make
from made_study import make_study

from tune_seeds import NothingToCompareError, SeedResults
from tune_seeds.analysis.cost import spending, trained_epochs
from tune_seeds.analysis.curves import mean_curve
from tune_seeds.analysis.finalists.score_table import meeting_rung
from tune_seeds.core.ledger import RunKey
from tune_seeds.core.rungs import Rung
from tune_seeds.views.figures.style import safe
from tune_seeds.views.report.charts import Charts

ATTACK = "</script><img src=x onerror=alert(1)>\x1b[31m\u202e %{evil} $x$"
SEEDS = (47, 881, 123456789)
LADDER = (Rung(1, 1), Rung(3, 1), Rung(9, 3))
FIGURES = ("ranking", "curves", "parallel", "marginals", "seeds", "spending", "regret")


def value(config: Any, seed: int, epoch: int) -> float:
    rng = np.random.default_rng([seed, int(1e6 * config["lr"])])
    best = 1 - abs(math.log10(config["lr"]) + 2) / 5
    return best * (1 - math.exp(-epoch / 2)) + 0.05 * float(rng.standard_normal())


def searched(n: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(7)
    return [
        {
            "lr": float(10 ** rng.uniform(-5, 0)),
            "model": {"width": int(rng.integers(8, 200))},
            "optimizer": ["sgd", "adam", "adamw"][k % 3],
            "fixed": 1,
            **({"momentum": 0.5 + k / 1000} if k % 3 == 0 else {}),
        }
        for k in range(n)
    ]


def failing(config: Any, seed: int, epoch: int) -> float | Exception:
    if config["optimizer"] == "sgd" and epoch == 2 and seed == 881:
        return RuntimeError("it failed")
    return value(config, seed, epoch)


def diverging(config: Any, seed: int, epoch: int) -> float:
    return math.nan if config["optimizer"] == "adam" and epoch > 1 else value(config, seed, epoch)


GRID = [{"lr": lr, "optimizer": o} for lr in (0.1, 0.01) for o in ("sgd", "adam")]
KINDS: dict[str, Callable[[Path], Any]] = {
    "ladder": lambda path: make_study(path, searched(12), value, rungs=LADDER),
    "min": lambda path: make_study(
        path, searched(12), lambda c, s, e: -value(c, s, e), rungs=LADDER, mode="min"
    ),
    "grid": lambda path: make_study(path, GRID, value, rungs=(Rung(3, 3),)),
    "one config": lambda path: make_study(path, [{"lr": 0.1}], value, rungs=LADDER),
    "one seed": lambda path: make_study(path, searched(5), value, seeds=(5,), rungs=(Rung(2, 1),)),
    "nothing to tune": lambda path: make_study(path, [{"lr": 0.1}] * 2, value),
    "failed": lambda path: make_study(
        path, searched(9), failing, rungs=LADDER, on_seed_failure="drop"
    ),
    "all failed": lambda path: make_study(path, GRID, lambda c, s, e: RuntimeError("it failed")),
    "diverged": lambda path: make_study(path, searched(9), diverging, rungs=LADDER),
    "the best so far": lambda path: make_study(
        path, searched(9), value, rungs=LADDER, score="best"
    ),
    "median": lambda path: make_study(path, searched(9), value, rungs=LADDER, aggregate="median"),
    "many": lambda path: make_study(path, searched(200), value, rungs=LADDER),
    "many seeds": lambda path: make_study(
        path, searched(6), value, seeds=tuple(range(30)), rungs=(Rung(1, 30),)
    ),
    "hostile": lambda path: make(
        path,
        MadeUp(
            [{"lr": 10.0**-k, ATTACK: f"{ATTACK}{k % 4}", "s": ATTACK * 50} for k in range(6)],
            metric=ATTACK,
            fails=frozenset({(3, 47)}),
        ),
    ),
    "confirmed": lambda path: make(path, MadeUp(searched(8), confirm_seeds=(1, 2))),
    "adaptive": lambda path: make(path, MadeUp(searched(12), seeds_per_rung="adaptive")),
}

TRAINED = [kind for kind in KINDS if kind != "all failed"]


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], SeedResults]:
    folder = tmp_path_factory.mktemp("figures")
    made: dict[str, SeedResults] = {}

    def study(kind: str) -> SeedResults:
        if kind not in made:
            path = folder / kind
            KINDS[kind](path)
            made[kind] = SeedResults(str(path))
        return made[kind]

    return study


def drawn(figure: Any) -> dict[str, Any]:
    """The figure as strict JSON has it."""
    return json.loads(json.dumps(figure.to_plotly_json(), allow_nan=False))


def texts(item: Any) -> list[str]:
    if isinstance(item, str):
        return [item]
    items = item.values() if isinstance(item, dict) else item if isinstance(item, list) else []
    return [text for one in items for text in texts(one)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_or_it_is_said_why_not(studies, kind: str, name: str):
    results = studies(kind)
    try:
        figure = drawn(getattr(results.plot, name)())
    except NothingToCompareError as why:
        assert str(why)
        assert kind in ("all failed", "one config", "nothing to tune", "diverged")
        return
    assert figure["data"] and figure["layout"]["height"] >= 100
    # Plotly reads a little HTML: of it only what the figures themselves write may be there.
    for text in texts(figure):
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", text)
        if name != "parallel":
            left = re.sub(r"</?(b|br|extra|span style='font-size:11px')/?>|</span>", "", text)
            assert "<" not in left, left
            assert not re.search(r"\$.*\$", left)
            assert "%{evil}" not in left
    entries = [
        t["name"] for t in figure["data"] if t.get("name") and t.get("showlegend") is not False
    ]
    assert len(entries) == len(set(entries)) and len(entries) <= 24


@pytest.mark.parametrize("kind", KINDS)
def test_the_report_draws_the_same_figures(studies, kind: str):
    results = studies(kind)
    charts = Charts(results)
    for name in FIGURES:
        place = getattr(charts, name)()
        if not place:
            with pytest.raises(NothingToCompareError):
                getattr(results.plot, name)()
        elif name == "marginals":
            keys = list(results.marginals())
            assert len([place for place in charts.figures if place.startswith(name)]) == len(keys)
            if kind != "hostile":
                shown = drawn(results.plot.marginals(keys[0]))
                assert charts.figures["marginals-0"] == [shown]
        else:
            assert charts.figures[name][0] == drawn(getattr(results.plot, name)())


@pytest.mark.parametrize("kind", TRAINED)
def test_ranking(studies, kind: str):
    results = studies(kind)
    figure = drawn(results.plot.ranking(top=500))
    rows = results.groups.set_index("group")
    headings = [note["text"] for note in figure["layout"]["annotations"]]
    seen: set[str] = set()
    for trace in figure["data"]:
        is_seed = trace["hovertemplate"].startswith("%{y}, seed")
        for k, (group, x) in enumerate(zip(trace["y"], trace["x"], strict=True)):
            if group is None:
                continue
            standing = results.standing(group)
            number = int(trace["xaxis"][1:] or 1)
            assert headings[number - 1].startswith(f"rung {standing.rung}: ")
            if is_seed:
                seed = re.match(r"%{y}, seed (\d+)", trace["hovertemplate"])
                assert seed and x == rows.loc[group, f"score/{seed[1]}"]
                continue
            seen.add(group)
            assert x == rows.loc[group, "estimate"]
            low, high = rows.loc[group, ["low", "high"]]
            if low == low:
                assert x - trace["error_x"]["arrayminus"][k] == pytest.approx(low)
                assert x + trace["error_x"]["array"][k] == pytest.approx(high)
    assert seen == set(rows.index[rows["epochs"] > 0])
    if kind == "many":
        few = drawn(results.plot.ranking())
        assert "the best 25 of 200 configs" in " ".join(texts(few["layout"]))


def lines(trace: dict[str, Any]) -> list[tuple[str, list[float], list[float | None]]]:
    """The lines of a trace, which are separated by gaps: name, x, y."""
    found: list[tuple[str, list[float], list[float | None]]] = []
    new = True
    for x, y, name in zip(trace["x"], trace["y"], trace["customdata"], strict=True):
        if x is None:
            new = True
            continue
        if new:
            found.append((name, [], []))
        new = False
        found[-1][1].append(x)
        found[-1][2].append(y)
    return found


@pytest.mark.parametrize("kind", [kind for kind in TRAINED if kind != "many"])
@pytest.mark.parametrize("metric", [None, "own"])
def test_curves(studies, kind: str, metric: str | None):
    results = studies(kind)
    ledger = results.ledger
    metric = None if metric is None else results.header.metric
    figure = drawn(results.plot.curves(metric, top=500))
    of_runs: dict[tuple[str, int], Any] = {}
    of_groups: dict[str, Any] = {}
    for trace in figure["data"]:
        for name, x, y in lines(trace) if "customdata" in trace else []:
            group, _, rest = name.partition(", ")
            if rest.startswith("seed "):
                of_runs[group, int(rest.removeprefix("seed "))] = (x, y)
            elif rest:
                of_groups[group] = (x, y)
    for (group, seed), run in ledger.items():
        if seed not in results.seeds:
            assert (group, seed) not in of_runs
            continue
        if metric is None:
            expected = {e: ledger.metric.own(v) for e, v in run.curve.items()}
        else:
            expected = {e: row[metric] for e, row in run.reports.items()}
        x, y = of_runs.get((group, seed), ([], []))
        assert x == sorted(expected)
        assert y == [None if math.isnan(expected[e]) else expected[e] for e in x]
    for group, (x, y) in of_groups.items():
        points = mean_curve(results.race, group, metric)
        assert x == [point.epoch for point in points]
        assert y == [None if math.isnan(p.mean) else p.mean for p in points]
    if not math.isnan(results.groups["score"].iloc[0]):
        best = results.best
        x, y = of_groups[best.group]
        if results.header.aggregate == "mean" and best.rung.epochs in x:
            assert y[x.index(best.rung.epochs)] == pytest.approx(best.mean) or metric is not None


@pytest.mark.parametrize("kind", ["ladder", "min", "diverged", "many", "hostile", "failed"])
def test_parallel(studies, kind: str):
    results = studies(kind)
    at = meeting_rung(results.race)
    (trace,) = drawn(results.plot.parallel())["data"]
    own = results.ledger.metric.own
    groups = [name for name in results.groups["group"] if at in results.race.groups[name].scores]
    scores = [own(results.race.groups[name].scores[at]) for name in groups][::-1]
    assert trace["line"]["color"] == trace["dimensions"][-1]["values"] == scores
    assert trace["line"]["colorbar"]["title"]["text"].endswith(f"at rung {at}")
    assert len(trace["dimensions"][0]["values"]) == len(groups)
    scale = [color for _, color in trace["line"]["colorscale"]]
    # Bright is good in both modes.
    assert (scale[-1] == "#b5de2b") == results.ledger.metric.higher_is_better
    if kind in ("ladder", "many"):
        lr = next(d for d in trace["dimensions"] if d["label"] == "lr")
        values = [results.ledger.configs[name]["lr"] for name in groups[::-1]]
        assert [10**place for place in lr["values"]] == pytest.approx(values)
        momentum = next(d for d in trace["dimensions"] if d["label"] == "momentum")
        there = [results.ledger.configs[name].get("momentum") for name in groups[::-1]]
        (apart,) = {p for p, v in zip(momentum["values"], there, strict=True) if v is None}
        assert apart < min(v for v in there if v is not None)
        assert momentum["ticktext"][momentum["tickvals"].index(apart)] == "(absent)"
    top = results.header.rungs[-1]
    (trace,) = drawn(results.plot.parallel(top))["data"]
    assert trace["line"]["colorbar"]["title"]["text"].endswith(f"at rung {top}")


@pytest.mark.parametrize("kind", ["ladder", "min", "many", "grid", "failed", "one seed"])
def test_marginals(studies, kind: str):
    results = studies(kind)
    tables = results.marginals()
    short = {"model.width": "width"}
    for name, rows in tables.items():
        figure = drawn(results.plot.marginals(short.get(name, name)))
        single, means = figure["data"]
        assert means["y"] == [row.mean for row in rows]
        assert [label for label, _ in means["customdata"]] == [safe(row.value, 40) for row in rows]
        for k, row in enumerate(rows):
            if not math.isnan(row.interval.low):
                up, down = means["error_y"]["array"][k], means["error_y"]["arrayminus"][k]
                assert row.mean + up == pytest.approx(row.interval.high)
                assert row.mean - down == pytest.approx(row.interval.low)
        assert len(single["x"]) == sum(row.n_configs for row in rows)
        # A mean lies among its configs, so it is theirs.
        assert np.mean(single["y"]) == pytest.approx(
            np.average(means["y"], weights=[row.n_configs for row in rows])
        )
        is_searched = name == "lr" and len(results.race.groups) > 8
        assert (figure["layout"]["xaxis"].get("type") == "log") == is_searched
    whole = drawn(results.plot.marginals())
    assert len(whole["data"]) == 2 * len(tables)


@pytest.mark.parametrize("kind", ["ladder", "min", "grid", "one config", "many seeds", "failed"])
def test_seeds(studies, kind: str):
    results = studies(kind)
    figure = drawn(results.plot.seeds(top=500))
    top = results.header.rungs[-1]
    rows = results.groups.set_index("group")
    complete = [
        g for g in rows.index if top in results.race.groups[g].scores and not rows["why"][g]
    ]
    for trace in figure["data"]:
        group = trace["name"].split()[0]
        assert trace["x"] == [str(seed) for seed in results.seeds]
        if group == "mean":
            every = rows.loc[complete, [f"score/{seed}" for seed in results.seeds]]
            assert trace["y"] == pytest.approx(list(every.mean()))
        else:
            assert trace["y"] == [rows.loc[group, f"score/{seed}"] for seed in results.seeds]
    assert len(figure["data"]) == len(complete) + (len(complete) > 1)
    if len(complete) > 1 and len(results.seeds) > 1:
        w = results.seed_effect().kendalls_w
        assert f"Kendall's W {w:.2f}" in " ".join(texts(figure["layout"]))


@pytest.mark.parametrize("kind", TRAINED)
def test_spending(studies, kind: str):
    race = studies(kind).race
    figure = drawn(studies(kind).plot.spending())
    bars = {
        (rung, trace["name"]): x
        for trace in figure["data"]
        for rung, x in zip(trace["y"], trace["x"], strict=True)
    }
    for item in spending(race):
        for fate, n in item.epochs.items():
            assert bars.get((str(item.rung), fate), 0) == n
    assert sum(bars.values()) == trained_epochs(race)


@pytest.mark.parametrize("kind", TRAINED)
def test_regret(studies, kind: str):
    results = studies(kind)
    figure = drawn(results.plot.regret())
    scored = {
        rung for group in results.race.groups.values() if not group.lost for rung in group.scores
    }
    assert [trace["name"] for trace in figure["data"]] == [str(rung) for rung in sorted(scored)]
    for trace in figure["data"]:
        assert trace["y"] == sorted(trace["y"], reverse=True) and trace["y"][-1] == 0
        assert trace["x"] == sorted(trace["x"])
        assert trace["x"][-1] == trained_epochs(results.race)
        for said, regret in zip(trace["customdata"], trace["y"], strict=True):
            group = results.race.groups[said.split()[0]]
            (rung,) = [rung for rung in scored if str(rung) == trace["name"]]
            others = [g.scores.get(rung, -math.inf) for g in results.race.groups.values()]
            alive = [g.lost for g in results.race.groups.values()]
            best = max(s for s, lost in zip(others, alive, strict=True) if not lost)
            assert regret == best - group.scores[rung]


def test_both_modes_show_the_same_figure_upside_down(studies):
    high, low = studies("ladder"), studies("min")
    for name in ("curves", "seeds", "marginals", "ranking"):
        axis = "x" if name == "ranking" else "y"
        one, other = (drawn(getattr(results.plot, name)()) for results in (high, low))
        for a, b in zip(one["data"], other["data"], strict=True):
            numbers = [
                (p, -q)
                for p, q in zip(a[axis], b[axis], strict=True)
                if p is not None and not a.get("fill")
            ]
            assert [p for p, _ in numbers] == pytest.approx([q for _, q in numbers])
    one, other = (drawn(results.plot.regret())["data"] for results in (high, low))
    assert [t["y"] for t in one] == [pytest.approx(t["y"]) for t in other]


def test_runs_of_a_confirmation_are_in_no_curve(studies):
    results = studies("confirmed")
    assert RunKey(results.best.group, 1) in results.ledger
    assert "seed 1" not in " ".join(
        name for trace in results.plot.curves().data for name in trace.customdata or ()
    ).replace("seed 123456789", "")
