from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_study import make_study
from scipy import stats

from tune_seeds import NothingToCompareError, SeedResults
from tune_seeds.cli.main import main
from tune_seeds.core.rungs import Rung
from tune_seeds.race.race import Confirm

NOISE = {47: 0.1, 881: -0.2, 123456789: 0.4, 5: 0.0, 6: 0.3}


def made(path: Path, shift: float, space: Any = None, **kwargs: Any) -> SeedResults:
    def train(config, seed, epoch):
        return config["x"] + NOISE.get(seed, 0.0) + shift * (1 + (seed % 10) / 10)

    made_path = make_study(path, [{"x": 1.0}, {"x": 2.0}], train, **kwargs)
    header = json.loads((path / "study.json").read_text())
    (path / "study.json").write_text(json.dumps({**header, "param_space": space or {}}))
    return SeedResults(made_path)


def test_the_difference_is_paired(tmp_path, capsys):
    a = made(tmp_path / "a", 0.0, {"x": "uniform in (0, 1)", "y": 1})
    b = made(tmp_path / "b", 0.1, {"x": "uniform in (0, 2)", "z": 2})
    found = a.compare(b)
    differences = np.array([one - other for one, other in found.scores.values()])
    reference = stats.t.interval(0.95, 2, differences.mean(), stats.sem(differences))
    assert found.difference == pytest.approx(differences.mean())
    assert tuple(found.interval) == pytest.approx(reference, rel=0.05)
    assert found.wins.wins == 0 and found.wins.n == 3
    assert found.space == {
        "x": ("uniform in (0, 1)", "uniform in (0, 2)"),
        "y": (1, None),
        "z": (None, 2),
    }
    assert not found.fresh and "chosen on these very seeds" in found.caveats[0]
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert capsys.readouterr().out.strip() == str(found)
    turned = b.compare(a)
    assert turned.difference == -found.difference
    assert tuple(turned.interval) == tuple(-end for end in reversed(list(found.interval)))


def test_min_turns_nothing_but_who_wins(tmp_path):
    a = made(tmp_path / "a", 0.0, mode="min")
    found = a.compare(made(tmp_path / "b", 0.1, mode="min"))
    assert found.difference < 0 and found.wins.wins == 3
    assert found.interval.low < found.difference < found.interval.high


def test_fresh_seeds_of_both_are_preferred(tmp_path):
    a = made(tmp_path / "a", 0.0, confirm=Confirm((5, 6), 1))
    found = a.compare(made(tmp_path / "b", 0.1, confirm=Confirm((5, 6), 1)))
    assert found.fresh and set(found.scores) == {5, 6}
    assert not any("chosen" in caveat for caveat in found.caveats)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"mode": "min"}, ValueError, "can't be compared"),
        ({"seeds": (1, 2)}, NothingToCompareError, "share no seed"),
        ({"rungs": (Rung(2, 3),)}, NothingToCompareError, "at equal ones"),
    ],
)
def test_what_can_not_be_compared_is_said(tmp_path, capsys, kwargs, error, message):
    a, b = made(tmp_path / "a", 0.0), made(tmp_path / "b", 0.0, **kwargs)
    with pytest.raises(error, match=message):
        a.compare(b)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert capsys.readouterr().err.startswith("tune-seeds: ")


def test_seeds_in_common_are_enough(tmp_path):
    a, b = made(tmp_path / "a", 0.0), made(tmp_path / "b", 0.1, seeds=(881, 47, 9))
    found = a.compare(b)
    assert set(found.scores) == {47, 881} and "seeds" in found.settings
