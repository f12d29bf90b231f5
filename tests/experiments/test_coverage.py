"""The small form of the coverage benchmark: whole studies, raced and judged."""

from pathlib import Path

import pytest
from benchmarks.coverage import Cell, main, study
from monte_carlo import slack


def test_the_answer_of_whole_studies_is_covered_and_hardly_flattered() -> None:
    """Equal configs: whatever the best of them is ahead is luck."""
    cell = Cell(n_seeds=5, spread="equal", policy="all", n_configs=15)
    found = [study(cell, repeat) for repeat in range(25)]
    inside = sum(one.inside for one in found) / len(found)
    assert inside >= 0.95 - slack(0.95, len(found))
    flattery, left = sum(one.flattery for one in found), sum(one.left for one in found)
    assert abs(left) < 2 / 3 * flattery


def test_near_an_end_of_its_range_too() -> None:
    found = [study(Cell(kind="bounded", n_configs=15), repeat) for repeat in range(15)]
    inside, of_seeds = (
        sum(part) for part in zip(*((o.inside, o.t_inside) for o in found), strict=True)
    )
    assert inside >= 12 > of_seeds, "the negative control: the t interval of its seeds"


def test_a_run_that_was_stopped_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "coverage.jsonl"
    arguments = ["--cells", "1", "--file", str(file)]
    main([*arguments, "--studies", "1"])
    first = file.read_text()
    main([*arguments, "--studies", "2"])
    assert file.read_text().startswith(first) and len(file.read_text().splitlines()) == 2
    main([*arguments, "--studies", "2"])
    assert len(file.read_text().splitlines()) == 2
    assert "adaptive K=3" in capsys.readouterr().out
