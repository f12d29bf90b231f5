"""Recorded learning curves as tables: config × seed × epoch of a metric where higher is better.

Every reader keeps only configs that were run on all seeds of the table. A value is NaN from the
first epoch where a run diverged (a reported value is not finite) or was cut short (it has no more
reports). Nothing is filled in, and nothing is averaged over seeds.

Three kinds of folders are read: those of the public recordings named in ``READERS``, an experiment
of this package, and a folder that describes its file of curves in a ``table.toml``::

    file = "curves.csv.gz"      # a row per config, seed and epoch; CSV, TSV, Parquet, JSON lines
    config = ["lr", "width"]    # the columns that tell configs apart
    seed = "seed"
    epoch = "epoch"
    metric = "val_acc"
    mode = "max"                # or "min"
    name = "my table"           # optional, otherwise the folder's name
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from tune_seeds.core.ledger import Run, RunKey
from tune_seeds.results import SeedResults
from tune_seeds.store.study_spec import HEADER

#: Longer recordings are thinned to as many epochs: a power of 3, so that η = 3 divides it.
EPOCHS = 27


@dataclass(frozen=True, slots=True)
class Table:
    """Learning curves of a fixed set of configs, each trained on each seed.

    Attributes:
        name: names the source, and the task in it.
        curves: the metric after each epoch, higher is better; NaN once diverged or cut.
    """

    name: str
    curves: Float[np.ndarray, "config seed epoch"]

    @property
    def n_configs(self) -> int:
        """Number of configs."""
        return self.curves.shape[0]

    @property
    def n_seeds(self) -> int:
        """Number of seeds that every config has."""
        return self.curves.shape[1]

    @property
    def n_epochs(self) -> int:
        """Epochs of a full training."""
        return self.curves.shape[2]


def thin(curve: Float[np.ndarray, "*any epoch"], n_epochs: int = EPOCHS) -> np.ndarray:
    """Keep ``n_epochs`` equally spaced epochs, the last one included; shorter curves stay."""
    length = curve.shape[-1]
    if length <= n_epochs:
        return curve
    keep = np.ceil(np.arange(1, n_epochs + 1) * length / n_epochs).astype(int) - 1
    return curve[..., keep]


def nan_from_first(curves: Float[np.ndarray, "*any epoch"]) -> np.ndarray:
    """Every epoch after a non-finite one is NaN too: a diverged run does not come back."""
    bad = np.logical_or.accumulate(~np.isfinite(curves), axis=-1)
    return np.where(bad, np.nan, curves)


def stack(name: str, frame: pd.DataFrame, config: list[str], seed: str, value: str) -> Table:
    """Build a table from one row per (config, seed, epoch), sorted by epoch within a run.

    Configs that lack a seed of the table are left out; runs shorter than the longest one are NaN
    from their end on.
    """
    seeds = sorted(frame[seed].unique())
    length = int(frame.groupby([*config, seed]).size().max())
    rows = []
    for _, group in frame.groupby(config, sort=True):
        runs = {s: run[value].to_numpy(float) for s, run in group.groupby(seed)}
        if len(runs) == len(seeds):
            rows.append([_padded(runs[s], length) for s in seeds])
    return Table(name, thin(nan_from_first(np.array(rows))))


def read_digits_mlp(folder: Path) -> Iterator[Table]:
    """MLPs on scikit-learn's digits: 400 random configs × 16 seeds × 27 epochs, none diverged."""
    with np.load(folder / "curves.npz") as file:
        yield Table("digits_mlp", nan_from_first(file["acc"].astype(float)))


