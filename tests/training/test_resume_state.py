from __future__ import annotations

import collections
import enum
import random
import threading
import types
import weakref
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

import lightning
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from tune_seeds.training.resume.run_state import RunState


class Phase(enum.Enum):
    WARMUP = 1
    MAIN = 2


class Best(NamedTuple):
    epoch: int
    loss: float


@dataclass(frozen=True, slots=True)
class Frozen:
    x: int
    items: list[int]


@dataclass
class Stage:
    name: str
    n: int = 0
    rest: list[Any] = field(default_factory=list)


STAGES = [Stage("easy"), Stage("hard")]


class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("hidden", torch.zeros(2), persistent=False)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


class Watcher(lightning.Callback):
    """A callback that holds what a test gives it."""


def built(**attributes: Any) -> tuple[Net, Watcher, RunState]:
    """A run as it is when training starts: trainer, module, optimizer, callback."""
    torch.manual_seed(0)
    module, watcher = Net(), Watcher()
    vars(watcher).update(attributes)
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[watcher],
        enable_progress_bar=False, enable_model_summary=False, max_epochs=1,
    )  # fmt: skip
    trainer.strategy._lightning_module = trainer.strategy.model = module
    module.trainer = trainer
    trainer.strategy.setup_optimizers(trainer)
    return module, watcher, RunState(trainer, dict, pauses=True)


def through_a_file(state: dict[str, Any], tmp_path) -> dict[str, Any]:
    torch.save(state, tmp_path / "state")
    return torch.load(tmp_path / "state", weights_only=True)


def resumed(tmp_path, change, **attributes: Any) -> tuple[Net, Watcher, list[str]]:
    """A run that was changed, saved, and put back into one that was built anew."""
    module, watcher, state = built(**attributes)
    change(module, watcher)
    saved = through_a_file(state.take(), tmp_path)
    assert "lost" not in saved, saved
    module, watcher, state = built(**attributes)
    return module, watcher, state.put_back(saved)


def test_parameters_keep_flags_gradients_and_hooks(tmp_path):
    def change(module, watcher):
        module.layer.weight.requires_grad_(False)
        module.layer.bias.grad = torch.ones(2)
        module.drop.p = 0.1
        module.drop.eval()
        module.hidden += 3
        watcher.seen = []
        module.layer.register_forward_hook(lambda layer, x, y: watcher.seen.append(len(x)))
        watcher.same = module.layer.weight
        watcher.part = module.layer.weight.detach()[0]

    module, watcher, lost = resumed(tmp_path, change)
    assert lost == []
    assert (module.layer.weight.requires_grad, module.layer.bias.requires_grad) == (False, True)
    assert module.layer.bias.grad.tolist() == [1.0, 1.0]
    assert (module.drop.p, module.drop.training, module.drop in module.children()) == (
        0.1, False, True,
    )  # fmt: skip
    assert module.hidden.tolist() == [3.0, 3.0]
    module.layer(torch.zeros(1, 2))
    assert watcher.seen == [1]
    assert watcher.same is module.layer.weight
    with torch.no_grad():
        module.layer.weight[0] = 7
    assert watcher.part.tolist() == [7.0, 7.0]


def test_optimizers_and_what_was_added_to_the_run(tmp_path):
    def change(module, watcher):
        optimizer = module.optimizers().optimizer
        module.late = nn.Linear(1, 1)
        optimizer.add_param_group({"params": list(module.late.parameters()), "lr": 0.5})
        optimizer.slow = {p: p.detach().clone() for p in module.parameters()}
        module.late(torch.ones(1, 1)).sum().backward()
        optimizer.step()
        module.lr_schedulers().step()
        module.trainer.gradient_clip_val = 0.3
        watcher.average = nn.Linear(1, 1)

    module, watcher, lost = resumed(tmp_path, change)
    assert lost == []
    optimizer = module.optimizers().optimizer
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 2]
    assert optimizer.param_groups[1]["params"][0] is module.late.weight
    assert set(optimizer.state) <= set(module.parameters())
    assert set(optimizer.slow) == set(module.parameters())
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    assert module.lr_schedulers().optimizer is optimizer
    assert module.trainer.gradient_clip_val == 0.3
    assert isinstance(watcher.average, nn.Linear)


def test_what_is_shared_beyond_the_run_is_pointed_to_and_never_written(tmp_path):
    def change(module, watcher):
        watcher.phase = Phase.MAIN
        watcher.stage = STAGES[1]
        watcher.stages = STAGES
        watcher.kind = Stage
        watcher.draw = random.random

    before = (Phase.WARMUP.value, Phase.MAIN.value, list(STAGES))
    _, watcher, lost = resumed(tmp_path, change)
    assert lost == []
    assert watcher.phase is Phase.MAIN
    assert watcher.stage is STAGES[1]
    assert watcher.stages is STAGES
    assert watcher.kind is Stage
    assert (Phase.WARMUP.value, Phase.MAIN.value, list(STAGES)) == before


