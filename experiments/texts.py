"""Sentences of two kinds as a Lightning data module: real text that is at hand without a network.

What a docstring says tells which of two installed packages it comes from. That stands in for the
sentiment of reviews: short English texts, two classes, words that give them away more or less.
A folder of reviews in the layout of the Large Movie Review Dataset takes its place by a path.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset, random_split

#: The packages whose docstrings are told apart; both are needed by tune_seeds itself.
PACKAGES = ("scipy", "sklearn")
_MIN_WORDS = 6
_WORD = re.compile(r"[a-z][a-z']+")


class TextError(RuntimeError):
    """There is no text where it was looked for; the message says what is expected."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts of two classes, read once and handed to every run.

    Attributes:
        texts: in lower case, those of class 0 first.
        labels: 0 or 1 for each.
    """

    texts: tuple[str, ...]
    labels: tuple[int, ...]


def docstring_texts(n_texts: int) -> Texts:
    """The first paragraphs of docstrings of two packages, as many of each.

    Args:
        n_texts: how many in all; each package's, in alphabetical order, are thinned out evenly.

    Raises:
        TextError: the packages have fewer.
    """
    texts: list[str] = []
    n_each = n_texts // len(PACKAGES)
    for package in PACKAGES:
        found = sorted(set(_paragraphs(package)))
        if len(found) < n_each:
            raise TextError(f"{package} has {len(found)} docstrings, fewer than {n_each}")
        texts += [found[i * len(found) // n_each] for i in range(n_each)]
    return Texts(tuple(texts), tuple(i // n_each for i in range(len(texts))))


def _paragraphs(package: str) -> Iterator[str]:
    """The first paragraph of each docstring long enough to say something."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    for path in sorted(Path(spec.submodule_search_locations[0]).rglob("*.py")):
        if "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                continue
            text = (ast.get_docstring(node) or "").partition("\n\n")[0].lower()
            # The name of a package would give itself away.
            text = re.sub(r"scikit-learn|sklearn|scipy", " ", text)
            if len(_WORD.findall(text)) >= _MIN_WORDS:
                yield " ".join(_WORD.findall(text))


def review_texts(folder: str | Path, n_texts: int) -> Texts:
    """The first reviews in ``folder/train/neg`` and ``folder/train/pos``, as many of each.

    Raises:
        TextError: these folders do not hold so many.
    """
    texts: list[str] = []
    n_each = n_texts // 2
    for kind in ("neg", "pos"):
        files = sorted((Path(folder) / "train" / kind).glob("*.txt"))[:n_each]
        if len(files) < n_each:
            raise TextError(
                f"{folder}/train/{kind} holds {len(files)} reviews, fewer than {n_each}; give the "
                "folder aclImdb of the unpacked Large Movie Review Dataset, or ask for fewer texts"
            )
        texts += [file.read_text(encoding="utf-8").lower() for file in files]
    return Texts(tuple(texts), tuple(i // n_each for i in range(len(texts))))


def hashed(text: str, n_words: int, length: int) -> list[int]:
    """Words to numbers 1 … n_words − 1 by Python's ``hash``, the last ``length`` words; 0 pads.

    This is the hashing trick as Keras has had it: no vocabulary is needed, and the numbers depend
    on the process's hash seed.
    """
    numbers = [1 + hash(word) % (n_words - 1) for word in _WORD.findall(text)][-length:]
    return [0] * (length - len(numbers)) + numbers


def encoded(
    texts: Texts, n_words: int, length: int
) -> tuple[Int64[Tensor, "n word"], Int64[Tensor, " n"]]:
    """Texts as rows of word numbers, and their labels."""
    rows = [hashed(text, n_words, length) for text in texts.texts]
    return torch.tensor(rows), torch.tensor(texts.labels)


class TextDataModule(LightningDataModule):
    """Two classes of texts, split at random into training and validation.

    Args:
        texts: what is classified.
        n_words: distinct word numbers; fewer make more words share one.
        length: words of a text; more make a step slower.
        batch_size: texts per training step.
        split_seed: decides which fifth validates; None draws it from torch's global generator.
    """

    def __init__(
        self,
        texts: Texts,
        n_words: int = 5000,
        length: int = 24,
        batch_size: int = 32,
        split_seed: int | None = 0,
    ) -> None:
        super().__init__()
        self.texts = texts
        self.n_words = n_words
        self.length = length
        self.batch_size = batch_size
        self.split_seed = split_seed

    def setup(self, stage: str) -> None:
        """Encode and split."""
        data = TensorDataset(*encoded(self.texts, self.n_words, self.length))
        generator = None
        if self.split_seed is not None:
            generator = torch.Generator().manual_seed(self.split_seed)
        self.train, self.val = random_split(data, [0.8, 0.2], generator=generator)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Shuffled batches."""
        return DataLoader(self.train, self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """All of the held-back fifth in a fixed order."""
        return DataLoader(self.val, batch_size=250)
