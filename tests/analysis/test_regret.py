"""Hand-computed: who led at each rung, after how many epochs, and how far behind the best."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_study import make_study

from tune_seeds import NothingToCompareError, SeedResults
from tune_seeds.analysis.regret import Lead, leads
from tune_seeds.core.rungs import Rung
from tune_seeds.race.race import Confirm


@pytest.mark.parametrize(("mode", "sign"), [("max", 1), ("min", -1)])
def test_leads_of_each_rung(tmp_path: Path, mode: str, sign: int):
    configs = [{"x": x} for x in (0.25, 0.5, 0.375, 1.0)]
    path = make_study(
        tmp_path / "study",
        configs,
        lambda config, seed, epoch: sign * config["x"] * epoch,
        seeds=(7, 8),
        rungs=(Rung(1, 1), Rung(2, 2)),
        mode=mode,
        n_finalists=1,
        confirm=Confirm((5,), 1),
    )
    results = SeedResults(path)
    found, trained = leads(results)
    # One run after the other: after a third of the configs the best one goes on, for 3 epochs.
    assert trained == sum(run.last_epoch for key, run in results.ledger.items() if key.seed != 5)
    low = found[Rung(1, 1)]
    assert [(lead.group, lead.score, lead.regret) for lead in low] == [
        ("g0001", sign * 0.25, 0.75),
        ("g0002", sign * 0.5, 0.5),
        ("g0004", sign * 1.0, 0.0),
    ]
    assert low[0].trained == 1 and low[1].trained == 2
    top = found[Rung(2, 2)]
    assert top[-1] == Lead(trained, "g0004", sign * 2.0, 0.0)
    assert list(found) == [Rung(1, 1), Rung(2, 2)]


def test_without_a_score_or_a_journal_there_is_none(tmp_path: Path):
    failed = make_study(tmp_path / "failed", [{"x": 1}], lambda c, s, e: RuntimeError("no"))
    with pytest.raises(NothingToCompareError, match="no config has a score"):
        leads(SeedResults(failed))
    results = SeedResults(make_study(tmp_path / "moved", [{"x": 1}], lambda c, s, e: 1.0))
    (tmp_path / "moved").rename(tmp_path / "elsewhere")
    with pytest.raises(NothingToCompareError, match="no longer in"):
        leads(results)
