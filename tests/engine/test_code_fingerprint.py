"""A trainable's fingerprint tells changed code from code that only looks different."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from ray import tune
from torch.utils.data import DataLoader, TensorDataset

from tune_seeds import LightningTrainer
from tune_seeds.engine.code_fingerprint import differences, fingerprint
from tune_seeds.training.function import from_function

BASE = '''
import math
import helpers
from helpers import scale

WIDTH = 4
TABLE = {"a": [1, 2]}

class Base:
    depth = 2
    def block(self):
        return math.sqrt(self.depth)

class Model(Base):
    """Documented."""

    rate = 0.1

    @staticmethod
    def start():
        return WIDTH

    @property
    def wide(self):
        return TABLE

    def forward(self, x, bias=1):
        # a comment
        return scale(x) + helpers.shift(x) + bias

def train(config):
    model = Model()
    return [model.forward(i) for i in range(3)]
'''
HELPERS = """
FACTOR = 2
def scale(x):
    return inner(x) * FACTOR
def inner(x):
    return x
def shift(x):
    return x + 1
def unused(x):
    return x
"""

SAME = {
    "a comment": ("# a comment", "# another"),
    "a docstring": ("Documented.", "Documented better."),
    "layout": ("    return [model.forward(i)", "    return [  model.forward(i)"),
    "what nothing names": ("def train(config):", "UNUSED = 3\ndef train(config):"),
}
OTHER = {
    "a method": ("+ bias", "- bias"),
    "a default": ("bias=1", "bias=2"),
    "a class attribute": ("rate = 0.1", "rate = 0.2"),
    "a base class": ("depth = 2", "depth = 3"),
    "a base's method": ("math.sqrt(self.depth)", "math.exp(self.depth)"),
    "a constant": ("WIDTH = 4", "WIDTH = 5"),
    "a constant's inside": ("[1, 2]", "[1, 3]"),
    "the function itself": ("range(3)", "range(4)"),
}
OTHER_HELPERS = {
    "a helper": ("inner(x) * FACTOR", "inner(x) / FACTOR"),
    "a helper's constant": ("FACTOR = 2", "FACTOR = 3"),
    "a helper's helper": ("def inner(x):\n    return x", "def inner(x):\n    return -x"),
    "what a module is asked for": ("x + 1", "x + 2"),
}


def digest(folder: Path, code: str, helpers: str = HELPERS) -> str:
    """Of ``train``, imported anew from a folder of its own."""
    folder.mkdir()
    (folder / "trained.py").write_text(code)
    (folder / "helpers.py").write_text(helpers)
    sys.path.insert(0, str(folder))
    try:
        for name in ("helpers", "trained"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        module = importlib.import_module("trained")
        return fingerprint(from_function(module.train, "t"))["function"]
    finally:
        sys.path.remove(str(folder))
        for name in ("helpers", "trained"):
            sys.modules.pop(name, None)


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_what_changes_nothing_is_no_change(tmp_path: Path, change):
    assert digest(tmp_path / "a", BASE) == digest(tmp_path / "b", BASE.replace(*change))


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_changed_code_is_noticed(tmp_path: Path, change):
    assert change[0] in BASE
    assert digest(tmp_path / "a", BASE) != digest(tmp_path / "b", BASE.replace(*change))


@pytest.mark.parametrize("change", OTHER_HELPERS.values(), ids=OTHER_HELPERS)
def test_changed_code_of_another_module_is_noticed(tmp_path: Path, change):
    assert change[0] in HELPERS
    other = HELPERS.replace(*change)
    assert digest(tmp_path / "a", BASE) != digest(tmp_path / "b", BASE, other)
    unused = HELPERS.replace("def unused(x):\n    return x", "def unused(x):\n    return 2")
    assert digest(tmp_path / "c", BASE) == digest(tmp_path / "d", BASE, unused)


@pytest.mark.slow
def test_another_process_and_the_name_main_make_no_difference(tmp_path: Path):
    here = digest(tmp_path / "a", BASE)
    script = BASE + (
        "\nif __name__ == '__main__':\n"
        "    from tune_seeds.engine.code_fingerprint import fingerprint\n"
        "    from tune_seeds.training.function import from_function\n"
        "    print(fingerprint(from_function(train, 't'))['function'])\n"
    )
    (tmp_path / "a" / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "a" / "script.py")], capture_output=True, text=True
    )
    assert done.stdout.strip() == here, done.stderr


def closing_over(value: Any):
    def train(config):
        return value

    return train


def test_what_a_function_holds_is_part_of_it():
    one, same, two = (from_function(closing_over(v), "t") for v in (1, 1, 2))
    assert fingerprint(one) == fingerprint(same) != fingerprint(two)
    with_parameters = [
        from_function(tune.with_parameters(f, data=[1]), "t") for f in (needs_data, needs_data_too)
    ]
    assert fingerprint(with_parameters[0]) != fingerprint(with_parameters[1])


def needs_data(config, data=None):
    return data


def needs_data_too(config, data=None):
    return [data]


def loader(seed: int, n: int = 8) -> DataLoader:
    data = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 2)))
    return DataLoader(TensorDataset(data), batch_size=2)


def test_data_that_is_given_as_objects_is_told_apart_by_its_content():
    def of(given: DataLoader) -> dict[str, str]:
        trainer = LightningTrainer(
            tiny.TinyModule, train_dataloaders=given, trainer_kwargs={"max_epochs": 1}
        )
        return fingerprint(trainer.as_trainable(None))

    parts, versions = differences(of(loader(0)), of(loader(1)))
    assert (parts, versions) == (["train_dataloaders"], [])
    assert differences(of(loader(0)), of(loader(0))) == ([], [])


def test_versions_are_said_and_what_only_one_side_knows_is_not():
    then = {"function": "a", "version of torch": "2.0", "old": "1"}
    now = {"function": "b", "version of torch": "2.1", "new": "1"}
    assert differences(then, now) == (["function"], ["torch was 2.0 and is 2.1"])
