"""What the scripts share: which images they train on, where their study lies, what is optional."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from images import CIFAR10DataModule, DatasetError, DigitsDataModule, ImageDataModule
from ray import tune

DATASETS: dict[str, type[ImageDataModule]] = {
    "cifar10": CIFAR10DataModule,
    "digits": DigitsDataModule,
}


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--dataset``, ``--data-dir`` and ``--train-size`` to a command line."""
    parser.add_argument(
        "--dataset", choices=DATASETS, default="digits", help="digits need no files (default)"
    )
    parser.add_argument(
        "--data-dir", help="folder with CIFAR-10's python batches; downloaded without it, 170 MB"
    )
    parser.add_argument("--train-size", type=int, help="images to train on (default: all)")


def add_study_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--storage-path`` and ``--name`` to a command line."""
    parser.add_argument("--storage-path", default="~/ray_results", help="where studies are kept")
    parser.add_argument("--name", help="folder of the study in there (default: script and time)")


def data_module(
    args: argparse.Namespace,
    kinds: Mapping[str, type[ImageDataModule]] = DATASETS,
    **options: Any,
) -> Callable[..., ImageDataModule]:
    """The data module's constructor for the chosen images, after reading them once.

    Where the files lie is no hyperparameter, so it stays out of the configs.

    Args:
        args: with what ``add_image_arguments`` added.
        kinds: the class for each name of a data set.
        options: what else it will be given, such as ``batch_size``; tried here, not kept.

    Raises:
        SystemExit: the images can't be read, or are fewer than asked for; the message says why.
    """
    kind: Callable[..., ImageDataModule] = kinds[args.dataset]
    if args.data_dir is not None:
        if args.dataset == "digits":
            raise SystemExit("error: --data-dir is for --dataset cifar10; digits need no files")
        # A run's working directory is its own folder, where a relative path would lead nowhere.
        kind = partial(kind, data_dir=str(Path(args.data_dir).expanduser().absolute()))
    try:
        # Once here, before many runs fail at it; and whatever has to be downloaded, only once.
        probe = kind(**data_options(args), **options)
        probe.prepare_data()
        probe.setup("fit")
    except (DatasetError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
    return kind


def data_options(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of the data module: nothing, or ``train_size``."""
    return {} if args.train_size is None else {"train_size": args.train_size}


def run_config(args: argparse.Namespace, script: str, **kwargs: Any) -> tune.RunConfig:
    """The study's place; ``script`` and the time name it where the user did not."""
    name = args.name or f"{script}-{datetime.now():%Y-%m-%d-%H-%M-%S}"
    return tune.RunConfig(name=name, storage_path=args.storage_path, **kwargs)


def installed(package: str) -> bool:
    """Whether an optional package can be imported here."""
    return importlib.util.find_spec(package) is not None
