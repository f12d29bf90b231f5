from __future__ import annotations

import dataclasses
import io
import logging
import math
import os
import re
from collections import deque
from types import SimpleNamespace

import pytest
from benchmarks.made_up import MadeUp, steps
from rich.console import Console

from tune_seeds.analysis.cost import planned_epochs, trained_epochs
from tune_seeds.core.ledger import Ledger
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import TO_THE_END, Rung
from tune_seeds.engine.quiet_ray import quiet_ray
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.race import Race
from tune_seeds.statistics.aggregate import get_aggregate
from tune_seeds.views.terminal import Progress, clock, resume_advice

MADE = MadeUp(
    [{"x": k, "note": "</script>[bold]" + "z" * 500} for k in range(12)],
    fails=frozenset({(11, 47)}),
    quality=lambda config: 0.1 + 0.05 * config["x"],
)


def shown(made, path, *, terminal: bool, width: int = 100, height: int = 30):
    """What stands on the screen after each step, and everything that was written."""
    screens: list[str] = []
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=width, height=height)
    progress = None
    for n, study in enumerate(steps(path, made)):
        if progress is None:
            progress = Progress(study, len(made.configs), reduction_factor=3, console=console)
            progress.setup()
        progress.on_step_end(n, [])
        plain = Console(width=width, height=height, file=io.StringIO(), color_system=None)
        plain.print(progress.render())
        screens.append(plain.file.getvalue())
    progress.on_experiment_end([])
    return screens, written.getvalue(), study


@pytest.fixture(scope="module")
def screens(tmp_path_factory):
    return shown(MADE, tmp_path_factory.mktemp("progress") / "study", terminal=True)


@pytest.mark.slow
def test_one_row_per_group_best_first_and_never_higher_than_the_screen(screens):
    last = screens[0][-1].splitlines()
    assert last[0].split()[:3] == ["config", "rung", "seeds"]
    assert [line.split()[0] for line in last[1:13]][:3] == ["g0011", "g0010", "g0009"]
    assert "complete" in last[1] and "3/3" in last[1] and "±" in last[1]
    assert last[12].split()[0] == "g0012" and "failed" in last[12]
    assert all(len(screen.splitlines()) <= 30 for screen in screens[0])


