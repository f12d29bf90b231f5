"""What does it cost to pause a run and to go on? Prints a table, in seconds.

    python experiments/benchmarks/pausing.py [--megabytes 0.5 100 500] [--workers 0 2] [--repeats 3]

A Lightning run of three epochs trains in this process, once through and once paused after its
first epoch, as a trial does it, without Ray. The parts: writing the state (*save*), ending the fit
and collecting what it leaves (*end*), and the way from the checkpoint to the first batch of the
next epoch (*resume*); beside them the way from nothing to the first batch of a new run (*start*).
The quickest of the repeats is shown.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from tune_seeds import LightningTrainer
from tune_seeds.training.trainable import Plan

_EPOCHS = 3


class Sized(lightning.LightningModule):
    """A module whose weights take a number of megabytes.

    Args:
        megabytes: of the weights.
    """

    def __init__(self, megabytes: float) -> None:
        super().__init__()
        n = max(int(megabytes * 1e6 / 4 / 8), 1)
        self.layer = torch.nn.Linear(8, n, bias=False)

    def training_step(self, batch: Any, batch_index: int) -> torch.Tensor:
        """The mean of what the layer makes of a batch."""
        return self.layer(batch[0]).pow(2).mean()

    def validation_step(self, batch: Any, batch_index: int) -> None:
        """Log a metric."""
        self.log("val/loss", self.layer(batch[0]).pow(2).mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """An optimizer without a state of its own."""
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class Numbers(lightning.LightningDataModule):
    """A few batches.

    Args:
        workers: of each loader.
    """

    def __init__(self, workers: int = 0) -> None:
        super().__init__()
        self.workers = workers

    def train_dataloader(self) -> DataLoader[Any]:
        """Four batches."""
        return DataLoader(TensorDataset(torch.ones(32, 8)), 8, num_workers=self.workers)

    def val_dataloader(self) -> DataLoader[Any]:
        """One batch."""
        return DataLoader(TensorDataset(torch.ones(8, 8)), 8, num_workers=self.workers)


class FirstBatch(lightning.Callback):
    """Notes in a file when batches begin; state of its own would have to be as before the pause.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def on_train_batch_start(self, *_: Any) -> None:
        """Note the time."""
        with open(self.path, "a") as file:
            file.write(f"{time.perf_counter()}\n")

    def seconds_since(self, began: float) -> float:
        """From then to the first batch that was noted, which are then forgotten."""
        first = float(Path(self.path).read_text().split()[0])
        Path(self.path).unlink()
        return first - began


class _Paused(BaseException):
    """As Ray pauses a run: in the report."""


def measure(megabytes: float, workers: int) -> dict[str, float]:
    """Seconds by part, and bytes written."""
    config = {"seed": 1, "megabytes": megabytes, "workers": workers}
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as beside:
        batches = FirstBatch(f"{beside}/batches")
        trainer = LightningTrainer(
            Sized, Numbers, trainer_kwargs={"max_epochs": _EPOCHS, "callbacks": [batches]}, gpus=0
        )

        def report(
            metrics: dict[str, float],
            save: Callable[[Path], None] | None,
            fingerprints: Mapping[str, str],
        ) -> None:
            if save is not None and "save" not in found:  # it is told of that epoch again
                began = time.perf_counter()
                save(Path(folder))
                found["save"] = time.perf_counter() - began
                raise _Paused

        def fit(checkpoint: Path | None) -> float:
            began = time.perf_counter()
            trainer.retrain(config, Plan(frozenset({1}), _EPOCHS), report, checkpoint)
            return began

        began = time.perf_counter()
        try:
            fit(None)
        except _Paused:
            paused = time.perf_counter()
        else:
            raise RuntimeError("the run was not paused")
        gc.collect()
        found["end"] = time.perf_counter() - paused
        found["start"] = batches.seconds_since(began)
        found["MB"] = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file()) / 1e6
        found["resume"] = batches.seconds_since(fit(Path(folder)))
    return found


def main(argv: list[str] | None = None) -> dict[tuple[float, int], dict[str, float]]:
    """Measure each size with each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, nargs="+", default=[0.5, 100.0, 500.0])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args(argv)
    found: dict[tuple[float, int], dict[str, float]] = {}
    print(f"{'weights, MB':>12}{'workers':>9}{'written, MB':>13}", end="")
    print("".join(f"{part:>9}" for part in ("start", "save", "end", "resume")))
    for megabytes in given.megabytes:
        for workers in given.workers:
            runs = [measure(megabytes, workers) for _ in range(given.repeats)]
            best = {part: min(run[part] for run in runs) for part in runs[0]}
            found[megabytes, workers] = best
            print(f"{megabytes:12g}{workers:9d}{best['MB']:13.1f}", end="")
            print("".join(f"{best[part]:9.2f}" for part in ("start", "save", "end", "resume")))
    return found


if __name__ == "__main__":
    main()
