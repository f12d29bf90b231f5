from __future__ import annotations

import pytest
from benchmarks import exactness
from benchmarks.exact_reports import REPORTS

#: What can't be carried, by the name that the run says it under.
SAID = {"parametrizations that come and go": "model.net.5"}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", REPORTS)
def test_torn_down_and_resumed_at_every_epoch(name: str, tmp_path):
    verdict = exactness.resumed(name, str(tmp_path))
    if name in SAID:
        assert verdict.startswith(f"said, trained from its beginning: {SAID[name]}")
    else:
        assert verdict == "identical"
