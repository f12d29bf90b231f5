from __future__ import annotations

import pytest
from benchmarks import retelling


@pytest.mark.parametrize("searcher", ["hyperopt", "optuna"])
def test_every_way_of_telling_answers_at_each_budget(
    monkeypatch: pytest.MonkeyPatch, searcher: str
):
    monkeypatch.setattr(retelling, "BUDGETS", (1, 3))
    for policy in ("adaptive", "ladder"):
        found = retelling.cell(("sinking", None, policy, searcher, 0))
        assert found.keys() == retelling.TOLD.keys()
        assert all(len(regret) == 2 and max(regret) <= 100 for regret in found.values())
        assert found == retelling.cell(("sinking", None, policy, searcher, 0)), "it is reproducible"