def read_mdp_playground(folder: Path) -> Iterator[Table]:
    """DQN, Rainbow and SAC on toy MDPs: 20, 20 and 5 configs × 10 seeds × about 20 iterations.

    Columns are taken by place: the config at places 4 and 5 (delay, sequence_length) or 9
    (target_radius), the seed and the mean reward counted from the end.
    """
    tasks = {
        "dqn": ("dqn_seq_del", [4, 5]),
        "rainbow": ("rainbow_seq_del", [4, 5]),
        "sac": ("sac_move_to_a_point_target_radius", [9]),
    }
    for name, (stem, config) in tasks.items():
        if not (folder / f"{stem}.txt.gz").is_file():
            continue
        # Every run repeats the header; it starts with "#".
        frame = pd.read_csv(folder / f"{stem}.txt.gz", sep=r"\s+", comment="#", header=None)
        frame = frame.rename(columns=str)
        width = frame.shape[1]
        seed, value = str(width - 4), str(width - 2)
        yield stack(name, frame, [str(c) for c in config], seed, value)


def read_hpo_rl_bench(folder: Path) -> Iterator[Table]:
    """PPO on Enduro (5 seeds) and Pong (3): a grid of 108 configs, 100 evaluations.

    Second recordings of a run (``rerun`` 1) are left out. The one run that was cut short, after 37
    evaluations, is NaN from there on.
    """
    frame = pd.read_csv(folder / "ppo_static.csv.gz")
    frame = frame[frame["rerun"] == 0].sort_values("eval_index")
    for env, part in frame.groupby("env"):
        name = str(env).split("-")[0].lower()
        yield stack(name, part, ["learning_rate_log10", "gamma", "clip"], "seed", "return_eval")


