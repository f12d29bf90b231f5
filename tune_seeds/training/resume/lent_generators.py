"""Throw-away generators for loaders whose workers start again."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader


class LentGenerators:
    """Lends loaders a throw-away generator while their persistent workers start again.

    A loader draws a base seed for workers that it starts. An uninterrupted fit has kept its
    workers and draws none, so the draw must come neither from the training RNG nor from a
    generator of the loader's own.
    """

    def __init__(self) -> None:
        self._own: list[tuple[DataLoader[Any], torch.Generator | None]] = []

    def __contains__(self, loader: Any) -> bool:
        """Whether a loader has a throw-away generator."""
        return any(loader is one for one, _ in self._own)

    def note(self, loaders: Iterable[DataLoader[Any]]) -> None:
        """Remember the generators that loaders have, before ``lend``."""
        self._own += [(loader, loader.generator) for loader in loaders]

    def lend(self) -> None:
        """Give each loader a generator that is thrown away."""
        for loader, _ in self._own:
            loader.generator = torch.Generator()

    def give_back(self) -> None:
        """Give each loader its own generator again, for good."""
        self._give_back()
        self._own.clear()

    @contextmanager
    def given_back(self) -> Generator[None]:
        """A place where each loader has its own generator."""
        self._give_back()
        try:
            yield
        finally:
            self.lend()

    def _give_back(self) -> None:
        for loader, generator in self._own:
            loader.generator = generator
