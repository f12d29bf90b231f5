"""Real training on a real local Ray, at equal epochs: what does each way of searching choose?

python experiments/benchmarks/live.py --cache live.jsonl                # goes on where it stopped
python experiments/benchmarks/live.py --cache live.jsonl --repeats 20   # adds the missing repeats

Small networks on scikit-learn's digits. Each method is stopped at the same number of epochs; the
config that it would answer with then is trained on fresh seeds, which no search has seen.

``RESULTS.md`` has what it was seen to show.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import Repeater
from ray.tune.search.hyperopt import HyperOptSearch
from sklearn.datasets import load_digits

from tune_seeds import SeedTuner, load_rng_state, save_rng_state, should_checkpoint

EPOCHS, N_SEEDS = 9, 3
FRESH = tuple(range(1_000_000, 1_000_020))
SPACE = {
    "lr": tune.loguniform(1e-4, 1.0),
    "width": tune.choice([4, 8, 16, 32, 64, 128]),
    "optimizer": tune.choice(["sgd", "adam"]),
    "dropout": tune.uniform(0.0, 0.8),
    "weight_decay": tune.loguniform(1e-6, 1e-1),
}
Config = dict[str, Any]


def data() -> tuple[torch.Tensor, ...]:
    """300 digits to train on and 800 to validate on; one fixed split."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(labels))
    x = torch.tensor(images[order] / 16, dtype=torch.float32)
    y = torch.tensor(labels[order])
    return x[:300], y[:300], x[300:1100], y[300:1100]


class Training:
    """One network and its optimizer; ``config["seed"]`` sets weights, order and dropout."""

    def __init__(self, config: Config) -> None:
        torch.set_num_threads(1)
        self.data = data()
        torch.manual_seed(config["seed"])
        self.net = torch.nn.Sequential(
            torch.nn.Linear(64, config["width"]),
            torch.nn.ReLU(),
            torch.nn.Dropout(config["dropout"]),
            torch.nn.Linear(config["width"], 10),
        )
        parameters, decay = self.net.parameters(), config["weight_decay"]
        if config["optimizer"] == "sgd":
            self.optimizer: torch.optim.Optimizer = torch.optim.SGD(
                parameters, lr=config["lr"], momentum=0.9, weight_decay=decay
            )
        else:
            self.optimizer = torch.optim.AdamW(parameters, lr=config["lr"], weight_decay=decay)

    def epoch(self) -> float:
        """Train one epoch; the accuracy after it."""
        x, y, x_valid, y_valid = self.data
        self.net.train()
        for batch in torch.randperm(len(x)).split(32):
            self.optimizer.zero_grad()
            torch.nn.functional.cross_entropy(self.net(x[batch]), y[batch]).backward()
            self.optimizer.step()
        self.net.eval()
        with torch.no_grad():
            return float((self.net(x_valid).argmax(dim=1) == y_valid).float().mean())


def train(config: Config) -> None:
    """For SeedTuner: can be paused where it asks for a checkpoint."""
    training, first = Training(config), 1
    if (checkpoint := tune.get_checkpoint()) is not None:
        with checkpoint.as_directory() as folder:
            state = torch.load(Path(folder) / "state.pt", weights_only=True)
            training.net.load_state_dict(state["net"])
            training.optimizer.load_state_dict(state["optimizer"])
            first = state["epoch"] + 1
            load_rng_state(folder)
    for epoch in range(first, EPOCHS + 1):
        metrics = {"epoch": epoch, "accuracy": training.epoch()}
        if not should_checkpoint(epoch):
            tune.report(metrics)
            continue
        with tempfile.TemporaryDirectory() as folder:
            state = {
                "net": training.net.state_dict(),
                "optimizer": training.optimizer.state_dict(),
                "epoch": epoch,
            }
            torch.save(state, Path(folder) / "state.pt")
            save_rng_state(folder)
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def train_whole(config: Config, seeds: tuple[int, ...]) -> None:
    """For Ray's Repeater, which tells a run its number among the repeats."""
    training = Training({**config, "seed": seeds[config["__trial_index__"]]})
    for epoch in range(1, EPOCHS + 1):
        tune.report({"epoch": epoch, "accuracy": training.epoch()})


class StopAt(tune.Callback):
    """Interrupts a study, as Ctrl-C does, once its runs have reported so many epochs."""

    def __init__(self, budget: int) -> None:
        self._left = budget

    def on_trial_result(self, *args: Any, **info: Any) -> None:
        self._left -= 1
        if self._left == 0:
            signal.raise_signal(signal.SIGINT)


class Budget(tune.Stopper):
    """The same for a plain Tuner; Ray keeps no record of runs that it cuts short, this does."""

    def __init__(self, budget: int) -> None:
        self.spent = 0
        self._budget = budget

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.spent += 1
        return False

    def stop_all(self) -> bool:
        return self.spent >= self._budget


class Heard(HyperOptSearch):
    """Keeps the means that it is told, to choose the best of them."""

    def setup(self) -> dict[str, tuple[Config, float]]:
        return self.__dict__.setdefault("heard", {})

    def suggest(self, trial_id: str) -> Any:
        config = super().suggest(trial_id)
        self.setup()[trial_id] = (config, -np.inf)
        return config

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        super().on_trial_complete(trial_id, result, error)
        if result and np.isfinite(result["accuracy"]):
            self.setup()[trial_id] = (self.setup()[trial_id][0], result["accuracy"])


