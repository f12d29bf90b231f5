"""Every way to write a path leads to the same place, wherever a path is taken."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_study import make_study
from ray import tune

from tune_seeds import SeedResults, SeedTuner
from tune_seeds.cli.main import main
from tune_seeds.core.ledger import RunKey
from tune_seeds.reproduce.verify import CannotVerifyError, verify
from tune_seeds.store.directory import full_location

#: How a folder of the home directory, which is also the current one, may be written.
SPELLINGS: dict[str, Callable[[Path], Any]] = {
    "absolute": str,
    "pathlib": lambda path: path,
    "relative": lambda path: os.path.relpath(path),
    "dotted": lambda path: f"./{os.path.relpath(path)}",
    "upwards": lambda path: f"../{path.parent.name}/{path.name}",
    "slash at the end": lambda path: f"{path}/",
    "relative with a slash": lambda path: f"{os.path.relpath(path)}/",
    "home": lambda path: f"~/{path.name}",
    "home with pathlib": lambda path: Path("~") / path.name,
    "uri": lambda path: f"file://{path}",
    "uri with a slash": lambda path: f"file://{path}/",
    "escaped uri": lambda path: path.as_uri(),
    "uri with a host": lambda path: f"file://localhost{path}",
    "uri in capitals": lambda path: f"FILE://{path}",
}


@pytest.fixture(params=list(SPELLINGS))
def spelled(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = tmp_path / "my home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    return home, SPELLINGS[request.param]


def test_a_storage_path(spelled: tuple[Path, Callable[[Path], Any]]):
    home, spell = spelled
    tuner = SeedTuner(
        lambda config: None,
        seeds=[1],
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(metric="m", mode="max"),
        run_config=tune.RunConfig(name="study", storage_path=spell(home / "my results")),
    )
    assert tuner.path == str(home / "my results" / "study")


def test_an_experiment(spelled: tuple[Path, Callable[[Path], Any]], capsys):
    home, spell = spelled
    path = make_study(home / "my study", [{"x": 1}], lambda config, seed, epoch: 1.0)
    given = spell(home / "my study")
    results = SeedResults(given)
    assert results.path == path and results.best.config == {"x": 1}
    assert not SeedTuner.can_restore(given)  # made without arguments
    with pytest.raises(FileNotFoundError, match="my study"):
        SeedTuner.restore(given, lambda config: None)
    with pytest.raises(FileNotFoundError, match=r"my study/trainable.pkl"):
        SeedTuner.confirm(given, [5])
    with pytest.raises(CannotVerifyError, match="the trainable was not kept"):
        verify(given, RunKey("g0001", 47))
    for command in (["show"], ["best"]):
        assert main([*command, str(given)]) == 0, capsys.readouterr().err
    assert main(["verify", str(given)]) != 0
    assert "the trainable was not kept" in capsys.readouterr().err
    assert main(["report", str(given), "-o", "out.md"]) == 0
    assert (home / "out.md").exists()


def test_a_storage_that_is_listed(spelled: tuple[Path, Callable[[Path], Any]], capsys):
    home, spell = spelled
    make_study(home / "all of them" / "one", [{"x": 1}], lambda config, seed, epoch: 1.0)
    assert main(["list", str(spell(home / "all of them"))]) == 0
    assert "one" in capsys.readouterr().out


def test_a_report(spelled: tuple[Path, Callable[[Path], Any]], tmp_path: Path):
    home, spell = spelled
    path = make_study(tmp_path / "study", [{"x": 1}], lambda config, seed, epoch: 1.0)
    given = spell(home / "my report.md")
    if str(given).endswith("/"):
        return
    assert SeedResults(path).report(given) == home / "my report.md"
    assert (home / "my report.md").read_text()


def test_a_report_on_a_bucket_is_refused(tmp_path: Path):
    path = make_study(tmp_path, [{"x": 1}], lambda config, seed, epoch: 1.0)
    with pytest.raises(ValueError, match="local file"):
        SeedResults(path).report("s3://bucket/report.html")


def test_other_uris_stay_as_they_are():
    assert full_location("s3://bucket/a b?x=1") == "s3://bucket/a b?x=1"
