"""Is SGD or AdamW better here, at which learning rate, and does the answer depend on the seed?

A full grid of two optimizers and two learning rates, every config to its end on every seed; then
the best configs on fresh seeds.

python experiments/compare_optimizers.py --dataset digits
python experiments/compare_optimizers.py --data-dir cifar-10-batches-py --train-size 4000
"""

from __future__ import annotations

import argparse
from datetime import datetime
from functools import partial
from pathlib import Path

from images import CIFAR10DataModule, DatasetError, DigitsDataModule
from models import LitClassifier
from ray import tune

from tune_seeds import LightningTrainer, SeedResults, SeedTuner

OPTIMIZERS = ("sgd", "adamw")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", choices=("cifar10", "digits"), default="cifar10")
    parser.add_argument("--data-dir", help="folder with CIFAR-10's python batches")
    parser.add_argument("--train-size", type=int, help="images to train on (default: all)")
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--rates", type=float, nargs=2, default=(0.003, 0.03), metavar="LR")
    parser.add_argument("--seeds", type=int, nargs="+", default=(47, 881, 123456789))
    parser.add_argument("--confirm", type=int, default=5, help="fresh seeds for the best two")
    parser.add_argument("--storage-path", default="~/ray_results")
    parser.add_argument("--name", help="folder of the study (default: data and time)")
    return parser.parse_args()


def show(results: SeedResults) -> None:
    """Print the ranking, the effect of each hyperparameter, and what the seeds say of it."""
    print(results)
    print("\neffect of each value, averaged over the other hyperparameter (± over seeds)")
    for name, rows in results.marginals().items():
        for row in rows:
            low, high = row.effect
            print(
                f"  {name}={row.value:8} mean {row.mean:.4f} ± {row.standard_error:.4f}; against "
                f"the average {(low + high) / 2:+.4f} (95 %: {low:+.4f} to {high:+.4f})"
            )
    effect = results.seed_effect()
    print("\ndoes the choice depend on the seed?")
    for choice in effect.choices:
        by_seed = ", ".join(
            f"{seed}: {' or '.join(best)}"
            for seed, best in zip(results.seeds, choice.by_seed, strict=True)
        )
        verdict = "the same on every seed" if choice.same else "not the same on every seed"
        print(f"  {choice.name}={choice.overall}, {verdict} ({by_seed})")
    print(f"  seeds agree on the ranking of configs: Kendall's W = {effect.kendalls_w:.2f}")
    shares = effect.variance
    print(
        f"  variance: {shares.config:.0%} config, {shares.seed:.0%} seed, "
        f"{shares.residual:.0%} the rest"
    )
    if effect.separation is not None:
        print(f"  to tell the first two apart: {effect.separation.caveat}")
        if effect.separation.total is not None:
            print(f"    {effect.separation.total} seeds in all")


def main() -> None:
    """Run the grid, show it, confirm it."""
    args = parse()
    data = DigitsDataModule if args.dataset == "digits" else CIFAR10DataModule
    channels = data.image_shape[0]
    if args.data_dir is not None:
        data = partial(data, data_dir=str(Path(args.data_dir).expanduser().absolute()))
    try:
        probe = data(train_size=args.train_size)
        probe.prepare_data()
        probe.setup("fit")
    except DatasetError as error:
        raise SystemExit(f"error: {error}") from None
    space = {
        "lr": tune.grid_search(list(args.rates)),
        "optimizer": tune.grid_search(list(OPTIMIZERS)),
        "in_channels": channels,
    }
    if args.train_size is not None:
        space["train_size"] = args.train_size
    name = args.name or f"{args.dataset}-optimizers-{datetime.now():%Y-%m-%d-%H-%M-%S}"
    trainer = LightningTrainer(LitClassifier, data, trainer_kwargs={"max_epochs": args.epochs})
    results = SeedTuner(
        trainer,
        seeds=args.seeds,
        param_space=space,
        tune_config=tune.TuneConfig(metric="val_acc", mode="max"),
        run_config=tune.RunConfig(name=name, storage_path=args.storage_path),
    ).fit()
    show(results)
    if args.confirm:
        print(f"\nthe best two on {args.confirm} fresh seeds")
        print(results.confirm(args.confirm, top=2, trainable=trainer))


if __name__ == "__main__":
    main()
