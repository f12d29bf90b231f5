from __future__ import annotations

import pytest
from benchmarks import width


def test_it_prints_a_row_for_each_policy_and_number_of_slots(capsys: pytest.CaptureFixture[str]):
    width.main(["--slots", "1", "3", "--patience", "0.5", "--repeats", "2", "--configs", "6"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    names = [(row[0], row[1]) for row in rows]
    one = ["ladder", "patience", "ASHA", "ASHA", "SH", "seed", "Repeater"]
    assert names == [(slots, name) for slots in ("1", "3") for name in one]
    # The same study on three slots takes fewer hours than on one.
    assert float(rows[7][3]) < float(rows[0][3])