def test_what_cannot_travel_is_named():
    _, watcher, state = built()
    watcher.stream = (i for i in range(3))
    (lost,) = state.take()["lost"]
    assert lost.startswith("callbacks[0] Watcher.stream (TypeError")


def test_a_difference_after_the_resume_is_named(tmp_path):
    _, watcher, state = built()
    watcher.stage = STAGES[0]
    saved = through_a_file(state.take(), tmp_path)
    STAGES[0].n = 5  # another process has the module as it was imported
    try:
        _, _, state = built()
        assert state.put_back(saved) == ["callbacks[0] Watcher.stage"]
    finally:
        STAGES[0].n = 0


def test_weights_lie_in_the_file_once(tmp_path):
    module, _, state = built()
    module.big = nn.Parameter(torch.rand(500_000))
    saved = state.take()
    torch.save({"state_dict": module.state_dict(), "state": saved}, tmp_path / "both")
    assert (tmp_path / "both").stat().st_size < 1.5 * module.big.nbytes


def test_a_large_array_that_does_not_change_does_not_travel(tmp_path):
    data = torch.rand(2**19)
    _, _, state = built(data=data)
    saved = through_a_file(state.take(), tmp_path)
    assert (tmp_path / "state").stat().st_size < data.nbytes / 10
    _, _, state = built(data=data.clone())
    assert state.put_back(saved) == []
    _, _, state = built(data=data + 1)
    assert len(state.put_back(saved)) == 1


def _closures():
    n = [0]
    total = 0

    def add():
        nonlocal total
        total += 1
        n.append(total)
        return total

    return add, lambda: (total, n), n


def test_functions_share_their_variables_again(tmp_path):
    def change(module, watcher):
        watcher.add, watcher.look, watcher.n = _closures()
        watcher.add()

    _, watcher, lost = resumed(tmp_path, change)
    assert lost == []
    watcher.add()
    assert watcher.look() == (2, [0, 1, 2])
    assert watcher.look()[1] is watcher.n


def _atom(rng: random.Random) -> Any:
    return rng.choice(
        [
            None, True, 3, -1.5, float("nan"), "text", b"bytes", 2 + 1j, 10**30, Fraction(1, 3),
            Phase.MAIN, range(4), torch.float16, np.float32(0.5), ..., Stage, len, types,
        ]
    )  # fmt: skip


def _leaf(rng: random.Random) -> Any:
    makers = [
        lambda: torch.rand(3),
        lambda: torch.eye(3).to_sparse(),
        lambda: torch.eye(3).to_sparse_csr(),
        lambda: torch.empty(2, device="meta"),
        lambda: nn.Parameter(torch.rand(2), requires_grad=rng.random() < 0.5),
        lambda: np.arange(4.0),
        lambda: np.arange(6)[1:4],
        lambda: np.array(["a", "b"], dtype=object),
        lambda: torch.Generator().manual_seed(rng.randrange(99)),
        lambda: np.random.default_rng(rng.randrange(99)),
        lambda: np.random.RandomState(rng.randrange(99)),
        lambda: random.Random(rng.randrange(99)),
        lambda: nn.Linear(1, 2),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)),
        lambda: threading.Lock(),
        lambda: torch.amp.GradScaler("cpu"),
        lambda: torch.quasirandom.SobolEngine(2),
        lambda: STAGES[1],
        lambda: Best(1, 0.5),
        lambda: iter([1, 2, 3]),
    ]
    return rng.choice(makers)()


def _graph(rng: random.Random, made: list[Any], depth: int = 0) -> Any:
    """A random object: containers of containers, in which things occur more than once."""
    if made and rng.random() < 0.2:
        return rng.choice(made)
    if depth > 3 or rng.random() < 0.3:
        leaf = _leaf(rng) if rng.random() < 0.6 else _atom(rng)
        made.append(leaf)
        return leaf
    parts = [_graph(rng, made, depth + 1) for _ in range(rng.randrange(4))]
    keys = [rng.choice([i, str(i), (i, "x"), Best(i, 0.0), Phase.MAIN]) for i in range(len(parts))]
    pairs = list(zip(keys, parts, strict=True))
    first = parts[0] if parts else None
    makers = [
        lambda: parts,
        lambda: tuple(parts),
        lambda: dict(pairs),
        lambda: OrderedDict(pairs),
        lambda: defaultdict(lambda: 3, pairs),
        lambda: defaultdict(list, pairs),
        lambda: deque(parts, maxlen=5),
        lambda: Counter(keys),
        lambda: set(keys),
        lambda: frozenset(keys),
        lambda: Stage("s", len(parts), parts),
        lambda: Frozen(3, parts),
        lambda: types.SimpleNamespace(parts=parts),
        lambda: collections.ChainMap(dict(pairs)),
        lambda: lambda: first,
        lambda: weakref.ref(STAGES[0]),
    ]
    value = rng.choice(makers)()
    made.append(value)
    if isinstance(value, list) and rng.random() < 0.1:
        value.append(value)
    return value


