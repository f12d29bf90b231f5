"""The small form of the sweep over optimizers, learning rates and seeds."""

from __future__ import annotations

import fixed_seed_sweep
import pytest
from seed_sentences import choice_sentences


@pytest.mark.usefixtures("ray_session")
def test_it_says_whether_the_choice_depends_on_the_seed(
    storage: str, capsys: pytest.CaptureFixture[str]
):
    arguments = ["--storage-path", storage, "--epochs", "1", "--train-size", "64"]
    results = fixed_seed_sweep.main([*arguments, "--seeds", "47", "881", "--rates", "0.1", "0.01"])
    assert len(results) == 4 and results.seeds == (47, 881)
    assert {"val_loss", "val_acc"} <= set(results.get_dataframe().columns)
    shown = capsys.readouterr().out
    for sentence in choice_sentences(results)[:3]:
        assert sentence.startswith("the choice of ") and sentence in shown
    assert "depend" in shown and "accuracy" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data-dir", "somewhere"], "digits need no files"),
        (["--dataset", "cifar10", "--data-dir", "nowhere"], "lacks data_batch_1"),
        (["--train-size", "5000"], "exceed"),
    ],
)
def test_images_that_are_not_there_end_it_before_anything_runs(arguments: list[str], message: str):
    with pytest.raises(SystemExit, match=message):
        fixed_seed_sweep.main(arguments)


def test_aim_is_asked_for_only_where_it_is_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fixed_seed_sweep, "installed", lambda package: False)
    with pytest.raises(SystemExit, match="pip install aim"):
        fixed_seed_sweep.main(["--aim", "somewhere"])
