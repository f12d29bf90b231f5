"""What a whole study says of itself: collapse, contenders among all, words, tables."""

from __future__ import annotations

import dataclasses
import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_study import make_study

from tune_seeds import SeedResults
from tune_seeds.cli.main import main
from tune_seeds.core.rungs import Rung
from tune_seeds.race.race import Confirm
from tune_seeds.statistics.shown import Shown

SEEDS = (47, 881, 123456789)
LADDER = (Rung(1, 1), Rung(3, 1), Rung(9, 1), Rung(9, 3))
CONFIGS = [{"lr": round(0.01 * k, 2), "<b>": k % 2} for k in range(1, 13)]


def curve(config: dict[str, Any], seed: int, epoch: int) -> float:
    """Rises from 0.1 to about 0.9, a little higher with a higher lr."""
    noise = np.random.default_rng([seed % 1000, round(100 * config["lr"])]).normal()
    return 0.1 + (0.5 + 2 * config["lr"] + 0.02 * noise) * (1 - 2.0**-epoch)


def falls(config: dict[str, Any], seed: int, epoch: int) -> float | Exception:
    """As ``curve``, but one config does nothing on one seed, and one diverges."""
    if config["lr"] == 0.12 and seed == 881:
        return 0.1
    if config["lr"] == 0.11 and epoch == 3:
        return math.nan
    return curve(config, seed, epoch)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> SeedResults:
    path = tmp_path_factory.mktemp("plain") / "s"
    made = make_study(path, CONFIGS, curve, rungs=LADDER, confirm=Confirm((5, 6), 2))
    return SeedResults(made)


@pytest.fixture(scope="module")
def fallen(tmp_path_factory: pytest.TempPathFactory) -> SeedResults:
    path = tmp_path_factory.mktemp("fallen") / "s"
    return SeedResults(make_study(path, CONFIGS, falls, rungs=LADDER))


class TestCollapse:
    def test_none_is_counted_and_nothing_said_where_none_is(self, plain: SeedResults) -> None:
        assert plain.collapse is not None
        assert plain.collapse.study.count == 0 and plain.collapse.study.n >= 12
        assert "doing nothing" not in str(plain) + str(plain.best) + plain.explain()

    @pytest.mark.slow
    def test_runs_that_did_nothing_or_diverged_are(self, fallen: SeedResults) -> None:
        found = fallen.collapse
        assert found is not None
        assert set(found.runs) == {("g0012", 881), ("g0011", 47)} and found.diverged == 1
        assert found.study.count == 2 and found.level < 0.45
        assert found.study.interval.low > 0 and found.study.estimate in found.study.interval
        for text in (str(fallen), str(fallen.best), fallen.explain(), fallen.to_json()):
            assert "doing nothing" in text
        assert "in simulated studies" in str(fallen.best), "the interval says what that does to it"

    def test_it_is_of_the_config_too(self, fallen: SeedResults) -> None:
        own = fallen.group("g0012").collapse
        assert own is not None
        assert (own.best.count, own.best.n) == (1, 3)

    def test_a_config_that_is_stopped_where_it_does_nothing_tells_nothing_of_seeds(
        self, tmp_path: Path
    ) -> None:
        def slow(config: dict[str, Any], seed: int, epoch: int) -> float:
            return 0.1 if config["lr"] < 0.04 else curve(config, seed, epoch)

        found = SeedResults(make_study(tmp_path / "s", CONFIGS, slow, rungs=LADDER))
        assert found.collapse is not None and found.collapse.study.count == 1
        assert "collapsed" not in str(found.best.interval.caveat)
        assert "doing nothing" in str(found), "it is counted all the same"

    def test_the_direction_does_not_matter(self, tmp_path: Path, fallen: SeedResults) -> None:
        def turned(config: Any, seed: int, epoch: int) -> float | Exception:
            value = falls(config, seed, epoch)
            return -value if isinstance(value, float) else value

        made = make_study(tmp_path / "s", CONFIGS, turned, rungs=LADDER, mode="min")
        found, other = SeedResults(made).collapse, fallen.collapse
        assert found is not None and other is not None
        assert found.runs == other.runs and found.level == pytest.approx(-other.level)


class TestContenders:
    def test_among_the_finished_says_so(self, plain: SeedResults) -> None:
        found = plain.contenders()
        assert found.among == "finished" and "of the finished configs" in found.promise
        assert found.promise in str(found)
        assert "finished configs" in str(plain) or found.groups == (plain.best.group,)

    def test_among_all_holds_stopped_ones_and_leaves_out_hopeless_ones(
        self, plain: SeedResults
    ) -> None:
        found = plain.contenders(among="all")
        assert found.among == "all" and "stopped ones included" in found.promise
        assert found.n_compared == 12 and sum(found.probabilities.values()) == pytest.approx(1)
        assert plain.best.group in found.groups and f"{len(found.groups)} of 12" in str(found)
        assert len(plain.contenders(0.99, among="all").groups) >= len(found.groups)

    def test_where_nothing_shows_what_a_seed_does_none_is_excluded(self, tmp_path: Path) -> None:
        made = make_study(tmp_path / "s", CONFIGS, curve, seeds=(47,), rungs=(Rung(1, 1),))
        found = SeedResults(made).contenders(among="all")
        assert len(found.groups) == 12 and found.caveat is not None

    def test_wrong_arguments(self, plain: SeedResults) -> None:
        with pytest.raises(ValueError, match="among must be"):
            plain.contenders(among="some")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="give no rung"):
            plain.contenders(rung=LADDER[0], among="all")


