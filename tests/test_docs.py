"""The documentation: links lead somewhere, pages are in the menu, snippets are Python."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import tune_seeds

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def snippets(page: Path, language: str) -> list[str]:
    return [text for kind, text in FENCE.findall(page.read_text()) if kind == language]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT / "docs"))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_python_of_a_page_is_python(page: Path):
    for text in snippets(page, "python"):
        compile(text, name(page), "exec")


def test_every_page_is_in_the_menu():
    text = (ROOT / "mkdocs.yml").read_text()

    def leaves(item: Any) -> list[str]:
        if isinstance(item, str):
            return [item]
        values = item.values() if isinstance(item, dict) else item
        return [leaf for value in values for leaf in leaves(value)]

    assert sorted(leaves(yaml.safe_load(text)["nav"])) == sorted(map(name, PAGES))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_scripts_are_there(page: Path):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert "://" in target or (page.parent / target).exists(), target
    for script in re.findall(r"experiments/[\w/]+\.py", text):
        assert (ROOT / script).is_file(), script


def test_the_reference_has_every_public_name():
    text = (ROOT / "docs" / "reference.md").read_text()
    missing = [name for name in tune_seeds.__all__ if not re.search(rf"\b{name}\b", text)]
    assert not missing
