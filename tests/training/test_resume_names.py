"""Each kind of state that a report said was lost, damaged or an error over a pause, by its name."""

from __future__ import annotations

import sys
import types
from collections import defaultdict, deque
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from test_resume_state import STAGES, Best, Frozen, Phase, built, resumed, through_a_file
from torch import nn

from tune_seeds.training.seeding import reset_process, switches


@dataclass(slots=True)
class Slotted:
    n: int
    items: list[int]


def _same(a: Any, b: Any) -> Any:
    return torch.equal(a, b)


# What changes a run, and what must hold when it goes on: (change(m, w), holds(m, w)).
KEPT: dict[str, tuple[Any, Any]] = {
    "requires_grad set by hand": (
        lambda m, w: m.layer.requires_grad_(False),
        lambda m, w: not any(p.requires_grad for p in m.layer.parameters()),
    ),
    "training flag of a submodule": (
        lambda m, w: m.drop.eval(),
        lambda m, w: (m.drop.training, m.training) == (False, True),
    ),
    "attribute of a torch module": (
        lambda m, w: setattr(m.drop, "p", 0.125),
        lambda m, w: m.drop.p == 0.125,
    ),
    "inplace flag and a new attribute of a torch module": (
        lambda m, w: (setattr(m.drop, "inplace", True), setattr(m.layer, "tag", [1])),
        lambda m, w: m.drop.inplace and m.layer.tag == [1],
    ),
    "forward hook": (
        lambda m, w: m.layer.register_forward_hook(lambda layer, x, y: y + 7),
        lambda m, w: bool((m.layer(torch.zeros(1, 2)) > 5).all()),
    ),
    "forward pre-hook and backward hook of a module": (
        lambda m, w: (
            m.layer.register_forward_pre_hook(lambda layer, x: (x[0] + 1,)),
            m.layer.register_full_backward_hook(lambda layer, a, b: None),
        ),
        lambda m, w: len(m.layer._forward_pre_hooks) == len(m.layer._backward_hooks) == 1,
    ),
    "gradient hook of a parameter": (
        lambda m, w: m.layer.bias.register_hook(lambda grad: grad * 0 + 3),
        lambda m, w: (
            (m.layer(torch.ones(1, 2)).sum().backward(), m.layer.bias.grad)[1].tolist() == [3, 3]
        ),
    ),
    "hparams": (
        lambda m, w: m.save_hyperparameters({"x": 1, "y": {"z": 2}}) or m.hparams.update(x=5),
        lambda m, w: m.hparams == {"x": 5, "y": {"z": 2}},
    ),
    "gradient_clip_val": (
        lambda m, w: setattr(m.trainer, "gradient_clip_val", 0.25),
        lambda m, w: m.trainer.gradient_clip_val == 0.25,
    ),
    "accumulate_grad_batches": (
        lambda m, w: setattr(m.trainer, "accumulate_grad_batches", 4),
        lambda m, w: m.trainer.accumulate_grad_batches == 4,
    ),
    "gradients left over": (
        lambda m, w: setattr(m.layer.weight, "grad", torch.full((2, 2), 3.0)),
        lambda m, w: m.layer.weight.grad.sum() == 12,
    ),
    "list of more than 1,000 entries": (
        lambda m, w: setattr(w, "x", [0.5 * i for i in range(5000)]),
        lambda m, w: w.x == [0.5 * i for i in range(5000)],
    ),
    "deque of more than 1,000 tensors": (
        lambda m, w: setattr(w, "x", deque((torch.tensor(i) for i in range(1500)), maxlen=1500)),
        lambda m, w: (len(w.x), w.x.maxlen, int(w.x[-1])) == (1500, 1500, 1499),
    ),
    "dict of more than 1,000 entries": (
        lambda m, w: setattr(w, "x", {(i, "a"): [i] for i in range(1500)}),
        lambda m, w: w.x[1499, "a"] == [1499],
    ),
    "dict with tuple keys": (
        lambda m, w: setattr(w, "x", {(0, 1): 2.0}),
        lambda m, w: w.x == {(0, 1): 2.0},
    ),
    "plain tensor of 64 MiB": (
        lambda m, w: setattr(w, "x", torch.full((2**24,), 2.0)),
        lambda m, w: float(w.x.sum()) == 2**25,
    ),
    "two names of one tensor": (
        lambda m, w: (setattr(w, "a", torch.zeros(2)), setattr(m, "b", w.a)),
        lambda m, w: w.a is m.b,
    ),
    "two names of one list": (
        lambda m, w: (setattr(w, "a", []), setattr(m, "b", {"inner": w.a})),
        lambda m, w: w.a is m.b["inner"],
    ),
    "optimizer and scheduler in attributes": (
        lambda m, w: (
            setattr(w, "own", torch.optim.SGD(m.parameters(), lr=0.5)),
            setattr(w, "plan", torch.optim.lr_scheduler.StepLR(w.own, 1)),
            w.own.step(),
            w.plan.step(),
        ),
        lambda m, w: (
            w.plan.optimizer is w.own
            and w.own.param_groups[0]["params"][0] is m.layer.weight
            and w.own.param_groups[0]["lr"] == pytest.approx(0.05)
        ),
    ),
    "module and number in one dict": (
        lambda m, w: setattr(w, "x", {"ema": nn.Linear(1, 1), "step": 3}),
        lambda m, w: w.x["step"] == 3 and w.x["ema"].weight.shape == (1, 1),
    ),
    "frozenset, bytes, complex, fraction": (
        lambda m, w: setattr(w, "x", [frozenset({1}), b"\0a", 2 + 1j, Fraction(1, 3)]),
        lambda m, w: w.x == [frozenset({1}), b"\0a", 2 + 1j, Fraction(1, 3)],
    ),
    "parameter of a callback": (
        lambda m, w: setattr(w, "x", nn.Parameter(torch.tensor([4.0]))),
        lambda m, w: type(w.x) is nn.Parameter and w.x.requires_grad and w.x.tolist() == [4],
    ),
    "defaultdict in a dict": (
        lambda m, w: setattr(w, "x", {"n": defaultdict(list, a=[1])}),
        lambda m, w: w.x["n"]["new"] == [] and w.x["n"]["a"] == [1],
    ),
    "attributes of an optimizer": (
        lambda m, w: setattr(m.optimizers().optimizer, "slow", {m.layer.bias: torch.ones(2)}),
        lambda m, w: list(m.optimizers().optimizer.slow) == [m.layer.bias],
    ),
    "GradScaler": (
        lambda m, w: (
            setattr(w, "x", torch.amp.GradScaler("cpu", init_scale=8.0)),
            w.x.scale(torch.ones(1)),
            w.x.update(4.0),
        ),
        lambda m, w: w.x.get_scale() == 4.0,
    ),
    "SobolEngine": (
        lambda m, w: (setattr(w, "x", torch.quasirandom.SobolEngine(1)), w.x.draw(3)),
        lambda m, w: _same(w.x.draw(1), torch.quasirandom.SobolEngine(1).fast_forward(3).draw(1)),
    ),
    "Enum member": (
        lambda m, w: setattr(w, "x", {"phase": Phase.MAIN, Phase.WARMUP: 1}),
        lambda m, w: w.x["phase"] is Phase.MAIN and [p.value for p in Phase] == [1, 2],
    ),
    "entry of a module's list": (
        lambda m, w: setattr(w, "x", STAGES[1]),
        lambda m, w: w.x is STAGES[1],
    ),
    "NamedTuple": (
        lambda m, w: setattr(w, "x", Best(3, 0.5)),
        lambda m, w: type(w.x) is Best and w.x.loss == 0.5,
    ),
    "frozen dataclass": (
        lambda m, w: setattr(w, "x", Frozen(1, [2])),
        lambda m, w: w.x == Frozen(1, [2]),
    ),
    "dataclass with slots": (
        lambda m, w: setattr(w, "x", Slotted(1, [2])),
        lambda m, w: w.x == Slotted(1, [2]),
    ),
    "add_param_group": (
        lambda m, w: m.optimizers().optimizer.add_param_group(
            {"params": [nn.Parameter(torch.ones(1))], "lr": 0.5}
        ),
        lambda m, w: m.optimizers().optimizer.param_groups[1]["lr"] == 0.5,
    ),
    "module added": (
        lambda m, w: m.add_module("late", nn.Linear(1, 3)),
        lambda m, w: m.late.weight.shape == (3, 1),
    ),
    "module pruned": (
        lambda m, w: delattr(m, "drop"),
        lambda m, w: not hasattr(m, "drop"),
    ),
    "weights pruned with a mask": (
        lambda m, w: nn.utils.prune.l1_unstructured(m.layer, "weight", amount=2),
        lambda m, w: nn.utils.prune.is_pruned(m.layer) and int((m.layer.weight == 0).sum()) == 2,
    ),
    "sparse buffer": (
        lambda m, w: m.register_buffer("x", torch.eye(2).to_sparse()),
        lambda m, w: _same(m.x.to_dense(), torch.eye(2)),
    ),
    "CSR buffer": (
        lambda m, w: m.register_buffer("x", torch.eye(2).to_sparse_csr()),
        lambda m, w: _same(m.x.to_dense(), torch.eye(2)),
    ),
    "nested buffer": (
        lambda m, w: m.register_buffer(
            "x", torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])
        ),
        lambda m, w: [len(part) for part in m.x.unbind()] == [1, 2],
    ),
    "meta buffer": (
        lambda m, w: m.register_buffer("x", torch.empty(2, device="meta")),
        lambda m, w: m.x.is_meta and m.x.shape == (2,),
    ),
    "NumPy generator deep inside": (
        lambda m, w: (
            setattr(w, "x", [[[[[[[[[[np.random.default_rng(3)]]]]]]]]]]),
            w.x[0][0][0][0][0][0][0][0][0][0].random(),
        ),
        lambda m, w: (
            w.x[0][0][0][0][0][0][0][0][0][0].random() == np.random.default_rng(3).random(2)[1]
        ),
    ),
    "learning rate of a group": (
        lambda m, w: m.optimizers().optimizer.param_groups[0].update(lr=0.75, extra=[1]),
        lambda m, w: m.optimizers().optimizer.param_groups[0]["lr"] == 0.75,
    ),
    "automatic_optimization": (
        lambda m, w: setattr(m, "automatic_optimization", False),
        lambda m, w: not m.automatic_optimization,
    ),
    "method bound to the run": (
        lambda m, w: setattr(m, "step", types.MethodType(lambda self: self.layer, m)),
        lambda m, w: m.step() is m.layer,
    ),
}


