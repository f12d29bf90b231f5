from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks import live
from ray import cloudpickle


@pytest.mark.usefixtures("ray_session")
def test_every_method_stops_at_the_budget_and_is_judged_on_fresh_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(live, "EPOCHS", 3)
    monkeypatch.setattr(live, "FRESH", (1, 2))
    # Workers can't import the benchmarks by name.
    cloudpickle.register_pickle_by_value(live)
    cache = tmp_path / "live.jsonl"
    arguments = ["--cache", str(cache), "--repeats", "1", "--epochs-budget", "15"]
    try:
        live.main(arguments)
    finally:
        cloudpickle.unregister_pickle_by_value(live)
    records = [json.loads(line) for line in cache.read_text().splitlines()]
    assert [record["method"] for record in records] == list(live.METHODS)
    for record in records:
        assert 15 <= record["epochs"] <= 15 + 4, "what was under way may still report"
        assert record["fresh"] == live.fresh_scores(record["config"])
    before = cache.read_bytes()
    live.main(arguments)
    assert cache.read_bytes() == before, "what is in the cache is not run again"
    shown = capsys.readouterr().out
    for method in live.METHODS:
        assert f"\n{method} " in shown


def test_a_budget_below_one_full_config_is_refused(tmp_path: Path):
    with pytest.raises(SystemExit):
        live.main(["--cache", str(tmp_path / "c"), "--epochs-budget", "5"])