@pytest.mark.filterwarnings("ignore:Sparse")
def test_random_objects_are_equal_after_a_pause_or_named(tmp_path):
    travelled = 0
    for seed in range(60):
        rng = random.Random(seed)
        torch.manual_seed(seed)
        made: list[Any] = []
        values = {f"x{i}": _graph(rng, made) for i in range(3)}
        _, watcher, state = built()
        vars(watcher).update(values)
        before = state.take()
        if "lost" in before:
            assert all("Watcher.x" in name for name in before["lost"])
            continue
        _, other, again = built()
        lost = again.put_back(through_a_file(before, tmp_path))
        assert all("Watcher.x" in name for name in lost)
        travelled += not lost
        if not lost:
            assert again.take()["digests"] == before["digests"]
            assert all(type(getattr(other, n)) is type(v) for n, v in values.items())
    assert travelled > 40


def test_the_digest_sees_each_kind_of_change():
    """A control of the property above: what it compares by is not blind."""
    changes = [
        (lambda: [1, 2], lambda x: x.append(3)),
        (lambda: {"a": [1]}, lambda x: x["a"].append(2)),
        (lambda: {1, 2}, lambda x: x.add(3)),
        (lambda: deque([1], maxlen=3), lambda x: x.append(2)),
        (lambda: list(range(5000)), lambda x: x.__setitem__(4321, 0)),
        (lambda: torch.zeros(3), lambda x: x.add_(1)),
        (lambda: nn.Parameter(torch.zeros(3)), lambda x: x.requires_grad_(False)),
        (lambda: nn.Parameter(torch.zeros(3)), lambda x: setattr(x, "grad", torch.ones(3))),
        (lambda: np.zeros(3), lambda x: x.__iadd__(1)),
        (lambda: torch.Generator(), lambda x: torch.rand(1, generator=x)),
        (lambda: np.random.default_rng(0), lambda x: x.random()),
        (lambda: random.Random(0), lambda x: x.random()),
        (lambda: nn.Linear(1, 1), lambda x: x.eval()),
        (lambda: nn.Dropout(0.5), lambda x: setattr(x, "p", 0.1)),
        (lambda: Stage("a"), lambda x: x.rest.append(1)),
        (lambda: Frozen(1, []), lambda x: x.items.append(1)),
        (lambda: torch.eye(2).to_sparse(), lambda x: x.mul_(2)),
        (lambda: [iter([1, 2])], lambda x: next(x[0])),
    ]
    for make, change in changes:
        _, watcher, state = built()
        watcher.x = make()
        before = state.take()["digests"]
        assert state.take()["digests"] == before
        change(watcher.x)
        after = state.take()["digests"]
        changed = {name for name in before if before[name] != after[name]}
        assert changed == {"callbacks[0] Watcher.x"}, watcher.x


def test_the_parts_of_a_trainer_are_never_copied(tmp_path):
    def change(module, watcher):
        watcher.held = [module.trainer, module.trainer.strategy, module.optimizers()]

    module, watcher, lost = resumed(tmp_path, change)
    assert lost == []
    assert watcher.held[0] is module.trainer
    assert watcher.held[1] is module.trainer.strategy
    assert watcher.held[2] is module.optimizers()


def test_a_table_by_id_means_the_same_objects(tmp_path):
    def change(module, watcher):
        watcher.names = {id(p): name for name, p in module.named_parameters()}

    module, watcher, lost = resumed(tmp_path, change)
    assert lost == []
    assert watcher.names == {id(p): name for name, p in module.named_parameters()}


def test_a_hook_that_comes_later_takes_no_other_ones_place(tmp_path):
    module, _, state = built()
    module.layer.register_forward_hook(lambda layer, x, y: y + 1)
    saved = through_a_file(state.take(), tmp_path)
    (key,) = module.layer._forward_hooks
    module, _, state = built()
    RemovableHandle.next_id = key  # as in a process that has not come so far
    assert state.put_back(saved) == []
    module.layer.register_forward_hook(lambda layer, x, y: y + 2)
    assert len(module.layer._forward_hooks) == 2