@pytest.mark.filterwarnings("ignore:Sparse", "ignore:The PyTorch API of nested", "ignore:Detected")
@pytest.mark.parametrize("name", KEPT)
def test_it_is_kept(name: str, tmp_path):
    change, holds = KEPT[name]
    module, watcher, lost = resumed(tmp_path, change)
    assert lost == []
    assert holds(module, watcher)


@pytest.mark.parametrize("name", ["code", "types", "trace", "queue", "statistics", "token"])
def test_a_users_package_may_be_named_like_a_standard_module(name: str, tmp_path, monkeypatch):
    """Found by where it lies; its list of stages is pointed into, and its class is a user's own."""
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text(
        "STAGES = [{'n': 1}, {'n': 2}]\n"
        "class Counter:\n"
        "    def __init__(self):\n"
        "        self.n, self.stage, self.history = 0, STAGES[0], [1.0]\n"
    )
    standard = {key: sys.modules.pop(key) for key in list(sys.modules) if key == name}
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        mine = __import__(f"{name}.mine", fromlist=["Counter"])

        def change(module, watcher):
            watcher.x = mine.Counter()
            watcher.x.n, watcher.x.stage = 7, mine.STAGES[1]
            watcher.x.history.append(2.0)
            watcher.kind = mine.Counter

        _, watcher, lost = resumed(tmp_path, change)
        assert lost == []
        assert (watcher.x.n, watcher.x.history) == (7, [1.0, 2.0])
        assert watcher.kind is mine.Counter
        assert watcher.x.stage is mine.STAGES[1]
    finally:
        for key in [key for key in sys.modules if key.partition(".")[0] == name]:
            del sys.modules[key]
        sys.modules.update(standard)