def search_seeds(repeat: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng((7, repeat)).choice(10**6, N_SEEDS, replace=False).tolist())


def with_seed_tuner(searcher: Any, repeat: int, budget: int, folder: str) -> tuple[Config, int]:
    """This package with its default policy."""
    results = SeedTuner(
        train,
        seeds=search_seeds(repeat),
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=budget,  # more than the budget can start
            search_alg=searcher,
            scheduler=ASHAScheduler(time_attr="epoch", max_t=EPOCHS, reduction_factor=3),
        ),
        run_config=tune.RunConfig(
            name="study", storage_path=folder, callbacks=[StopAt(budget)], verbose=0
        ),
        search_seed=repeat,
    ).fit()
    spent = sum(run.last_epoch for run in results.ledger.values())
    return results.best.config, spent


def with_repeater(repeat: int, budget: int, folder: str) -> tuple[Config, int]:
    """Ray's own way to several seeds: every config is trained fully on each, then averaged."""
    space = HyperOptSearch.convert_search_space(SPACE)
    searcher = Heard(space, metric="accuracy", mode="max", random_state_seed=repeat)
    stopper = Budget(budget)
    tune.Tuner(
        partial(train_whole, seeds=search_seeds(repeat)),
        tune_config=tune.TuneConfig(
            num_samples=budget,
            search_alg=Repeater(searcher, repeat=N_SEEDS),
            metric="accuracy",
            mode="max",
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name="study", storage_path=folder, stop=stopper, verbose=0),
    ).fit()
    config, mean = max(searcher.setup().values(), key=lambda item: item[1])
    if not np.isfinite(mean):
        raise SystemExit(f"--epochs-budget {budget}: Repeater finished no config; give more")
    return config, stopper.spent


def run(method: str, repeat: int, budget: int) -> tuple[Config, int]:
    """One search; the chosen config, and the epochs that were trained for it."""
    with tempfile.TemporaryDirectory() as folder:
        if method == "HyperOpt + Repeater":
            return with_repeater(repeat, budget, folder)
        searcher = None if method == "random" else HyperOptSearch(random_state_seed=repeat)
        return with_seed_tuner(searcher, repeat, budget, folder)


METHODS = ("HyperOpt", "random", "HyperOpt + Repeater")


def fresh_scores(config: Config) -> list[float]:
    """The accuracy after the last epoch on each of the fresh seeds, trained in a plain loop."""
    scores = []
    for seed in FRESH:
        training = Training({**config, "seed": seed})
        scores.append([training.epoch() for _ in range(EPOCHS)][-1])
    return scores


def read(file: Path, budget: int) -> Iterator[dict[str, Any]]:
    """What is done already at this budget."""
    if file.exists():
        for line in file.read_text().splitlines():
            record = json.loads(line)
            if record["budget"] == budget:
                yield record


def show(records: list[dict[str, Any]], budget: int) -> None:
    """One row per method; the regret is to the best config that any method ever chose."""
    mean = {(r["method"], r["repeat"]): float(np.mean(r["fresh"])) for r in records}
    best = max(mean.values())
    print(f"{budget} epochs, {len(FRESH)} fresh seeds; in %")
    print(f"{'method':22}{'repeats':>8}{'accuracy':>16}{'regret':>16}{'epochs':>8}{'s each':>8}")
    for method in METHODS:
        own = [r for r in records if r["method"] == method]
        if not own:
            continue
        scores = 100 * np.array([mean[method, r["repeat"]] for r in own])
        error = scores.std(ddof=1) / len(own) ** 0.5 if len(own) > 1 else float("nan")
        accuracy = f"{scores.mean():.2f} ± {error:.2f}"
        regret = f"{100 * best - scores.mean():.2f} ± {error:.2f}"
        epochs, seconds = (np.mean([r[key] for r in own]) for key in ("epochs", "seconds"))
        print(f"{method:22}{len(own):8}{accuracy:>16}{regret:>16}{epochs:8.0f}{seconds:8.0f}")


def main(argv: list[str] | None = None) -> None:
    """Run what the cache lacks, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="JSON lines, one per search")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--epochs-budget", type=int, default=360)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs trained at once")
    args = parser.parse_args(argv)
    budget = args.epochs_budget
    if budget < N_SEEDS * EPOCHS:
        parser.error(f"--epochs-budget must be at least {N_SEEDS * EPOCHS}, one full config")
    if not ray.is_initialized():
        ray.init(num_cpus=args.jobs, include_dashboard=False, log_to_driver=False)
    done = {(r["method"], r["repeat"]): r for r in read(args.cache, budget)}
    for repeat in range(args.repeats):
        for method in METHODS:
            if (method, repeat) in done:
                continue
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what Ray interrupts
                config, epochs = run(method, repeat, budget)
            record = {
                "method": method,
                "repeat": repeat,
                "budget": budget,
                "config": config,
                "epochs": epochs,
                "seconds": time.perf_counter() - start,
                "fresh": fresh_scores(config),
            }
            done[method, repeat] = record
            with args.cache.open("a") as stream:
                print(json.dumps(record, default=float), file=stream, flush=True)
            print(f"{method}, repeat {repeat}: {record['seconds']:.0f} s", flush=True)
    show([r for r in done.values() if r["repeat"] < args.repeats], budget)


if __name__ == "__main__":
    main()
