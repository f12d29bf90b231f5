"""The small form of the checklist: what is held fixed does not move."""

from __future__ import annotations

import pytest
import sources_of_randomness as script


def test_a_seed_feeds_the_stream_that_varies_and_no_other():
    assert script.stream("init", "init", 7) == 7 and script.stream("order", "init", 7) == 0
    assert script.stream("order", script.EVERYTHING, 7) == 7
    assert all(script.stream(source, script.NOTHING, 7) == 0 for source in script.SOURCES)
    assert script.stream("evaluation", script.EVERYTHING, 7) == 0


@pytest.mark.usefixtures("ray_session")
def test_nothing_varies_where_nothing_is_varied(storage: str, capsys: pytest.CaptureFixture[str]):
    arguments = ["--epochs", "1", "--num-seeds", "2", "--train-size", "128"]
    results = script.main([*arguments, "--storage-path", storage])
    scores = results.get_dataframe().groupby("config/vary")["val_loss"].nunique()
    assert scores[script.NOTHING] == 1
    assert all(scores[source] == 2 for source in (*script.SOURCES, script.EVERYTHING))
    assert f"the seeds: {results.seeds[0]}" in capsys.readouterr().out
