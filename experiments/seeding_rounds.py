"""A text classifier trained again and again, with more of its randomness fixed in each round.

A convolution and an LSTM over word embeddings, as it is often shown for the sentiment of reviews.
Round by round the split, the seeds, and at last the hash seed are fixed (with one thread
throughout); the spread of accuracy and loss shrinks to nothing. But one fixed seed gives one fixed
answer: whether the convolution helps at all is then asked on several seeds. Docstrings of two
packages stand in for reviews; `--reviews` takes the folder of the Large Movie Review Dataset.

    python experiments/seeding_rounds.py
    python experiments/seeding_rounds.py --reviews aclImdb --n-texts 25000 --length 400

Where Keras is installed (`pip install keras`), the Keras form of the model is trained on the same
seeds, on its torch backend; where Comet is (`pip install comet-ml`), the study is logged offline.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from plain_lightning import fit, seed_all
from ray import tune
from script_arguments import add_study_arguments, installed, run_config
from seed_sentences import choice_sentences
from texts import TextDataModule, TextError, Texts, docstring_texts, review_texts
from torch import Tensor, nn
from torch.nn import functional

from tune_seeds import LightningTrainer, SeedResults, SeedTuner

METRICS = {"val_acc": "accuracy", "val_loss": "loss"}


class TextNet(LightningModule):
    """Embeddings, a convolution with pooling where it has filters, and an LSTM.

    Args:
        n_words: distinct word numbers, as of the data.
        filters: of the convolution over three words; 0 leaves it and the pooling out.
        units: of the LSTM.
        dropout: share of its last state that is dropped.
        lr: learning rate of Adam.
    """

    def __init__(
        self,
        n_words: int = 5000,
        filters: int = 32,
        units: int = 32,
        dropout: float = 0.2,
        lr: float = 2e-3,
    ) -> None:
        super().__init__()
        self.lr = lr
        self.embedding = nn.Embedding(n_words, 32)
        self.convolution = nn.Sequential()
        if filters:
            self.convolution = nn.Sequential(
                nn.Conv1d(32, filters, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2)
            )
        self.lstm = nn.LSTM(filters or 32, units, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(units, 1))

    def forward(self, words: Tensor) -> Tensor:
        """The logit of class 1 for each row of word numbers."""
        features = self.convolution(self.embedding(words).transpose(1, 2)).transpose(1, 2)
        return self.head(self.lstm(features)[0][:, -1])[:, 0]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy of two classes."""
        return functional.binary_cross_entropy_with_logits(self(batch[0]), batch[1].float())

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Loss and accuracy."""
        words, labels = batch
        logits = self(words)
        loss = functional.binary_cross_entropy_with_logits(logits, labels.float())
        accuracy = ((logits > 0) == labels).float().mean()
        self.log_dict({"val_loss": loss, "val_acc": accuracy}, batch_size=len(labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)


@dataclass(frozen=True)
class Round:
    """What is fixed; None is left to the machine.

    Attributes:
        split_seed: of the split into training and validation texts.
        seed: of Python, NumPy and torch.
        hash_seed: of the process, which orders sets and numbers the words; with it operations
            without a deterministic kernel are refused.
    """

    split_seed: int | None = None
    seed: int | None = None
    hash_seed: int | None = None


def rounds(seed: int) -> dict[str, Round]:
    """The rounds, from nothing to everything."""
    return {
        "nothing fixed": Round(),
        "the split": Round(split_seed=seed),
        "split and seeds": Round(split_seed=seed, seed=seed),
        "everything": Round(split_seed=seed, seed=seed, hash_seed=0),
    }


def train_once(
    texts: Texts, fixed: Round, epochs: int, options: dict[str, Any]
) -> dict[str, float]:
    """One training in this process, with Lightning alone."""
    # In every round: it is the machine's number that would differ, from one machine to the next,
    # and small steps gain nothing from more threads.
    torch.set_num_threads(1)
    if fixed.seed is not None:
        seed_all(fixed.seed)
    data = TextDataModule(texts, split_seed=fixed.split_seed, **options)
    found = fit(TextNet(), data, epochs, deterministic=fixed.hash_seed is not None)
    return {name: found[name] for name in METRICS}


def train_elsewhere(
    texts: Texts, fixed: Round, epochs: int, options: dict[str, Any]
) -> dict[str, float]:
    """The same in a process of its own, which alone can have another hash seed.

    Raises:
        RuntimeError: the training failed; the message is its own.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONHASHSEED"}
    if fixed.hash_seed is not None:
        environment["PYTHONHASHSEED"] = str(fixed.hash_seed)
    with tempfile.TemporaryDirectory() as folder:
        job, answer = Path(folder, "job.json"), Path(folder, "answer.json")
        job.write_text(json.dumps([asdict(texts), asdict(fixed), epochs, options]))
        command = [sys.executable, __file__, "--job", str(job), "--answer", str(answer)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"a training failed:\n{done.stderr}")
        return json.loads(answer.read_text())


def do_job(job: str, answer: str) -> None:
    """What ``train_elsewhere`` starts: train as the job file says, and write what came out."""
    texts, fixed, epochs, options = json.loads(Path(job).read_text())
    found = train_once(Texts(**texts), Round(**fixed), epochs, options)
    Path(answer).write_text(json.dumps(found))


def spread(values: Sequence[float]) -> str:
    """Mean, standard deviation and range of repeated trainings."""
    std = np.std(values, ddof=1) if len(values) > 1 else float("nan")
    return f"{np.mean(values):.4f} ± {std:.4f} (range {max(values) - min(values):.4f})"


