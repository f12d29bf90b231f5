"""Record a table without any data folder: small networks on scikit-learn's digits, or made up."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from benchmarks.tables import EPOCHS, Table, nan_from_first
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier


def cache_folder() -> Path:
    """Where a recorded table is kept: the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tune_seeds"


def recorded_digits(
    folder: Path, n_configs: int = 120, n_seeds: int = 8, n_epochs: int = EPOCHS
) -> Table:
    """Validation accuracy of small networks on 300 digits; recorded once, then read back.

    Learning rate, width, batch size, penalty and optimizer are random. The split is fixed: a seed
    sets the initial weights and the order of the data. Takes some minutes the first time.
    """
    file = folder / f"sklearn_digits_{n_configs}x{n_seeds}x{n_epochs}.npz"
    if not file.exists():
        rng = np.random.default_rng(0)
        configs = [_random_config(rng=rng) for _ in range(n_configs)]
        curves = [[_train(c, seed, n_epochs) for seed in range(n_seeds)] for c in configs]
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(f".{os.getpid()}.npz")
        np.savez_compressed(unfinished, curves=np.array(curves))
        unfinished.replace(file)
    with np.load(file) as saved:
        return Table("sklearn_digits", nan_from_first(saved["curves"]))


def made_up(
    n_configs: int, n_seeds: int, n_epochs: int, *, rng: np.random.Generator, name: str = "made_up"
) -> Table:
    """Curves that rise at random rates to random heights, with noise from seed and epoch."""
    height = rng.beta(2, 2, size=(n_configs, 1, 1))
    rate = rng.uniform(0.1, 1.0, size=(n_configs, 1, 1))
    epochs = np.arange(1, n_epochs + 1)
    curves = height * (1 - np.exp(-rate * epochs))
    curves = curves + rng.normal(scale=0.05, size=(n_configs, n_seeds, 1))
    return Table(name, curves + rng.normal(scale=0.01, size=(n_configs, n_seeds, n_epochs)))


def _random_config(*, rng: np.random.Generator) -> dict[str, object]:
    return {
        "learning_rate_init": float(10 ** rng.uniform(-4.5, -0.5)),
        "hidden_layer_sizes": (int(rng.choice([8, 16, 32, 64, 128])),),
        "batch_size": int(rng.choice([16, 32, 64])),
        "alpha": float(10 ** rng.uniform(-6, 0)),
        "solver": str(rng.choice(["adam", "sgd"])),
    }


def _train(config: dict[str, object], seed: int, n_epochs: int) -> list[float]:
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(y))
    train, valid = order[:300], order[300:800]
    model = MLPClassifier(random_state=seed, **config)
    curve = []
    with np.errstate(all="ignore"):
        for _ in range(n_epochs):
            try:
                model.partial_fit(x[train] / 16, y[train], classes=range(10))
            except ValueError:  # scikit-learn's word for weights that are not finite any more
                curve += [np.nan] * (n_epochs - len(curve))
                break
            curve.append(float(model.score(x[valid] / 16, y[valid])))
    return curve