class TestExplanation:
    def test_five_sentences_with_the_numbers_of_the_methods(self, plain: SeedResults) -> None:
        text, best = plain.explain(), plain.best
        assert text.count(". ") == 4 and text.endswith(".")
        for number in (best.score, best.estimate, *best.interval):
            assert f"{number:.5g}" in text
        assert best.group in text and "12 configs" in text and "by chance" in text
        assert f"{len(plain.contenders(among='all').groups)} configs may be the best" in text

    @pytest.mark.parametrize("seeds", [(47,), (47, 881)])
    def test_of_few_seeds(self, tmp_path: Path, seeds: tuple[int, ...]) -> None:
        rungs = (Rung(1, 1), Rung(3, len(seeds)))
        made = make_study(tmp_path / "s", CONFIGS, curve, seeds=seeds, rungs=rungs)
        text = SeedResults(made).explain()
        assert text.count(". ") == 4 and "nan" not in text

    def test_of_one_config_and_of_none(self, tmp_path: Path) -> None:
        one = SeedResults(make_study(tmp_path / "one", CONFIGS[:1], curve, rungs=LADDER))
        assert one.explain().count(". ") == 4 and "nan" not in one.explain()

        def fails(config: Any, seed: int, epoch: int) -> Exception:
            return RuntimeError("out of memory")

        none = SeedResults(make_study(tmp_path / "none", CONFIGS[:2], fails, rungs=LADDER))
        assert none.explain().startswith("No config has a score")

    def test_the_command_line_shows_it(
        self, plain: SeedResults, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["explain", plain.path]) == 0
        assert capsys.readouterr().out.strip() == plain.explain()

    def test_the_report_begins_with_it(self, plain: SeedResults, tmp_path: Path) -> None:
        page = plain.report(tmp_path / "r.html").read_text("utf-8")
        assert page.index("best, with a mean score of") < page.index("Ranking")


def _shown(results: SeedResults) -> dict[str, Any]:
    effect = results.seed_effect()
    return {
        "best": results.best,
        "group": results.group("g0001"),
        "contenders": results.contenders(),
        "among all": results.contenders(among="all"),
        "seed_effect": effect,
        "variance": effect.variance,
        "separation": effect.separation,
        "marginals": results.marginals(),
        "marginal": results.marginals()["lr"][0],
        "importances": results.importances(),
        "importance": results.importances().rows[0],
        "confirmation": results.confirmation,
        "confirmation statistics": getattr(results.confirmation, "statistics", None),
        "completeness": results.completeness,
        "collapse": results.collapse,
        "comparison": results.compare(results),
    }


class TestShown:
    @pytest.mark.slow
    def test_every_result_prints_itself_and_turns_into_a_table(self, plain: SeedResults) -> None:
        for name, item in _shown(plain).items():
            assert isinstance(item, Shown), name
            assert len(item.to_frame()) > 0, name
            for text in (str(item), repr(item)):
                assert text and f"{type(item).__name__}(" not in text, name
                assert "array(" not in text and "Interval(" not in text, name
            assert item._repr_html_().count("<table") == 1, name

    @pytest.mark.slow
    def test_html_is_escaped(self, plain: SeedResults) -> None:
        for name, item in _shown(plain).items():
            assert "<b>" not in item._repr_html_(), name

    def test_no_method_of_results_returns_a_wall_of_text(self, plain: SeedResults) -> None:
        """Every public member that gives a dataclass gives one that shows itself."""
        takes_nothing = []
        for name, member in inspect.getmembers(type(plain)):
            if name.startswith("_") or name in ("confirm", "header", "directory"):
                continue
            if isinstance(member, property) or hasattr(member, "attrname"):
                takes_nothing.append(getattr(plain, name))
            elif name in ("contenders", "seed_effect", "marginals", "importances"):
                takes_nothing.append(getattr(plain, name)())
        found = [item for item in takes_nothing if dataclasses.is_dataclass(item)]
        plain_ones = {type(item).__name__ for item in found if not isinstance(item, Shown)}
        assert plain_ones <= {"MetricRange", "Damage"} and len(found) > 4

    def test_results_are_a_table_themselves(self, plain: SeedResults) -> None:
        assert list(plain.to_frame()["group"]) == list(plain.groups["group"])


def test_marginals_and_importances_are_of_the_rung_where_most_meet(plain: SeedResults) -> None:
    tables = plain.marginals()
    assert sum(row.n_configs for row in tables["lr"]) == 12
    for rows in tables.values():
        assert all(math.isfinite(end) for row in rows for end in (*row.interval, *row.effect))
    for row in plain.importances().rows:
        assert math.isfinite(row.mean) and math.isfinite(row.interval.low)
