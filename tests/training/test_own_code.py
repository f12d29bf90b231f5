"""Modules beside a script are found in a process that knows nothing of that script."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tune_seeds.training.own_code import OwnCode, WithCode

SCRIPT = """
import pickle, sys, cloudpickle
import helpers
from package import model
from tune_seeds.training.own_code import OwnCode, WithCode

def here(x):
    import later  # not imported when the function is pickled
    return later.three() * helpers.double(x)

code = OwnCode.of_this_process()
functions = {
    "of main": here,
    "of a module": helpers.double,
    "of a package": model.Net().forward,
    "partly": lambda x: model.Net().forward(helpers.double(x)),
}
packed = {name: cloudpickle.dumps(WithCode(f, code)) for name, f in functions.items()}
with open(sys.argv[1], "wb") as stream:
    pickle.dump(packed, stream)
"""

WORKER = """
import pickle, sys
with open(sys.argv[1], "rb") as stream:
    packed = pickle.load(stream)
for name, data in packed.items():
    print(name, pickle.loads(data)(2))
import helpers
print(pickle.loads(pickle.dumps(helpers.Setting(5))).value)
print(helpers.__file__)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"
    (folder / "package" / "deep").mkdir(parents=True)
    (folder / "helpers.py").write_text(
        "def double(x):\n    return 2 * x\n\n\nclass Setting:\n"
        "    def __init__(self, value):\n        self.value = value\n"
    )
    (folder / "later.py").write_text("def three():\n    return 3\n")
    (folder / "package" / "__init__.py").touch()
    (folder / "package" / "model.py").write_text(
        "class Net:\n    def forward(self, x):\n"
        "        from .deep.layers import add\n        return add(x)\n"
    )
    (folder / "package" / "deep" / "layers.py").write_text("def add(x):\n    return x + 1\n")
    (folder / "script.py").write_text(SCRIPT)
    return folder


def run(code: list[str], cwd: Path, temporary: Path) -> str:
    root = str(Path(__file__).parents[2])
    temporary.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": root, "TMPDIR": str(temporary)}
    done = subprocess.run(
        [sys.executable, *code], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("on_this_machine", [True, False, "older"])
def test_a_process_elsewhere_finds_the_modules_of_a_script(
    project: Path, tmp_path: Path, on_this_machine: bool | str
):
    packed, other, temporary = tmp_path / "packed", tmp_path / "other", tmp_path / "temporary"
    other.mkdir()
    run([str(project / "script.py"), str(packed)], other, temporary)
    if on_this_machine == "older":
        (project / "helpers.py").write_text("def double(x):\n    return 0 * x\n")
    elif not on_this_machine:
        project.rename(tmp_path / "gone")
    lines = run(["-c", WORKER, str(packed)], other, temporary).splitlines()
    assert lines[:-1] == [
        "of main 12",
        "of a module 4",
        "of a package 3",
        "partly 5",
        "5",
    ]
    copies = list(temporary.glob("tune_seeds-code-*"))
    if on_this_machine is True:
        assert lines[-1] == str(project / "helpers.py") and not copies
    else:
        assert Path(lines[-1]).parent == copies[0] and len(copies) == 1
        again = run(["-c", WORKER, str(packed)], other, temporary).splitlines()
        assert again == lines, "copies are made once for each machine"
        Path(lines[-1]).write_text("def double(x):\n    return 0 * x\n")
        assert "of main 12" in run(["-c", WORKER, str(packed)], other, temporary)


def test_what_is_installed_is_not_sent():
    files = [name for _, files in OwnCode.of_this_process().folders for name, _ in files]
    assert files and all(name.endswith(".py") for name in files)
    roots = {name.partition("/")[0] for name in files}
    assert not roots & {"torch", "ray", "numpy", "json", "tune_seeds", "site-packages"}
    assert "test_own_code.py" in roots, "it was imported, and no distribution has it"


def test_a_callable_goes_through_without_code():
    assert WithCode(len, OwnCode())([1, 2]) == 2


def test_too_much_beside_a_script_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "gone.py").symlink_to(tmp_path / "nowhere")
    for number in range(2100):
        (tmp_path / f"m{number}.py").touch()
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(tmp_path / "m0.py"))
    n = sum(len(files) for _, files in OwnCode.of_this_process().folders)
    assert n <= 2000 and "they are not sent to the workers" in caplog.text
    for number in range(1900):
        (tmp_path / f"m{number + 1}.py").unlink()
    found = dict(OwnCode.of_this_process().folders)[str(tmp_path)]
    assert "package/__init__.py" in dict(found) and "package/gone.py" not in dict(found)
