"""How much does each source of randomness move the final accuracy, when it alone varies?

The usual checklist, one source at a time (Bouthillier et al. 2021, arXiv:2103.03098): the initial
weights, the order of batches, dropout, augmentation through Python's generator, the split, and an
evaluation that forgets eval(). Each has a stream of its own; a run's seed feeds the stream that
varies, and the others stay at 0. A small CNN on scikit-learn's digits.

    python experiments/sources_of_randomness.py
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from images import DigitsDataModule, crop
from lightning import LightningModule
from models import SmallCNN
from ray import tune
from scipy import stats
from script_arguments import add_study_arguments, data_options, run_config
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from tune_seeds import LightningTrainer, SeedResults, SeedTuner

#: What each stream feeds.
SOURCES = {
    "init": "initial weights",
    "order": "order of the training images",
    "dropout": "dropout masks",
    "augment": "shifts, by Python's generator",
    "split": "which images validate",
    "evaluation": "validation without eval()",
}
NOTHING, EVERYTHING = "nothing", "everything"


def stream(source: str, vary: str, seed: int) -> int:
    """The seed of a source's stream: the run's where the source varies, 0 where it is held fixed.

    ``evaluation`` does not count among everything, since it is a mistake and no source by nature.
    """
    varies = vary == source or (vary == EVERYTHING and source != "evaluation")
    return seed if varies else 0


class StreamDropout(nn.Module):
    """Dropout whose masks come from a generator of its own.

    Args:
        share: of the values that are dropped.
        seed: of the generator.
    """

    def __init__(self, share: float, seed: int) -> None:
        super().__init__()
        self.share = share
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, values: Tensor) -> Tensor:
        """Drop in training mode, and scale up what is left."""
        if not self.training:
            return values
        kept = torch.rand(values.shape, generator=self.generator) >= self.share
        return values * kept / (1 - self.share)


class StreamNet(LightningModule):
    """A small CNN whose weights and dropout masks come from streams of their own.

    Args:
        seed: of the run.
        vary: the source that the seed feeds.
    """

    def __init__(self, seed: int, vary: str) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(stream("init", vary, seed))
            self.network = SmallCNN(in_channels=1, width=8)
        self.network.blocks.append(StreamDropout(0.2, stream("dropout", vary, seed)))
        self.noisy: StreamDropout | None = None
        if vary == "evaluation":
            self.noisy = StreamDropout(0.2, seed)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(self.network(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Loss and accuracy; dropout stays on where the forgotten eval() is what varies."""
        images, labels = batch
        features = self.network.blocks(images)
        if self.noisy is not None:
            features = self.noisy.train()(features)
        logits = self.network.head(features.mean((2, 3)))
        accuracy = (logits.argmax(1) == labels).float().mean()
        scores = {"val_loss": functional.cross_entropy(logits, labels), "val_acc": accuracy}
        self.log_dict(scores, batch_size=len(labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=3e-3)


class StreamDigits(DigitsDataModule):
    """Digits whose split, order and shifts come from streams of their own.

    Args:
        seed: of the run.
        config: of the run, for the source that the seed feeds, which the module takes as well.
        train_size: images to train on; None takes all.
    """

    def __init__(self, seed: int, config: dict[str, Any], train_size: int | None = None) -> None:
        vary = config["vary"]
        super().__init__(train_size=train_size, split_seed=stream("split", vary, seed))
        self.order = torch.Generator().manual_seed(stream("order", vary, seed))
        self.shifts = random.Random(stream("augment", vary, seed))

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Batches in the order of the stream."""
        images = self._splits["train"]
        data = TensorDataset(images.images, images.labels)
        return DataLoader(data, self.batch_size, shuffle=True, generator=self.order)

    def augment(self, images: Tensor) -> Tensor:
        """Shift each image by a pixel at most, as Python's generator says."""
        top, left = (
            torch.tensor([self.shifts.randrange(2 * self.padding + 1) for _ in images])
            for _ in range(2)
        )
        return crop(images, top, left, torch.zeros(len(images), dtype=torch.bool), self.padding)


def table(results: SeedResults, level: float = 0.95) -> str:
    """A row for each source: spread of the accuracy over its seeds, and its share.

    The interval of a standard deviation is the χ² one, for normal scores. A share is the variance
    in units of that with all sources varying; the sources need not add up to it.
    """
    scores = {r.config["vary"]: np.array(list(r.scores.values())) for r in results}
    whole = float(np.var(scores[EVERYTHING], ddof=1))
    lines = [f"{'varies':34}{'mean':>9}{'std':>9}{f'{level:.0%} interval':>20}{'share':>8}"]
    for vary in (NOTHING, *SOURCES, EVERYTHING):
        values = scores[vary]
        n, variance = len(values), float(np.var(values, ddof=1))
        quantiles = stats.chi2.ppf([(1 + level) / 2, (1 - level) / 2], n - 1)
        low, high = np.sqrt((n - 1) * variance / quantiles)
        title = f"{vary}: {SOURCES[vary]}" if vary in SOURCES else vary
        share = f"{variance / whole:.0%}" if whole else "-"
        lines.append(
            f"{title:34}{values.mean():9.4f}{variance**0.5:9.4f}"
            f"{f'{low:.4f} to {high:.4f}':>20}{share:>8}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> SeedResults:
    """Train each source on every seed, and show the spreads."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_study_arguments(parser)
    parser.add_argument("--train-size", type=int, help="images to train on (default: all)")
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--num-seeds", type=int, default=15, help="drawn once, and recorded")
    args = parser.parse_args(argv)
    results = SeedTuner(
        LightningTrainer(
            StreamNet, StreamDigits, trainer_kwargs={"max_epochs": args.epochs}, pause="never"
        ),
        seeds=args.num_seeds,
        param_space={
            "vary": tune.grid_search([NOTHING, *SOURCES, EVERYTHING]),
            **data_options(args),
        },
        tune_config=tune.TuneConfig(metric="val_acc", mode="max"),
        run_config=run_config(args, "sources_of_randomness"),
    ).fit()
    print(f"the seeds: {', '.join(map(str, results.seeds))}\n")
    print(table(results))
    return results


if __name__ == "__main__":
    main()