def round_table(found: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """A row for each round: accuracy and loss of its trainings, and how many came out different."""
    lines = [f"{'fixed':24}{'accuracy':>34}{'loss':>34}{'different':>11}"]
    for name, runs in found.items():
        cells = "".join(f"{spread([run[metric] for run in runs]):>34}" for metric in METRICS)
        different = len({run["val_loss"] for run in runs})
        lines.append(f"{name:24}{cells}{f'{different} of {len(runs)}':>11}")
    return "\n".join(lines)


def train_keras(config: dict[str, Any], texts: Texts) -> None:
    """The same network in Keras on its torch backend, as a function that Ray Tune runs.

    It is seeded before it is called; Keras keeps a generator of its own beside, which is seeded
    from the config.
    """
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    keras.utils.set_random_seed(config["seed"])
    data = TextDataModule(texts, length=config["length"])
    data.setup("fit")
    (x, y), (x_val, y_val) = (
        (
            part.dataset.tensors[0][part.indices].numpy(),
            part.dataset.tensors[1][part.indices].numpy(),
        )
        for part in (data.train, data.val)
    )
    layers: list[Any] = [keras.layers.Embedding(data.n_words, 32)]
    if config["filters"]:
        layers.append(keras.layers.Conv1D(config["filters"], 3, padding="same", activation="relu"))
        layers.append(keras.layers.MaxPooling1D(2))
    layers += [
        keras.layers.LSTM(32),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(2e-3), "binary_crossentropy", metrics=["accuracy"])

    def report(epoch: int, logs: dict[str, float]) -> None:
        tune.report({"val_acc": logs["val_accuracy"], "val_loss": logs["val_loss"]})

    model.fit(
        x,
        y,
        batch_size=data.batch_size,
        epochs=config["epochs"],
        validation_data=(x_val, y_val),
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=report)],
    )


def comet_callbacks(folder: Path) -> list[Any]:
    """Ray's callback for Comet, writing archives into ``folder``, where Comet is installed."""
    if not installed("comet_ml"):
        print("comet-ml is not installed: nothing is logged there")
        return []
    os.environ.update(COMET_API_KEY="offline", COMET_LOGGING_CONSOLE="error")
    from ray.air.integrations.comet import CometLoggerCallback

    return [CometLoggerCallback(online=False, offline_directory=str(folder))]


def does_the_convolution_help(
    trainable: LightningTrainer | Callable[[dict[str, Any]], None],
    space: dict[str, Any],
    seeds: Sequence[int],
    place: tune.RunConfig,
) -> SeedResults:
    """The network with and without its convolution on the same seeds, and what they say."""
    results = SeedTuner(
        trainable,
        seeds=seeds,
        param_space={"filters": tune.grid_search([0, 32]), **space},
        tune_config=tune.TuneConfig(metric="val_acc", mode="max"),
        run_config=place,
    ).fit()
    print(results)
    print("\n".join(choice_sentences(results)))
    return results


def main(
    argv: Sequence[str] | None = None,
) -> tuple[dict[str, list[dict[str, float]]], SeedResults]:
    """Run the rounds, then ask the same question on several seeds.

    Returns:
        For each round what its trainings came to; and the results of the study over seeds.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_study_arguments(parser)
    parser.add_argument("--reviews", help="folder aclImdb of the Large Movie Review Dataset")
    parser.add_argument("--n-texts", type=int, default=3000)
    parser.add_argument("--length", type=int, default=24, help="words of a text that are read")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5, help="trainings in each round")
    parser.add_argument("--seed", type=int, default=47, help="of the rounds that fix it")
    parser.add_argument("--seeds", type=int, nargs="+", default=(47, 881, 2023, 7, 123456789))
    args = parser.parse_args(argv)

    try:
        texts = (
            docstring_texts(args.n_texts)
            if args.reviews is None
            else review_texts(args.reviews, args.n_texts)
        )
    except TextError as error:
        raise SystemExit(f"error: {error}") from None
    options = {"length": args.length}
    found = {}
    for name, fixed in rounds(args.seed).items():
        runs = (train_elsewhere(texts, fixed, args.epochs, options) for _ in range(args.repeats))
        found[name] = list(runs)
    print(round_table(found))

    print(f"\ndoes the convolution help? On {len(args.seeds)} seeds, in Lightning")
    place = run_config(args, "seeding_rounds")
    comet = Path(args.storage_path).expanduser() / f"{place.name}-comet"
    place.callbacks = comet_callbacks(comet)
    data = partial(TextDataModule, texts)
    trainer = LightningTrainer(TextNet, data, trainer_kwargs={"max_epochs": args.epochs})
    results = does_the_convolution_help(trainer, options, args.seeds, place)
    if place.callbacks:
        print(f"\nin Comet, to be sent by `comet upload {comet}/*.zip`")

    if not installed("keras"):
        print("\nKeras is not installed: its form of the model is left out")
    else:
        print(f"\ndoes it help? On {len(args.seeds)} seeds, in Keras on torch")
        function = tune.with_parameters(train_keras, texts=texts)
        space = {**options, "epochs": args.epochs}
        keras_place = tune.RunConfig(name=f"{place.name}-keras", storage_path=args.storage_path)
        does_the_convolution_help(function, space, args.seeds, keras_place)
    return found, results


if __name__ == "__main__":
    if sys.argv[1:2] == ["--job"]:
        do_job(sys.argv[2], sys.argv[4])
    else:
        main()