class Counting(nn.Module):
    n = 0
    table: dict[str, int] = {}  # noqa: RUF012 - a class attribute that a run writes to


COUNTED: list[int] = []
UNUSED: dict[str, int] = {}


@pytest.mark.parametrize(
    ("write", "undo", "name"),
    [
        (lambda: setattr(Counting, "n", 5), lambda: setattr(Counting, "n", 0), "Counting.n"),
        (lambda: Counting.table.update(a=1), Counting.table.clear, "Counting.table"),
        (lambda: COUNTED.append(1), COUNTED.clear, "COUNTED"),
    ],
)
def test_what_a_run_has_written_where_others_see_it_is_named(write, undo, name, tmp_path):
    _, _, state = _with_part()
    write()
    try:
        saved = through_a_file(state.take(), tmp_path)
        # In the same process, and nobody else has written: the run may go on.
        _, _, again = _with_part()
        assert again.put_back(saved) == []
        undo()
        _, _, again = _with_part()
        assert again.put_back(saved) == [f"{__name__}.{name}"]
    finally:
        undo()


def _with_part() -> tuple[Any, Any, Any]:
    return built(part=Counting())


def test_what_others_write_there_is_nobody_s_loss(tmp_path):
    """A cache that was filled before, or by another run, is no state of this one."""
    _, _, state = _with_part()
    saved = through_a_file(state.take(), tmp_path)
    UNUSED["another run"] = 1
    try:
        _, _, again = _with_part()
        assert again.put_back(saved) == []
    finally:
        UNUSED.clear()


def test_settings_of_torch_and_numpy_that_a_run_switches(tmp_path):
    try:
        reset_process(torch.get_num_threads())  # what other tests have left behind
        _, _, state = built()
        torch.set_default_dtype(torch.float64)
        torch.set_float32_matmul_precision("medium")
        torch.autograd.set_detect_anomaly(True)
        np.seterr(over="raise")
        switched = switches()
        saved = through_a_file(state.take(), tmp_path)
        reset_process(torch.get_num_threads())
        assert switches() != switched
        _, _, state = built()
        assert state.put_back(saved) == []
        assert switches() == switched
    finally:
        reset_process(torch.get_num_threads())
