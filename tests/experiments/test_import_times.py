from __future__ import annotations

import pytest
from benchmarks import imports


def test_it_measures_every_command_and_shows_ratios(capsys: pytest.CaptureFixture[str]):
    found = imports.main(["--repeats", "1"])
    assert found.keys() == imports.COMMANDS.keys() and all(min(pair) > 0 for pair in found.values())
    shown = capsys.readouterr().out.splitlines()
    assert [line[:36].strip() for line in shown[1:]] == list(imports.COMMANDS)
    assert shown[2].split()[-1] == "1.00", "NumPy with pandas is what it is compared to"
