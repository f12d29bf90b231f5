"""Private names of other projects are used in ``_compat`` only, however they are reached."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tune_seeds

ROOT = Path(tune_seeds.__file__).parent
MODULES = [
    path for path in sorted(ROOT.rglob("*.py")) if "_compat" not in path.relative_to(ROOT).parts
]
BY_NAME = ("getattr", "hasattr", "setattr", "delattr", "attrgetter", "get", "startswith")


# What a named tuple documents; the underscore keeps these apart from its fields.
DOCUMENTED = {"_fields", "_asdict", "_replace", "_make"}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED


def private_uses(source: str) -> Iterator[str]:
    """What a module reaches for in others that begins with an underscore.

    Its own private attributes, those of ``self``, ``cls`` and ``super()``, are left out where it
    defines them itself.
    """
    tree = ast.parse(source)
    own = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    } | {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    own |= {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from (
                f"import of {name}" for name in names if private(name) and name != "_compat"
            )
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
            yield from (f"import of {name}" for name in names if private(name))
        elif isinstance(node, ast.Attribute) and private(node.attr):
            inherited = isinstance(node.value, ast.Call) and ast.unparse(node.value) == "super()"
            if inherited or (node.attr not in own and ast.unparse(node.value) != "self"):
                yield ast.unparse(node)
        elif isinstance(node, ast.Call):
            function = ast.unparse(node.func).rpartition(".")[2]
            for argument in node.args:
                first = argument.values[0] if isinstance(argument, ast.JoinedStr) else argument
                if function in BY_NAME and isinstance(first, ast.Constant):
                    name = first.value
                    if function == "startswith" and name == "_":
                        continue  # it asks whether a name is private, and reaches for none
                    if isinstance(name, str) and private(name) and not name[1:2].isdigit():
                        yield ast.unparse(node)


@pytest.mark.parametrize(
    "source",
    [
        "from lightning.pytorch.loops.fit_loop import _FitLoop",
        "from ray._private import state",
        "import ray._private.state",
        "loader._iterator",
        "getattr(loader, '_iterator', None)",
        "getattr(searcher, f'_{name}', None)",
        "state.get('_metric_attributes')",
        "class Loop(Base):\n    def _step(self):\n        super()._step()",
        "name.startswith('_DataLoader__')",
    ],
)
def test_every_way_to_a_private_name_is_seen(source: str):
    assert list(private_uses(source))


def test_no_module_uses_private_names_of_others():
    found = {str(path.relative_to(ROOT)): list(private_uses(path.read_text())) for path in MODULES}
    assert len(found) > 100
    assert {path: uses for path, uses in found.items() if uses} == {}