def test_the_states_of_groups_are_told_while_they_run(screens):
    middle = screens[0][len(screens[0]) // 2]
    assert "running" in middle and "waiting" in middle
    assert "stopped" not in middle
    assert "stopped" in screens[0][-1] and "waiting" not in screens[0][-1]


def test_markup_in_a_config_is_shown_as_it_stands(screens):
    assert "x=10 note=</script…" in screens[0][-1]


def test_a_terminal_is_updated_in_place(screens):
    assert "\x1b[1A" in screens[1] or "\x1b[2K" in screens[1]
    assert screens[1].count("g0011 scored") <= 8


@pytest.mark.slow
def test_elsewhere_it_is_plain_lines_one_for_each_score_and_failure(tmp_path):
    _, text, study = shown(MADE, tmp_path / "study", terminal=False)
    assert "\x1b" not in text
    lines = text.splitlines()
    n_scores = sum(len(group.scores) for group in study.race.groups.values())
    # The first score was there before it began.
    assert sum(" scored " in line for line in lines) == n_scores - 1
    assert len(lines) == n_scores
    assert any("g0012 failed, seed 47: RuntimeError: a made-up failure" in line for line in lines)
    assert max(map(len, lines)) < 250


@pytest.mark.slow
def test_a_small_screen_shows_the_best_and_counts_the_rest(tmp_path):
    made = MadeUp([{"x": k} for k in range(40)])
    screens, _, _ = shown(made, tmp_path / "study", terminal=True, height=14, width=60)
    assert all(len(screen.splitlines()) <= 14 for screen in screens)
    assert "… and 34 more" in screens[-1]


@pytest.mark.parametrize("seeds_per_rung", ["adaptive", "ladder"])
def test_the_plan_is_near_from_the_beginning_and_never_below_what_was_trained(
    tmp_path, seeds_per_rung
):
    made = MadeUp(
        [{"x": k * 7 % 30} for k in range(30)],
        quality=lambda c: 0.1 + c["x"] / 40,
        seeds_per_rung=seeds_per_rung,
    )
    plans = []
    for study in steps(tmp_path / "study", made):
        planned = planned_epochs(study.race, 30, 3, 3)
        assert planned is not None
        assert planned >= trained_epochs(study.race)
        plans.append(planned)
    # 30 configs train 1 epoch, 10 go on for 2, 10/3 for 6, the 3 finalists 2 seeds of 9.
    assert plans[0] == round(30 + 10 * 2 + 10 / 3 * 6 + 3 * 18)
    assert plans[0] == pytest.approx(trained_epochs(study.race), rel=0.35)


@pytest.mark.slow
def test_a_confirmation_is_planned_and_told(tmp_path):
    made = dataclasses.replace(MADE, confirm_seeds=(1, 2, 3))
    screens, text, study = shown(made, tmp_path / "study", terminal=False)
    assert planned_epochs(study.race, 12, 3, 3, 6) >= trained_epochs(study.race) + 2 * 3 * 9
    assert sum("on 3 fresh seeds" in line for line in text.splitlines()) == 2
    assert "waiting" not in screens[-2]


def test_where_nobody_knows_the_end_none_is_guessed(tmp_path):
    """Plain functions without a scheduler end by themselves; a time budget still bounds them."""
    study = next(steps(tmp_path / "study", MadeUp([{"x": 1}, {"x": 2}])))
    policy = SuccessiveHalving([Rung(TO_THE_END, 3)])
    race = Race(Ledger([47, 881, 5], Metric("acc", "max")), policy, get_aggregate("mean"))
    race.add_group({"x": 1})
    assert planned_epochs(race, 12, 3, 3) is None
    line = _bar(Progress(SimpleNamespace(race=race), 12))
    assert "0:00 gone  1/12 configs, 0 epochs" in line and "left" not in line
    line = _bar(Progress(SimpleNamespace(race=race), 12, budget_s=3600))
    assert "of its time left" in line
    line = _bar(Progress(study, 2, reduction_factor=3, budget_s=3600.9))
    assert re.search(r"~(59:\d\d|1:00:00) left", line)


def test_a_notebook_gets_plain_lines(capsys, tmp_path):
    """Rich takes a notebook for a terminal, and would make HTML for it."""
    study = steps(tmp_path / "study", MADE)
    progress = Progress(next(study), 12, console=Console(force_jupyter=True))
    progress.setup()
    deque(study, maxlen=0)
    progress.on_experiment_end([])
    text = capsys.readouterr().out
    assert "g0011 scored" in text and "\x1b" not in text


def _bar(progress) -> str:
    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(progress.render())
    return console.file.getvalue()


def test_the_advice_is_the_line_to_type():
    assert "SeedTuner.restore('s3://bucket/study', trainable).fit()" in resume_advice(
        "s3://bucket/study"
    )


def test_rays_words_on_trials_are_kept_back_and_its_errors_are_not():
    logger = logging.getLogger("ray.tune.tune")
    left_out = logging.makeLogRecord({"msg": "Trials did not complete: %s"})
    with quiet_ray(0):
        assert not logger.isEnabledFor(logging.WARNING)
        assert not logger.filter(left_out)
        assert logger.filter(
            logging.makeLogRecord({"msg": "Experiment state snapshotting failed:"})
        )
        assert os.environ["RAY_AIR_NEW_OUTPUT"] == "0"
    assert "RAY_AIR_NEW_OUTPUT" not in os.environ
    assert logger.filter(left_out)
    with quiet_ray(1):
        assert logger.filter(left_out)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (61.9, "1:01"), (3600, "1:00:00"), (360000, "100:00:00")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text
    assert not math.isnan(seconds)
