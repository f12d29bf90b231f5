from __future__ import annotations

import pytest
from benchmarks import exactness
from benchmarks.exact_states import STATES

SAID = {"a Python generator": "model.numbers"}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", STATES)
def test_torn_down_and_resumed_at_every_epoch(name: str, tmp_path, caplog):
    verdict = exactness.resumed(name, str(tmp_path))
    if name not in SAID:
        assert verdict == "identical"
        return
    assert verdict.startswith("said")
    assert SAID[name] in verdict
    assert any("can't be paused" in record.message for record in caplog.records)
