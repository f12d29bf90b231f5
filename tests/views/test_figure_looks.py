"""How curves are told apart, what names find, what a figure refuses, and how it is saved."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from benchmarks.made_up import MadeUp, make
from pictures import browser

from tune_seeds import NothingToCompareError, Rung, SeedResults, StudyFigure
from tune_seeds.views.figures import study_figure, style
from tune_seeds.views.figures.curve_styles import log_ticks
from tune_seeds.views.figures.hyperparameters import find, kinds, varied

CONFIGS = [
    {
        "model": {"lr": 10 ** -(1 + k / 10), "drop": 0.1 * (k % 3)},
        "data": {"drop": k % 2},
        "optimizer": "abcdefghij"[k % 10],
        "a.b": k % 2,
    }
    for k in range(20)
]


def study(path: Path, configs: Any, **more: Any) -> SeedResults:
    make(path, MadeUp(configs, max_t=3, **more))
    return SeedResults(str(path))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> SeedResults:
    space = {"model": {"lr": "float, loguniform in (0.001, 0.1)", "drop": "float, uniform in (0)"}}
    return study(tmp_path_factory.mktemp("looks") / "study", CONFIGS, space=space)


def legend(figure: Any) -> list[str]:
    return [trace.name for trace in figure.data if trace.name and trace.showlegend is not False]


def test_every_logged_metric_has_curves(results):
    figure = results.plot.curves("train_loss")
    assert figure.layout.yaxis.title.text == "train_loss"
    run = next(iter(results.ledger.values()))
    seen = [y for trace in figure.data for y in trace.y]
    assert {row["train_loss"] for row in run.reports.values()} <= set(seen)
    # What Ray counts is there for who asks.
    assert results.plot.curves("time_total_s").data


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "vall_acc"}, r"'vall_acc'; there are 'val_acc', 'train_loss'$"),
        ({"color": "learning_rate"}, r"color='learning_rate' is no .*'lr', 'model/drop', 'data/"),
        ({"dash": "opt"}, r"dash='opt' is no hyperparameter"),
        ({"color": "drop"}, r"is one of several; there are 'model/drop', 'data/drop'$"),
        ({"top": 0}, r"top must be at least 1"),
        ({"top": 2.5}, r"top must be a whole number"),
    ],
)
def test_what_curves_refuse_they_explain(results, arguments, message):
    with pytest.raises(ValueError, match=message):
        results.plot.curves(**arguments)


@pytest.mark.parametrize("name", ["parallel", "seeds", "marginals"])
def test_a_rung_that_the_study_does_not_have_is_refused(results, name):
    with pytest.raises(ValueError, match=r"rung must be one of the study's \(1x1 3x1|1x1, "):
        getattr(results.plot, name)(rung=Rung(77, 1))


def test_an_unknown_hyperparameter_is_refused_by_marginals(results):
    with pytest.raises(ValueError, match="names='lrr' is no hyperparameter"):
        results.plot.marginals("lrr")
    with pytest.raises(ValueError, match="level"):
        results.plot.marginals(level=95)


@pytest.mark.parametrize("name", ["lr", "model/lr", "model.lr", "a.b", "optimizer"])
def test_a_hyperparameter_is_found_by_each_of_its_names(results, name):
    assert find(results, name, "color").key in ("model/lr", "a.b", "optimizer")
    assert results.plot.marginals(name).data


def test_the_space_says_what_is_on_a_log_scale(results, tmp_path):
    is_log = {one.name: one.is_log for one in varied(results)}
    assert is_log["lr"] and not is_log["model/drop"] and not is_log["optimizer"]
    wide = [{"x": 10.0**k, "y": 1.0 + k, "z": -(10.0**k)} for k in range(5)]
    plain = study(tmp_path / "plain", wide)
    assert {one.name: one.is_log for one in varied(plain)} == {"x": True, "y": False, "z": False}
    uniform = study(tmp_path / "uniform", wide, space={"x": "float, uniform in (1, 1e4)"})
    assert not varied(uniform)[0].is_log


def test_many_numbers_get_a_scale_and_no_legend(results):
    figure = results.plot.curves(color="lr")
    assert legend(figure) == []
    (bar,) = [t.marker for t in figure.data if t.marker.showscale]
    assert (bar.cmin, bar.cmax) == (pytest.approx(-2.9), pytest.approx(-1))
    assert bar.colorbar.title.text == "lr"
    colors = {t.line.color for t in figure.data if t.mode != "markers"}
    assert len(colors) == 20
    both = results.plot.curves(color="lr", dash="model.drop")
    assert legend(both) == ["0", "0.1", "0.2"]


def test_few_values_get_a_legend_entry_each_and_many_names_share_one(results):
    assert legend(results.plot.curves(color="model/drop")) == ["0", "0.1", "0.2"]
    both = results.plot.curves(color="model/drop", dash="data/drop")
    assert legend(both) == ["0, 0", "0, 1", "0.1, 0", "0.1, 1", "0.2, 0", "0.2, 1"]
    entries = legend(results.plot.curves(color="optimizer"))
    assert len(entries) == 6 and entries[-1] == "5 other values"
    dashes = {t.line.dash for t in results.plot.curves(dash="lr").data}
    assert len(dashes) <= 4


def test_without_a_word_each_config_has_a_colour_and_the_best_are_shown_first(results):
    figure = results.plot.curves()
    entries = legend(figure)
    assert [text.split()[0] for text in entries] == list(results.groups["group"][:16])
    visible = [t.name for t in figure.data if t.name and t.visible is True]
    assert visible == entries[:6]
    assert "the best 16 of 20 configs" in figure.layout.xaxis.title.text
    assert len(legend(results.plot.curves(top=3))) == 3


def test_a_small_grid_is_told_apart_by_its_hyperparameters(tmp_path):
    grid = [{"optimizer": o, "lr": lr} for o in ("sgd", "adam") for lr in (0.1, 0.01)]
    figure = study(tmp_path / "grid", grid).plot.curves()
    assert sorted(legend(figure)) == ["0.01, adam", "0.01, sgd", "0.1, adam", "0.1, sgd"]
    assert figure.layout.legend.title.text.strip() == "lr, optimizer"
    by_name = {t.name: t.line for t in figure.data if t.name}
    assert by_name["0.1, adam"].color == by_name["0.1, sgd"].color
    assert by_name["0.1, adam"].dash == by_name["0.01, adam"].dash
    assert by_name["0.1, adam"].dash != by_name["0.1, sgd"].dash


def test_kinds_are_few_and_hold_every_config(results):
    one = find(results, "optimizer", "color")
    groups = list(results.race.groups)
    for n in (1, 2, 3, 6, 10, 30):
        found = kinds(one, groups, n)
        assert len(found.labels) == min(n, 10) and found.has_rest == (n < 10)
        assert set(found.of) == set(groups) and set(found.of.values()) == set(range(min(n, 10)))


def test_parallel_tells_long_values_apart_and_needs_two_configs(tmp_path):
    long = study(tmp_path / "long", [{"net": "z" * 500 + end} for end in "abca"])
    (trace,) = long.plot.parallel().data
    assert sorted(trace.dimensions[0].values) == [0, 0, 1, 2]
    assert {len(text) for text in trace.dimensions[0].ticktext} == {16}
    with pytest.raises(NothingToCompareError, match="only one config"):
        study(tmp_path / "one", [{"net": "a"}]).plot.parallel()


def test_ticks_of_a_log_scale():
    assert log_ticks(-3, -1) == [(-3, "0.001"), (-2.0, "0.01"), (-1, "0.1")]
    assert log_ticks(-1, -1) == [(-1, "0.1")]
    assert len(log_ticks(-300, 300)) <= 9


def test_text_is_literal():
    said = style.safe("<b>&amp; %{x} $y$ 'a' \"b\" \x1b \u202e \n")
    assert not set("<>%$'\"\x1b\u202e\n") & set(said)
    assert "&#60;b&#62;" in said
    assert len(style.safe("z" * 5000)) < 130


def test_every_colour_has_one_for_dark_pages():
    dark = style.dark()
    for color in (*style.COLORS, style.BACK, style.FRONT, style.QUIET, style.LINE, style.PANEL):
        assert color in dark and style.faded(color) in dark
    assert style.shade(0) == style.SCALE[0] and style.shade(1) == style.SCALE[-1]


class TestGuide:
    """Every snippet of the page on figures runs, on a study as it tells of."""

    TEXT = (Path(__file__).parents[2] / "docs" / "guides" / "figures.md").read_text()

    def run(self, path: Path, monkeypatch: pytest.MonkeyPatch, blocks: list[str]) -> None:
        grid = [{"optimizer": o, "lr": lr} for o in ("sgd", "adam") for lr in (0.1, 0.01)]
        study(path / "study", grid)
        monkeypatch.chdir(path)
        known: dict[str, Any] = {"EXPERIMENT": str(path / "study")}
        for block in blocks:
            exec(block, known)

    def blocks(self) -> list[str]:
        return re.findall(r"```python\n(.*?)```", self.TEXT, flags=re.DOTALL)

    def test_what_needs_no_browser(self, tmp_path, monkeypatch):
        self.run(tmp_path, monkeypatch, self.blocks()[:-1])
        assert "plotly" in (tmp_path / "ranking.html").read_text()

    @pytest.mark.slow
    @pytest.mark.skipif(browser.executable() is None, reason="chromium is not installed")
    def test_pictures(self, tmp_path, monkeypatch):
        self.run(tmp_path, monkeypatch, [self.blocks()[0], self.blocks()[-1]])
        assert (tmp_path / "ranking.pdf").read_bytes().startswith(b"%PDF")


class TestSavePng:
    def test_a_figure_is_plotlys(self, results):
        figure = results.plot.spending()
        assert isinstance(figure, StudyFigure) and isinstance(figure, go.Figure)
        assert isinstance(figure.update_layout(title="mine"), StudyFigure)

    def test_what_is_missing_is_named(self, results, tmp_path, monkeypatch):
        figure = results.plot.spending()
        with pytest.raises(ValueError, match=r"ends in \.png.*write_image"):
            figure.save_png(tmp_path / "a.svg")
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            figure.save_png(tmp_path / "none" / "a.png")
        monkeypatch.setattr(study_figure, "find_spec", lambda name: None)
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'tune-seeds\[png\]'"):
            figure.save_png(tmp_path / "a.png")

    def test_a_missing_browser_is_named(self, results, tmp_path, monkeypatch):
        def refuse(*args: Any, **kwargs: Any) -> None:
            raise RuntimeError("Kaleido requires Google Chrome to be installed ...")

        figure = results.plot.spending()
        monkeypatch.setattr(StudyFigure, "write_image", refuse)
        with pytest.raises(RuntimeError, match="found no Chrome or Chromium"):
            figure.save_png(tmp_path / "a.png")

    @pytest.mark.slow
    @pytest.mark.skipif(browser.executable() is None, reason="chromium is not installed")
    def test_a_picture_has_the_size_that_was_asked_for(self, results, tmp_path):
        file = results.plot.spending().save_png(tmp_path / "a.png", width=300, height=200, scale=3)
        data = file.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", data[16:24]) == (900, 600)
