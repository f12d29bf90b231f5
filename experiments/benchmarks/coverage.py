"""How often do the intervals of whole studies cover, after the race has chosen what is best?

python experiments/benchmarks/coverage.py --studies 200 --file coverage.jsonl    # some minutes
python experiments/benchmarks/coverage.py --studies 2000 --file coverage.jsonl --curves DIR

Every study is raced to its end and analysed as ``SeedResults`` does; then the intervals of what
came out best are held against the config's true mean: the interval of its own seeds (t), which does
not know that it was chosen, and that of the model of the whole study. Finished studies are appended
to the file, so a run that was stopped goes on where it was. On recorded curves the truth is the
mean over the seeds that the study did not see, whose own error is added to both ends.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

if __name__ == "__main__":  # run as a file, not as a module
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.race_method import RaceMethod
from benchmarks.tables import Table, read_tables, thin

from tune_seeds.analysis.study_model import expected_by_group
from tune_seeds.core.rungs import build_rungs
from tune_seeds.policies.adaptive import Adaptive
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.statistics.aggregate import get_aggregate
from tune_seeds.statistics.intervals import mean_interval, score_resolution
from tune_seeds.statistics.metric_range import MetricRange, seen_share

EPOCHS = (1, 3, 9)
ETA, N_FINALISTS = 3, 3
SPREADS = {"equal": 0.0, "close": 0.3, "spread": 1.0}
#: How far a config's value at each milestone lies from its end, in standard deviations of a seed.
EARLY = {1: 1.5, 3: 0.8, 9: 0.0}
KINDS = ("normal", "skewed", "heavy", "bounded", "discrete", "collapsing", "seeded")


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of study.

    Attributes:
        n_seeds: of the study.
        spread: of the configs, a key of ``SPREADS``, in standard deviations of a seed.
        log_sd: standard deviation over configs of the logarithm of a seed's standard deviation.
        kind: of the scores, one of ``KINDS``.
        policy: ``"adaptive"``, ``"ladder"`` or ``"all"``.
        n_configs: of the study.
        lasting: correlation of a run's luck at early epochs with its luck at the end.
    """

    n_seeds: int = 3
    spread: str = "spread"
    log_sd: float = 0.0
    kind: str = "normal"
    policy: str = "adaptive"
    n_configs: int = 40
    lasting: float = 0.7

    def __str__(self) -> str:
        return (
            f"{self.policy} K={self.n_seeds} {self.spread} log-sd {self.log_sd:g} {self.kind} "
            f"({self.n_configs} configs, lasting {self.lasting:g})"
        )


