"""The small form of the two tutorials: what came out the same twice, and what the audit says."""

from __future__ import annotations

import pytest
import reproducible_training as script

from tune_seeds import Cause, Stage

SMALL = ["--steps", "20", "--epochs", "1", "--train-size", "40", "--report-every", "5"]


@pytest.mark.usefixtures("ray_session")
def test_the_line_is_the_same_twice_where_it_is_seeded(
    storage: str, capsys: pytest.CaptureFixture[str]
):
    equal, reports = script.main([*SMALL, "--storage-path", storage, "--forms"])
    assert not reports
    assert equal == {
        "line fit, unseeded": False,
        "line fit, seeded": True,
        "line fit, in a study": True,
    }
    shown = capsys.readouterr().out
    assert "not the same" in shown and "identical, 1 metrics over 10 epochs" in shown


def test_the_audit_names_the_generator_that_no_seed_reaches():
    args = script.parser().parse_args(SMALL)
    form = script.FORMS["forgotten generator"]
    found = script.audited(form, form.data["digits"], args).findings[0]
    assert (found.cause, found.stage) == (Cause.UNSEEDED, Stage.BATCH_CONTENT)
    assert "default_rng" in found.why and "reproducible_training.py" in found.why


@pytest.mark.parametrize("name", script.FORMS)
def test_each_form_of_the_net(name: str):
    args = script.parser().parse_args([*SMALL, "--seed", "1"])
    form = script.FORMS[name]
    first, second = (script.train_net(form, form.data["digits"], args) for _ in range(2))
    assert first.keys() == {"step 5", "step 10", "val_loss", "val_acc"}
    assert (first == second) == (name == "seeded")
