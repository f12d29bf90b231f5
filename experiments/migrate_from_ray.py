"""A study that was written for Ray's LightningTrainer and LightningConfigBuilder, as it is now.

Ray removed both classes at the end of 2023; `docs/guides/from-ray-tune.md` has the script as it was
before. What it did is kept: ASHA over HyperOpt's suggestions, metrics with slashes in their names,
a TensorBoard logger of Lightning's, and the two best checkpoints of each run by the metric.

    python experiments/migrate_from_ray.py

It takes 42 seconds on two cores. The best of 12 configs scored 0.925 ± 0.009 over three seeds, and
0.922 is expected on a fresh one. Of the test digits its first seed had 89 % right after the last
epoch, and the mean of the three seeds' predictions 97 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from images import DigitsDataModule
from lightning import LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.hyperopt import HyperOptSearch
from script_arguments import add_study_arguments, data_options, run_config
from torch import Tensor, nn
from torch.nn import functional

from tune_seeds import LightningTrainer, SeedResults, SeedTuner

METRIC = "ptl/val_accuracy"


class DigitClassifier(LightningModule):
    """Two hidden layers on flat images, as such scripts have them; nothing in it knows of Ray.

    Args:
        layer_1_size: units of the first hidden layer.
        layer_2_size: of the second.
        lr: learning rate of Adam.
        dropout: share of units dropped after each hidden layer; not searched, it keeps its default.
    """

    def __init__(
        self,
        layer_1_size: int = 128,
        layer_2_size: int = 256,
        lr: float = 1e-3,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, layer_1_size),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(layer_1_size, layer_2_size),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(layer_2_size, 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits of each image."""
        return self.net(images)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        loss = functional.cross_entropy(self(batch[0]), batch[1])
        self.log("ptl/train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Loss and accuracy, by names with a slash."""
        images, labels = batch
        logits = self(images)
        accuracy = (logits.argmax(1) == labels).float().mean()
        scores = {"ptl/val_loss": functional.cross_entropy(logits, labels), METRIC: accuracy}
        self.log_dict(scores, batch_size=len(labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def test_accuracy(net: nn.Module) -> float:
    """Share of the 297 digits that tuning never saw whose label comes first."""
    data = DigitsDataModule()
    data.setup("test")
    hits = [
        net(data.normalise(images)).argmax(1) == labels for images, labels in data.test_dataloader()
    ]
    return torch.cat(hits).float().mean().item()


def main(argv: Sequence[str] | None = None) -> SeedResults:
    """Run the study, and take out of it what such scripts take out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_study_arguments(parser)
    parser.add_argument("--train-size", type=int, help="images to train on (default: all)")
    parser.add_argument("--num-configs", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--seeds", type=int, nargs="+", default=(47, 881, 123456789))
    args = parser.parse_args(argv)

    place = run_config(args, "migrate_from_ray")
    logs = str(Path(args.storage_path).expanduser() / f"{place.name}-lightning")
    results = SeedTuner(
        LightningTrainer(
            DigitClassifier,
            DigitsDataModule,
            trainer_kwargs={
                "max_epochs": args.epochs,
                "callbacks": [
                    ModelCheckpoint(monitor=METRIC, mode="max", save_top_k=2, filename="{epoch}")
                ],
                "logger": lambda run: TensorBoardLogger(
                    logs, name=run.group, version=f"seed-{run.seed}", default_hp_metric=False
                ),
            },
        ),
        seeds=args.seeds,
        param_space={
            "layer_1_size": tune.choice([32, 64, 128]),
            "layer_2_size": tune.choice([64, 128, 256]),
            "lr": tune.loguniform(1e-4, 1e-1),
            **data_options(args),
        },
        tune_config=tune.TuneConfig(
            metric=METRIC,
            mode="max",
            num_samples=args.num_configs,
            search_alg=HyperOptSearch(random_state_seed=0),
            scheduler=ASHAScheduler(max_t=args.epochs, reduction_factor=3),
        ),
        run_config=place,
    ).fit()
    print(results)
    best = results.best
    print(f"\nthe two best checkpoints of each seed of {best.group}, by {METRIC}")
    for seed, files in best.model_checkpoints.items():
        print(f"  seed {seed}: {', '.join(Path(file).name for file in files)}")
    print("\nshare of right test digits")
    print(f"  last epoch, seed {results.seeds[0]}: {test_accuracy(best.load(DigitClassifier)):.4f}")
    chosen = best.load(DigitClassifier, epoch="best")
    print(f"  best epoch, the same seed: {test_accuracy(chosen):.4f}")
    everyone = best.load(DigitClassifier, "all")
    print(f"  mean of {len(results.seeds)} seeds' predictions: {test_accuracy(everyone):.4f}")
    print(f"\nLightning's own logs: tensorboard --logdir {logs}")
    return results


if __name__ == "__main__":
    main()