def read_algoperf(folder: Path) -> Iterator[Table]:
    """AlgoPerf v0.5: (framework, submission, point) configs × 3 or 5 studies, per workload.

    Evaluations are made at fixed time intervals, so they are the common axis. A run ends when it
    meets its target, and what it would have reached later is not known. No value is made up: the
    last epoch is the last evaluation that three quarters of the configs reach with every seed, and
    a config with a shorter run is left out.
    """
    frame = pd.read_csv(folder / "curves.csv.gz")
    modes = pd.read_csv(folder / "runs.csv").groupby("workload")["mode"].first()
    config = ["framework", "tuning", "submission", "hparam_point"]
    frame = frame.sort_values("eval_index")
    for workload, part in frame.groupby("workload"):
        sign = 1.0 if modes[workload] == "max" else -1.0
        part = part.assign(value=sign * part["validation_metric"])
        shortest = part.groupby([*config, "study"]).size().groupby(config).min()
        last = int(shortest.sort_values().iloc[len(shortest) // 4])
        kept = part.set_index(config).loc[shortest.index[shortest >= last]].reset_index()
        kept = kept[kept.groupby([*config, "study"]).cumcount() < last]
        yield stack(f"{workload}", kept, config, "study", "value")


def read_deepobs(folder: Path) -> Iterator[Table]:
    """DeepOBS baselines: the 3 configs with 10 seeds of each problem, by test accuracy or −loss.

    Epoch 0, before training, is left out. The other 105 learning rates of a problem have one seed.
    """
    frame = pd.read_csv(folder / "curves.csv.gz")
    frame = frame[frame["epoch"] > 0].sort_values("epoch")
    for problem, part in frame.groupby("testproblem"):
        has_accuracy = part["test_accuracy"].notna().any()
        part = part.assign(value=part["test_accuracy"] if has_accuracy else -part["test_loss"])
        yield stack(
            f"deepobs_{problem}", part, ["optimizer", "learning_rate"], "random_seed", "value"
        )


READERS: dict[str, Callable[[Path], Iterator[Table]]] = {
    "digits_mlp": read_digits_mlp,
    "mdp_playground": read_mdp_playground,
    "hpo_rl_bench": read_hpo_rl_bench,
    "algoperf_v05": read_algoperf,
    "deepobs_baselines": read_deepobs,
}


def read_experiment(folder: Path) -> Table:
    """The runs of an experiment of this package, as the curves of one table.

    Only configs whose every seed was trained to the study's last epoch can be replayed under
    another policy: what a stopped run would have reached is not known. Diverged and failed runs
    count as diverged.

    Raises:
        ValueError: fewer than two configs are complete.
    """
    results = SeedResults(str(folder))
    ledger = results.ledger
    last = max((run.last_epoch for run in ledger.values()), default=0)
    complete = [
        [ledger[RunKey(group, seed)] for seed in ledger.seeds]
        for group in results.race.groups
        if all(_has_ended(ledger.get(RunKey(group, seed)), last) for seed in ledger.seeds)
    ]
    if len(complete) < 2:
        raise ValueError(
            f"{folder} has {len(complete)} configs that were trained to epoch {last} on every "
            "seed, and only those can be replayed under another policy; a study without a "
            "scheduler trains all of its configs to the end"
        )
    # The metric may be due every few epochs only.
    epochs = sorted({epoch for runs in complete for run in runs for epoch in run.curve})
    curves = [[[run.curve.get(e, np.nan) for e in epochs] for run in runs] for runs in complete]
    return Table(folder.name, thin(nan_from_first(np.array(curves))))


def _has_ended(run: Run | None, last: int) -> bool:
    return run is not None and (run.last_epoch == last or run.error is not None)


def read_declared(folder: Path) -> Table:
    """The curves that a folder describes in its ``table.toml``.

    Raises:
        ValueError: an entry is missing, or names a column that the file has not.
        FileNotFoundError: the file of curves is missing.
    """
    declared: Mapping[str, Any] = tomllib.loads((folder / DECLARATION).read_text())
    needed = ("file", "config", "seed", "epoch", "metric", "mode")
    if missing := [key for key in needed if key not in declared]:
        raise ValueError(f"{folder / DECLARATION} lacks {', '.join(missing)}")
    if declared["mode"] not in ("min", "max"):
        raise ValueError(f"mode in {folder / DECLARATION} must be 'min' or 'max'")
    file = folder / declared["file"]
    if not file.is_file():
        raise FileNotFoundError(f"{folder / DECLARATION} names {file.name}, which is not there")
    frame = _read_frame(file)
    config, metric = list(declared["config"]), declared["metric"]
    columns = [*config, declared["seed"], declared["epoch"], metric]
    if unknown := [column for column in columns if column not in frame]:
        raise ValueError(
            f"{file} has no column {', '.join(map(repr, unknown))}; it has "
            f"{', '.join(map(repr, frame.columns))}"
        )
    sign = 1.0 if declared["mode"] == "max" else -1.0
    frame = frame.sort_values(declared["epoch"]).assign(**{metric: sign * frame[metric]})
    return stack(str(declared.get("name", folder.name)), frame, config, declared["seed"], metric)


#: The file in which a folder says what its columns mean.
DECLARATION = "table.toml"


def read_tables(folder: Path) -> list[Table]:
    """Read a folder of curves, or every such folder directly below it.

    Raises:
        FileNotFoundError: the folder is missing, or neither it nor any below it has curves.
        ValueError: a folder is described wrongly.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is no folder of recorded curves; without --curves the replay records a "
            "table of its own"
        )
    found = [table for one in (folder, *sorted(folder.iterdir())) for table in _tables_of(one)]
    if not found:
        raise FileNotFoundError(
            f"{folder} has none of the folders {', '.join(READERS)}, no experiment of this "
            f"package, and no folder with a {DECLARATION} (experiments/benchmarks/tables.py says "
            "what it holds)"
        )
    return found


def _tables_of(folder: Path) -> list[Table]:
    if (folder / DECLARATION).is_file():
        return [read_declared(folder)]
    if (folder / HEADER).is_file():
        return [read_experiment(folder)]
    if folder.is_dir() and folder.name in READERS:
        return list(READERS[folder.name](folder))
    return []


def _read_frame(file: Path) -> pd.DataFrame:
    if ".parquet" in file.suffixes:
        return pd.read_parquet(file)
    if ".jsonl" in file.suffixes:
        return pd.read_json(file, lines=True)
    return pd.read_csv(file, sep="\t" if ".tsv" in file.suffixes else ",")


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    return np.concatenate([values, np.full(length - len(values), np.nan)])
