"""What the README says of files and names is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import tune_seeds
from tune_seeds.results import SeedResults

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CONTRIBUTING.md")
TEXT = (ROOT / "README.md").read_text()


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


def test_code_parses_and_imports_what_there_is():
    assert blocks("README.md")
    for block in blocks("README.md"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "tune_seeds":
                assert {alias.name for alias in node.names} <= set(tune_seeds.__all__)


@pytest.mark.parametrize("page", [*PAGES, "experiments/benchmarks/RESULTS.md"])
def test_files_that_are_named_exist(page: str):
    text = (ROOT / page).read_text()
    named = set(re.findall(r"\]\(([^):]+)\)", text))
    named |= set(re.findall(r"`((?:experiments|tune_seeds|docker|tests)/[\w/.-]+)`", text))
    assert named
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_the_tree_has_one_line_for_each_folder():
    tree = re.search(r"```\ntune_seeds/\n(.*?)```", TEXT, flags=re.DOTALL)
    assert tree is not None
    shown = [line.split()[0 if line[0] == " " else 1] for line in tree[1].splitlines()]
    package = ROOT / "tune_seeds"
    folders = {f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").exists()}
    modules = {path.name for path in package.glob("*.py") if path.name != "__init__.py"}
    assert sorted(shown) == sorted(folders | modules)


def test_the_results_that_are_listed_are_there():
    listed = re.findall(r"`results\.(\w+)", TEXT)
    assert len(listed) > 8
    assert [name for name in listed if not hasattr(SeedResults, name)] == []
