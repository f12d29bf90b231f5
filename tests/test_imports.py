"""What is loaded when: reading results needs neither Ray nor torch, whose imports take seconds."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_study import make_study

import tune_seeds
from tune_seeds import testing

HEAVY = ("ray", "torch", "lightning", "pytorch_lightning")


def loaded_after(code: str) -> set[str]:
    """Those of the heavy packages that a fresh process has loaded after some code."""
    report = f"import json, sys\nprint(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "exp"
    configs: list[dict[str, Any]] = [{"x": k} for k in range(3)]
    make_study(path, configs, lambda config, seed, epoch: config["x"] + seed % 7 / 10)
    return path


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import tune_seeds, sys\nassert 'numpy' not in sys.modules and 'pandas' not in sys.modules"
    )
    assert loaded_after(code) == set()


def test_a_process_that_trains_a_plain_function_loads_neither_lightning_nor_torchs_compiler():
    code = """
import sys
from tune_seeds.training.seeding import reset_process, seed_run
reset_process(1)
seed_run(1)
assert "sympy" not in sys.modules and "torch._dynamo" not in sys.modules
"""
    assert loaded_after(code) == {"torch"}


def test_results_are_read_without_ray_and_torch(experiment: Path):
    code = f"""
from tune_seeds import SeedResults
results = SeedResults({str(experiment)!r})
print(results, results.best, results.groups, results.runs, results.to_json())
results.contenders(), results.seed_effect(), results.marginals(), results.plot
import sys
assert "plotly" not in sys.modules
"""
    assert loaded_after(code) == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "{parent}"],
        ["show", "{path}"],
        ["best", "{path}"],
        ["report", "{path}", "-o", "{out}"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_that_read_load_neither_ray_nor_torch(
    arguments: list[str], experiment: Path, tmp_path: Path
):
    places = {"parent": experiment.parent, "path": experiment, "out": tmp_path / "report.html"}
    told = [argument.format(**places) for argument in arguments]
    code = f"from tune_seeds.cli.main import main\nassert main({told!r}) == 0"
    if told[0] != "report":
        code += "\nimport sys\nassert 'plotly' not in sys.modules"
    assert loaded_after(code) == set()


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_help_loads_nothing_heavy(option: str):
    code = f"""
from tune_seeds.cli.main import main
try:
    main([{option!r}])
except SystemExit as end:
    assert end.code == 0
import sys
assert "pandas" not in sys.modules
"""
    assert loaded_after(code) == set()


def test_every_public_name_is_there_and_documented():
    for name in tune_seeds.__all__:
        value = getattr(tune_seeds, name)
        assert value.__doc__, f"{name} has no docstring"
        assert name in dir(tune_seeds)
    with pytest.raises(AttributeError, match="no attribute 'SeedTunr'"):
        _ = tune_seeds.SeedTunr


def test_every_error_of_the_package_is_public():
    """Any of them may reach a user, who can only catch what can be imported."""
    # Caught by their own callers.
    inner = {"Stopped", "ProcessFailedError", "NotResumedError", "UnpicklableError"}
    root = Path(tune_seeds.__file__).parent
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        if "_compat" in parts or parts[-1] == "__init__":
            continue
        module = importlib.import_module(".".join(("tune_seeds", *parts)))
        for name, value in vars(module).items():
            if not isinstance(value, type) or not issubclass(value, BaseException):
                continue
            own = value.__module__ == module.__name__ and not name.startswith("_")
            if own and name not in inner:
                assert name in {*tune_seeds.__all__, *testing.__all__}, (
                    f"{value.__module__}.{name} is not exported"
                )