def make(cell: Cell, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Curves (config, seed, epoch) of one study, and the true mean of each config at the end."""
    n, k = cell.n_configs, cell.n_seeds
    quality = SPREADS[cell.spread] * rng.normal(size=n)
    sd = np.exp(cell.log_sd * rng.normal(size=n))
    shape = (n, k)
    if cell.kind == "bounded":
        # Accuracies near 0.98; a standard deviation of a seed is one point.
        truth = np.clip(0.98 + 0.01 * quality, 0.5, 0.995)
        s = np.minimum(0.01 * sd, 0.6 * np.sqrt(truth * (1 - truth)))
        total = truth * (1 - truth) / s**2 - 1
        last = rng.beta((truth * total)[:, None], ((1 - truth) * total)[:, None], size=shape)
        scale = 0.01
    else:
        noise = rng.normal(size=shape)
        if cell.kind == "skewed":
            noise = 1 - rng.exponential(size=shape)
        elif cell.kind == "heavy":
            noise = rng.standard_t(3, size=shape) / math.sqrt(3)
        last = quality[:, None] + sd[:, None] * noise
        truth, scale = quality, 1.0
        if cell.kind == "seeded":
            last = last + rng.normal(size=k)
        if cell.kind == "discrete":
            last = np.round(2 * last) / 2
            grid = np.arange(-60, 61) / 2
            edges = stats.norm.cdf((grid[:, None] + 0.25 - quality) / sd)
            truth = grid @ np.diff(edges, axis=0, prepend=0)
        if cell.kind == "collapsing":
            fell = rng.random(shape) < 0.1
            last = np.where(fell, -10.0, last)
            truth = 0.9 * quality - 1.0
    curves = np.empty((n, k, EPOCHS[-1]))
    for epoch in range(1, EPOCHS[-1] + 1):
        near = max(e for e in EPOCHS if e <= epoch)
        luck = last - truth[:, None]
        if epoch < EPOCHS[-1]:
            other = scale * sd[:, None] * rng.normal(size=shape)
            luck = cell.lasting * luck + math.sqrt(1 - cell.lasting**2) * other
        off = rng.normal(size=n)[:, None] * 0.7 + rng.normal(size=shape) * 0.7
        curves[:, :, epoch - 1] = truth[:, None] + luck + scale * EARLY[near] * off
    return curves, truth


def race(cell: Cell, curves: np.ndarray) -> RaceMethod:
    """Carry one study to its end."""
    policy = (
        Adaptive(EPOCHS, cell.n_seeds, ETA, N_FINALISTS)
        if cell.policy == "adaptive"
        else SuccessiveHalving(build_rungs(EPOCHS, cell.n_seeds, cell.policy), ETA, N_FINALISTS)
    )
    method = RaceMethod(curves.shape, policy)
    while (job := method.ask()) is not None:
        method.tell(job, curves[job.config, job.seed, job.start : job.stop].tolist())
    return method


class Ended(NamedTuple):
    """What became of one study.

    Attributes:
        t_inside: whether the interval of the best config's seeds holds its true mean.
        inside: whether that of the model does.
        t_width: of the first.
        width: of the second.
        flattery: mean of its seeds − true mean.
        left: estimate of the model − true mean.
    """

    t_inside: bool
    inside: bool
    t_width: float
    width: float
    flattery: float
    left: float


def ended(
    method: RaceMethod, truth: np.ndarray, error: np.ndarray, within: MetricRange | None
) -> Ended:
    """Hold the answer of a finished race against the truth.

    Args:
        method: raced to its end.
        truth: true mean of each config.
        error: how far the truth itself may be off.
        within: the range of the metric.
    """
    race = method.race
    race.aggregate = get_aggregate("mean")
    top = race.policy.rungs[-1]
    scored = {name: g.scores[top] for name, g in race.groups.items() if top in g.scores}
    best = max(scored, key=lambda name: scored[name])
    config = int(race.ledger.configs[best]["config"])
    values = [v for g in race.groups.values() for row in g.values.values() for v in row.values()]
    resolution = score_resolution(np.array(values))
    seeds = np.array(list(race.groups[best].values[top].values()))
    own = mean_interval(seeds, resolution=resolution)
    expected = expected_by_group(race, [best], within=within, resolution=resolution)[best]
    true, off = float(truth[config]), float(error[config])
    interval = expected.interval
    return Ended(
        own.low - off <= true <= own.high + off,
        interval.low - off <= true <= interval.high + off,
        own.high - own.low,
        interval.high - interval.low,
        float(seeds.mean()) - true,
        expected.estimate - true,
    )


def study(cell: Cell, repeat: int) -> Ended:
    """Make, race and judge one study; the same for the same arguments."""
    rng = np.random.default_rng([repeat, zlib.crc32(str(cell).encode())])
    curves, truth = make(cell, rng)
    within = MetricRange(0, 1) if cell.kind == "bounded" else None
    return ended(race(cell, curves), truth, np.zeros(len(truth)), within)


def cells() -> Iterator[Cell]:
    """The whole grid, the default study first, one thing changed at a time before two."""
    default = Cell()
    seen: dict[Cell, None] = {}
    axes: dict[str, tuple[Any, ...]] = {
        "n_seeds": (3, 2, 5, 10),
        "spread": tuple(SPREADS),
        "log_sd": (0.0, 0.5, 1.0),
        "kind": KINDS,
        "policy": ("adaptive", "ladder", "all"),
        "n_configs": (40, 12),
        "lasting": (0.7, 0.0, 1.0),
    }
    for name, values in axes.items():
        for value in values:
            for n_seeds in axes["n_seeds"]:
                seen[replace(default, **{"n_seeds": n_seeds, name: value})] = None
    main = list(axes)[:5]
    for values in itertools.product(*(axes[name] for name in main)):
        seen[Cell(**dict(zip(main, values, strict=True)))] = None
    yield from seen


def recorded(
    table: Table, within: MetricRange | None, n_seeds: int, policy: str, repeat: int
) -> Ended | None:
    """One study on recorded curves; None where too few seeds are left for a truth."""
    if table.n_seeds < n_seeds + 2 or table.n_configs < 4 or np.isnan(table.curves).any():
        return None
    rng = np.random.default_rng([repeat, zlib.crc32(table.name.encode())])
    configs = rng.permutation(table.n_configs)[:40]
    seeds = rng.permutation(table.n_seeds)
    whole = thin(table.curves[configs][:, seeds], EPOCHS[-1])
    held = whole[:, n_seeds:, -1]
    error = 1.96 * held.std(axis=1, ddof=1) / held.shape[1] ** 0.5
    cell = Cell(n_seeds=n_seeds, policy=policy, n_configs=len(whole))
    return ended(race(cell, whole[:, :n_seeds]), held.mean(axis=1), error, within)


def line(name: str, found: Sequence[Ended]) -> str:
    """One row of the table."""
    table = np.array(found, dtype=float)
    t, model = table[:, 0].mean(), table[:, 1].mean()
    error = math.sqrt(max(model * (1 - model), 0.25 / len(table)) / len(table))
    ratio = float(np.median(table[:, 3]) / np.median(table[:, 2]))
    return (
        f"{name:60}{len(table):6}{100 * t:7.1f}{100 * model:8.1f} ±{100 * error:4.1f}{ratio:8.2f}"
        f"{table[:, 4].mean():9.3g}{table[:, 5].mean():9.3g}"
    )


def main(argv: list[str] | None = None) -> None:
    """Print a row per kind of study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200, help="per cell; 2000 for a full run")
    parser.add_argument("--cells", type=int, default=64, help="how many of the grid, −1 for all")
    parser.add_argument("--file", type=Path, default=Path("coverage.jsonl"))
    parser.add_argument("--curves", type=Path, help="folder of recorded curves")
    args = parser.parse_args(argv)
    done: dict[tuple[str, int], Ended] = {}
    if args.file.exists():
        for text in args.file.read_text().splitlines():
            name, repeat, values = json.loads(text)
            done[name, repeat] = Ended(*values)
    jobs: list[tuple[str, Callable[[int], Ended | None]]] = [
        (str(cell), partial(study, cell))
        for cell in itertools.islice(cells(), None if args.cells < 0 else args.cells)
    ]
    for table in read_tables(args.curves) if args.curves else []:
        known = table.curves[np.isfinite(table.curves)]
        within = seen_share(table.name, known)
        for n_seeds, policy in itertools.product((2, 3, 5), ("adaptive", "all")):
            name = f"{table.name} {policy} K={n_seeds}"
            jobs.append((name, partial(recorded, table, within, n_seeds, policy)))
    print(f"{'':60}{'n':>6}{'t %':>7}{'model %':>8}{'':6}{'width':>8}{'flattery':>9}{'left':>9}")
    for name, make_one in jobs:
        found: list[Ended] = []
        for repeat in range(args.studies):
            if (name, repeat) not in done:
                one = make_one(repeat)
                if one is None:
                    break
                with args.file.open("a") as file:
                    file.write(json.dumps([name, repeat, one]) + "\n")
                done[name, repeat] = one
            found.append(done[name, repeat])
        if found:
            print(line(name, found), flush=True)


if __name__ == "__main__":
    main()
