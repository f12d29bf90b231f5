"""Tune an image classifier on CIFAR-10, or on scikit-learn's digits, over a fixed list of seeds.

python experiments/tune_cifar.py --dataset digits
python experiments/tune_cifar.py --data-dir cifar-10-batches-py --train-size 4000
python experiments/tune_cifar.py --model resnet18 --epochs 27 --num-configs 40
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from images import CIFAR10DataModule, DatasetError, DigitsDataModule, ImageDataModule
from models import MODELS, LitClassifier
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from tune_seeds import CommonFailureError, LightningTrainer, NoCompleteGroupError, SeedTuner
from tune_seeds.engine.cluster import start_ray

DATASETS: dict[str, type[ImageDataModule]] = {
    "cifar10": CIFAR10DataModule,
    "digits": DigitsDataModule,
}
OPTIMIZERS = ["sgd", "adamw"]
LEARNING_RATES = (3e-4, 0.3)
BATCH_SIZES = [32, 64, 128]


def option(default: Any, help: str, **kwargs: Any) -> Any:
    """A dataclass field that becomes a command-line option."""
    return field(default=default, metadata={"help": help, **kwargs})


def seeds_at_rung(text: str) -> str | int:
    """One word of ``--seeds-per-rung``."""
    if text in ("adaptive", "all", "ladder"):
        return text
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number, 'adaptive', 'all' or 'ladder'")


def gpus(text: str) -> str | float:
    """The value of ``--gpus-per-run``."""
    try:
        return text if text == "auto" else float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor 'auto'") from error


@dataclass
class Arguments:
    """What the command line takes."""

    dataset: str = option("cifar10", "images to classify; digits need no files", choices=DATASETS)
    data_dir: str | None = option(
        None,
        "folder with CIFAR-10's python batches, at the same path on every node; "
        "None downloads them, 170 MB",
    )
    train_size: int | None = option(
        None, "images to train on; None takes all that are not for validation", type=int
    )
    model: str = option(
        "small_cnn", "small_cnn is made for CPUs, resnet18 for GPUs", choices=MODELS
    )
    epochs: int = option(9, "epochs of a full training, the top rung", type=int)

    seeds: tuple[int, ...] = option(
        (47, 881, 123456789), "seeds that every config is judged on", type=int, nargs="+"
    )
    num_seeds: int | None = option(
        None, "draw this many seeds, once, instead of taking --seeds", type=int
    )
    seeds_per_rung: str | tuple[int, ...] = option(
        "adaptive",
        "adaptive: the next epoch or seed where it is expected to gain most; all: every seed at "
        "every rung; ladder: one seed up to the last epoch, then all; or a number for each rung",
        type=seeds_at_rung,
        nargs="+",
    )

    num_configs: int = option(12, "configs to try", type=int)
    searcher: str = option(
        "hyperopt",
        "how configs are chosen; grid crosses learning rates with the two optimizers",
        choices=("hyperopt", "optuna", "random", "grid"),
    )
    search_seed: int = option(0, "seed of the search, apart from the seeds of the runs", type=int)
    reduction_factor: float = option(
        3.0, "of the configs at a rung one in so many goes on", type=float
    )
    grace_period: int = option(1, "epochs of the lowest rung", type=int)
    finalists: int = option(3, "configs that end with every epoch and every seed", type=int)

    cpus_per_run: float = option(1.0, "CPUs of a run, and its threads", type=float)
    gpus_per_run: str | float = option(
        "auto",
        "GPUs of a run, or of each of its workers; 0.25 puts four runs on each GPU; auto: one if "
        "the cluster has GPUs",
        type=gpus,
    )
    num_workers: int = option(
        1, "processes that train each run together, with DDP; each takes its CPUs and GPU", type=int
    )
    storage_path: str = option("~/ray_results", "where studies are kept; shared by all nodes")
    name: str | None = option(
        None, "folder of the study in there; None makes one of data, model and time"
    )
    ray_address: str | None = option(
        None, "cluster to join, such as auto; None starts Ray on this machine"
    )


def parse() -> tuple[Arguments, argparse.ArgumentParser]:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Tune an image classifier over a fixed list of random seeds.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    seeds = parser.add_mutually_exclusive_group()
    for f in fields(Arguments):
        target = seeds if f.name in ("seeds", "num_seeds") else parser
        target.add_argument(f"--{f.name.replace('_', '-')}", default=f.default, **f.metadata)
    args = Arguments(**vars(parser.parse_args()))
    args.seeds = tuple(args.seeds)
    if not isinstance(args.seeds_per_rung, str):
        if len(args.seeds_per_rung) == 1 and isinstance(args.seeds_per_rung[0], str):
            args.seeds_per_rung = args.seeds_per_rung[0]
        elif all(isinstance(count, int) for count in args.seeds_per_rung):
            args.seeds_per_rung = tuple(args.seeds_per_rung)
        else:
            parser.error("--seeds-per-rung takes either one word or numbers")
    if args.dataset == "digits" and args.data_dir is not None:
        parser.error("--data-dir is for cifar10; the digits come with scikit-learn")
    if args.searcher == "grid" and args.num_configs % len(OPTIMIZERS):
        parser.error(
            f"--searcher grid crosses learning rates with {len(OPTIMIZERS)} optimizers: "
            f"--num-configs {args.num_configs} must be a multiple of {len(OPTIMIZERS)}"
        )
    return args, parser


def data_module(args: Arguments) -> Callable[..., ImageDataModule]:
    """The data module's constructor, told where the files are.

    That is no hyperparameter, so it stays out of the configs, which other machines may read.
    """
    if args.data_dir is None:
        return DATASETS[args.dataset]
    # A run's working directory is its own folder, where a relative path would lead nowhere.
    return partial(CIFAR10DataModule, data_dir=str(Path(args.data_dir).expanduser().absolute()))


def search_space(args: Arguments) -> dict[str, Any]:
    """What is searched, and what is the same for every config."""
    space: dict[str, Any] = {
        "model_name": args.model,
        "in_channels": DATASETS[args.dataset].image_shape[0],
    }
    if args.train_size is not None:
        space["train_size"] = args.train_size
    if args.searcher == "grid":
        n_rates = args.num_configs // len(OPTIMIZERS)
        rates = [float(rate) for rate in np.geomspace(*LEARNING_RATES, n_rates + 2)[1:-1]]
        return space | {
            "lr": tune.grid_search(rates),
            "optimizer": tune.grid_search(OPTIMIZERS),
        }
    return space | {
        "lr": tune.loguniform(*LEARNING_RATES),
        "optimizer": tune.choice(OPTIMIZERS),
        "weight_decay": tune.loguniform(1e-6, 1e-2),
        "batch_size": tune.choice(BATCH_SIZES),
    }


def search_algorithm(args: Arguments) -> Any:
    """Ray's searcher; None where Ray itself draws at random or walks the grid."""
    # By default both draw their first 10 or 20 configs blindly, which is all of a small study.
    n_blind = max(3, args.num_configs // 4)
    if args.searcher == "hyperopt":
        from ray.tune.search.hyperopt import HyperOptSearch

        return HyperOptSearch(random_state_seed=args.search_seed, n_initial_points=n_blind)
    if args.searcher == "optuna":
        from optuna.samplers import TPESampler
        from ray.tune.search.optuna import OptunaSearch

        return OptunaSearch(sampler=TPESampler(seed=args.search_seed, n_startup_trials=n_blind))
    return None


def main() -> None:
    """Tune, then say what came out and where it lies."""
    args, parser = parse()
    datamodule = data_module(args)
    try:
        # Once here, before many runs fail at it; it also downloads before the clock of runs starts.
        data = datamodule(train_size=args.train_size, batch_size=max(BATCH_SIZES))
        data.prepare_data()
        data.setup("fit")
    except DatasetError as error:
        parser.exit(1, f"error: {error}\n")
    except ValueError as error:
        parser.error(str(error))
    del data

    if args.ray_address is not None:
        try:
            start_ray(args.ray_address)
        except (ConnectionError, ValueError) as error:
            parser.exit(1, f"error: {error}\n")
    name = args.name or f"{args.dataset}-{args.model}-{datetime.now():%Y-%m-%d-%H-%M-%S}"
    try:
        tuner = SeedTuner(
            LightningTrainer(
                LitClassifier,
                datamodule,
                trainer_kwargs={"max_epochs": args.epochs},
                cpus=args.cpus_per_run,
                gpus=args.gpus_per_run,
                num_workers=args.num_workers,
            ),
            seeds=args.seeds if args.num_seeds is None else args.num_seeds,
            param_space=search_space(args),
            tune_config=tune.TuneConfig(
                metric="val_acc",
                mode="max",
                num_samples=1 if args.searcher == "grid" else args.num_configs,
                search_alg=search_algorithm(args),
                scheduler=ASHAScheduler(
                    max_t=args.epochs,
                    grace_period=args.grace_period,
                    reduction_factor=args.reduction_factor,
                ),
            ),
            run_config=tune.RunConfig(name=name, storage_path=args.storage_path),
            seeds_per_rung=args.seeds_per_rung,
            search_seed=args.search_seed,
            n_finalists=args.finalists,
        )
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))
    try:
        results = tuner.fit()
    except (CommonFailureError, ConnectionError, ValueError) as error:
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        parser.exit(1, f"error: {error}{notes}\n")

    try:
        best = results.best
    except NoCompleteGroupError as error:
        parser.exit(1, f"error: {error}\n")
    print(results)
    print("\nbest config")
    for key, value in best.config.items():
        print(f"  {key}: {value}")
    print("\nits checkpoints")
    for seed, checkpoint in best.checkpoints.items():
        where = "none was kept" if checkpoint is None else checkpoint.path
        print(f"  seed {seed}, val_acc {best.scores[seed]:.4f}: {where}")
    print(f"\ntensorboard --logdir {shlex.quote(str(results.path))}")


if __name__ == "__main__":
    main()
