"""The small form of the rounds: with everything fixed, two trainings are one."""

from __future__ import annotations

from pathlib import Path

import pytest
import seeding_rounds as script
import torch
from texts import TextDataModule, TextError, Texts, docstring_texts, hashed, review_texts


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """A folder in the layout of the Large Movie Review Dataset."""
    for kind, word in (("neg", "dull"), ("pos", "bright")):
        folder = tmp_path / "train" / kind
        folder.mkdir(parents=True)
        for i in range(30):
            (folder / f"{i}.txt").write_text(f"A {word} film in {i} acts, {'x' * i} and more.")
    return tmp_path


@pytest.mark.usefixtures("ray_session")
def test_with_everything_fixed_nothing_is_left_to_differ(
    reviews: Path, storage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    name = "everything"
    fixed = script.rounds(47)[name]
    monkeypatch.setattr(script, "rounds", lambda seed: {name: fixed})
    monkeypatch.setattr(script, "installed", lambda package: False)
    arguments = ["--reviews", str(reviews), "--n-texts", "60", "--length", "8", "--epochs", "1"]
    arguments += ["--repeats", "2", "--seeds", "47", "881", "--storage-path", storage]
    found, results = script.main(arguments)
    first, second = found[name]
    assert first == second
    assert len(results) == 2 and set(results.best.scores) == {47, 881}
    shown = capsys.readouterr().out
    assert "1 of 2" in shown and "Keras is not installed" in shown
    assert "the choice of filters=" in shown


def test_with_nothing_fixed_two_trainings_differ(reviews: Path):
    texts = review_texts(reviews, 60)
    runs = [script.train_once(texts, script.Round(), 1, {"length": 8}) for _ in range(2)]
    assert runs[0]["val_loss"] != runs[1]["val_loss"]
    assert "2 of 2" in script.round_table({"nothing fixed": runs})


def test_reviews_that_are_not_there_are_said(reviews: Path):
    assert review_texts(reviews, 4).labels == (0, 0, 1, 1)
    with pytest.raises(TextError, match="holds 30 reviews, fewer than 500"):
        review_texts(reviews, 1000)
    with pytest.raises(SystemExit, match="aclImdb"):
        script.main(["--reviews", str(reviews)])


def test_docstrings_are_texts_of_two_classes_that_do_not_name_their_package():
    texts = docstring_texts(100)
    assert len(set(texts.texts)) == 100 and sum(texts.labels) == 50
    assert not any("scipy" in text or "sklearn" in text for text in texts.texts)


def test_words_are_numbered_and_padded_in_front():
    numbers = hashed("one two one", n_words=50, length=5)
    assert numbers[:2] == [0, 0] and numbers[2] == numbers[4] and 0 < min(numbers[2:]) < 50
    assert hashed("one two three", n_words=50, length=2) == numbers[3:4] + hashed("three", 50, 1)


def test_the_split_follows_its_own_seed():
    texts = Texts(tuple(f"text number {'abcdefghij'[i]}{i}" for i in range(10)), (0, 1) * 5)

    def held_back(split_seed: int | None) -> list[int]:
        data = TextDataModule(texts, split_seed=split_seed)
        data.setup("fit")
        return data.val.indices

    torch.manual_seed(1)
    assert held_back(3) == held_back(3)
    assert any(held_back(None) != held_back(None) for _ in range(5))


def test_the_net_takes_texts_with_and_without_its_convolution():
    words = torch.zeros(3, 8, dtype=torch.long)
    assert all(script.TextNet(filters=n)(words).shape == (3,) for n in (0, 4))
