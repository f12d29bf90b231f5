from __future__ import annotations

import cmath
import collections
import copy
import enum
import functools
import math
import operator
import pathlib
import pickle
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import cloudpickle
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tune_seeds.core.events import GroupAdded
from tune_seeds.store.codec import decode, encode
from tune_seeds.store.identity import identity


def values() -> list[Any]:
    """Values of many kinds, no two of them the same config."""

    class Phase(enum.Enum):
        WARMUP = 1
        TRAIN = 2

    class Level(enum.IntEnum):
        LOW = 1

    class Name(enum.StrEnum):
        SGD = "sgd"

    @dataclass
    class Plain:
        width: int
        inner: Any = None

    @dataclass(frozen=True, slots=True)
    class Slotted:
        width: int

    class Pair(NamedTuple):
        a: int
        b: int

    class Net(torch.nn.Module):
        def __init__(self, width=3):
            super().__init__()
            self.layer = torch.nn.Linear(1, width)

    class OtherNet(Net):
        def forward(self, x):
            return self.layer(x)

    def scaled(factor):
        return lambda x: x * factor

    def with_default(x, y=1):
        return x

    torch.manual_seed(0)
    cyclic: dict[str, Any] = {"a": 1}
    cyclic["self"] = cyclic
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    return [
        *(1, 1.0, True, "1", b"1", 1j, None, math.inf, math.nan, 10**30, Decimal(1)),
        *([1], (1,), {1}, frozenset({1}), {"a": 1}, {1: "a"}, {(1, 2): "a"}, range(3), slice(1)),
        *([1, [2]], [[1], 2], (1, (2,)), collections.deque([1]), collections.Counter("aab")),
        *(collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1), {"a": 1, "b": 2}),
        *(Phase.WARMUP, Phase.TRAIN, Level.LOW, Name.SGD, Phase, Level),
        *(torch.optim.SGD, torch.optim.Adam, Net, OtherNet, Plain, Plain(1), Plain(2)),
        *(Plain(1, [Plain(2)]), Slotted(1), Slotted(2), Pair(1, 2)),
        *(torch.relu, torch.tanh, torch.nn.functional.relu, math.sin, cmath.sin, np.sin, len),
        *(scaled(2), scaled(3), lambda x: x, lambda x: -x, with_default, operator.itemgetter(1)),
        *(functools.partial(int, base=2), functools.partial(int, base=3), functools.partial(int)),
        *(functools.partial(scaled(2), 1), functools.partial(scaled(3), 1), Pair(1, 2)._asdict),
        *(torch.float16, torch.float32, np.dtype("f4"), torch.device("cpu"), torch.strided),
        *(np.float32(1), np.float64(1), np.int64(1), np.bool_(True), np.str_("1")),
        *(np.ones(2), np.ones(2, np.float32), np.ones((1, 2)), np.zeros(2), np.array([None, "a"])),
        *(torch.ones(2), torch.ones(2, dtype=torch.bfloat16), torch.ones(1, 2), torch.zeros(2)),
        *(torch.tensor(1.0), torch.ones(2, requires_grad=True), torch.nn.Parameter(torch.ones(2))),
        *(torch.ones(2).to_sparse(), torch.tensor([True]), torch.tensor([])),
        *(frame, frame.assign(a=[1.0, 2.0]), frame["a"], frame.set_index("a"), frame.T),
        *(Net(), Net(4), OtherNet(), torch.nn.ReLU(), torch.nn.Linear(1, 1)),
        *(np.random.default_rng(0), np.random.default_rng(1), torch.Generator().manual_seed(1)),
        *(pathlib.PurePosixPath("a"), cyclic, {"a": {"b": torch.ones(1)}}),
    ]


def test_a_deep_copy_is_the_same_config_and_no_two_values_are():
    given, seen = values(), {}
    for value in given:
        config = {"x": value}
        assert identity(copy.deepcopy(config)) == identity(config), value
        assert identity(cloudpickle.loads(cloudpickle.dumps(config))) == identity(config), value
        other = seen.setdefault(identity(config), value)
        assert other is value, f"{other!r} and {value!r} are the same"


@pytest.mark.slow
def test_another_process_finds_the_same_configs():
    given = values()
    script = (
        "import sys, pickle, cloudpickle\n"
        "from tune_seeds.store.identity import identity\n"
        "values = cloudpickle.loads(sys.stdin.buffer.read())\n"
        "sys.stdout.buffer.write(pickle.dumps([identity({'x': v}) for v in values]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=cloudpickle.dumps(given), capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    there = pickle.loads(done.stdout)
    assert [v for v, found in zip(given, there, strict=True) if found != identity({"x": v})] == []


@given(st.dictionaries(st.text(), st.integers() | st.dictionaries(st.text(), st.floats())))
def test_the_order_of_keys_does_not_matter(config: dict[str, Any]):
    backwards = {
        k: dict(reversed(v.items())) if isinstance(v, dict) else v
        for k, v in reversed(config.items())
    }
    assert identity(backwards) == identity(config)


def test_where_a_function_stands_in_its_file_does_not_matter():
    def make(lines: int):
        scope: dict[str, Any] = {"__name__": "made_up"}
        exec("\n" * lines + "def f(x):\n    return x + 1", scope)
        return scope["f"]

    assert identity({"f": make(0)}) == identity({"f": make(9)})


def test_a_shared_part_is_taken_apart_once():
    value: Any = [1]
    for _ in range(200):  # by value this is 2**200 lists
        value = [value, value]
    assert identity({"x": value}) == identity({"x": copy.deepcopy(value)})


def test_the_journal_gives_back_what_it_was_given():
    for value in values()[:-2]:  # the last but one contains itself, which Ray takes from nobody
        event = decode(encode(GroupAdded("g1", {"x": value})), unpickle=True)
        assert identity(event.config) == identity({"x": value}), value
