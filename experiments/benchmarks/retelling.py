"""What should a searcher be told of a config that is scored again, higher up? A comparison.

python experiments/benchmarks/retelling.py                 # made-up landscapes
python experiments/benchmarks/retelling.py --curves DIR    # and recorded curves of digits_mlp

The race, the policy, HyperOpt and Optuna are the real ones; only training is looked up. ``once``:
the score at the lowest rung, never again. ``one scale``: what the package does. ``newest``: the
newest score as it is, whatever its rung. ``rung first``: ranks by highest rung, then by score.
"""

from __future__ import annotations

import argparse
import ast
import statistics
import sys
import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from ray import tune
from ray.tune.search import Searcher
from ray.tune.search.hyperopt import HyperOptSearch
from ray.tune.search.optuna import OptunaSearch

if __name__ == "__main__":  # run as a file, not as a module
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tune_seeds.adaptive import Adaptive
from tune_seeds.journal import identity
from tune_seeds.ledger import Ledger, RunKey
from tune_seeds.policy import Policy, SuccessiveHalving
from tune_seeds.race import Decision, Race
from tune_seeds.rungs import build_rungs, milestones
from tune_seeds.telling import Lesson, Teller, lessons

EPOCHS, ETA, N_SEEDS = 27, 3, 3
BUDGETS = (10, 20, 40)
WORLDS = {"even": (0.0, 0.0), "misleading": (0.35, 0.0), "sinking": (0.0, 2.0)}
Config = dict[str, Any]


def once(race: Race) -> dict[str, Lesson]:
    return _revalued(race, lambda lesson: lesson.scores[1])


def newest(race: Race) -> dict[str, Lesson]:
    return _revalued(race, lambda lesson: lesson.scores[max(lesson.scores)])


def rung_first(race: Race) -> dict[str, Lesson]:
    found = lessons(race)
    places = {n: max(x.scores.items()) for n, x in found.items() if x.value is not None}
    rank = {name: k for k, name in enumerate(sorted(places, key=places.__getitem__))}
    return {n: x._replace(value=float(rank[n]) if n in rank else None) for n, x in found.items()}


def _revalued(race: Race, value: Callable[[Lesson], float]) -> dict[str, Lesson]:
    return {
        name: lesson if lesson.value is None else lesson._replace(value=value(lesson))
        for name, lesson in lessons(race).items()
    }


TOLD: dict[str, Callable[[Race], Mapping[str, Lesson]]] = {
    "once": once,
    "one scale": lessons,
    "newest": newest,
    "rung first": rung_first,
}


@dataclass(frozen=True)
class World:
    """Something to search.

    Attributes:
        space: for the searcher.
        snap: the config that a suggestion stands for.
        value: config, seed, epoch → score.
        regret: of a config, in % of (best − median).
    """

    space: dict[str, Any]
    snap: Callable[[Config], Config]
    value: Callable[[Config, int, int], float]
    regret: Callable[[Config], float]


def made_up(shift: float, fall: float, seed: int) -> World:
    """Four numbers; the best start lies ``shift`` from the best end, and scores sink by ``fall``.

    Scores that sink while all train are those of a metric that overfits.
    """
    rng = np.random.default_rng(seed)
    best = rng.uniform(0.2, 0.8, size=4)
    way = rng.normal(size=4)
    early = best + shift * way / np.linalg.norm(way)
    weight = np.array([4.0, 2.0, 1.0, 0.3])

    def end(x: np.ndarray) -> float:
        return -float((weight * (x - best) ** 2).sum())

    def value(config: Config, seed_: int, epoch: int) -> float:
        x = np.array([config[name] for name in "abcd"])
        done = 1 - 0.85 ** (epoch - 1)
        start = -float((weight * (x - early) ** 2).sum()) - 1.0
        noise = np.random.default_rng((zlib.crc32(x.tobytes()), seed, seed_))
        run, step = noise.normal(), noise.normal(size=EPOCHS)[epoch - 1]
        level = done * end(x) + (1 - done) * start - fall * epoch / EPOCHS
        return level + 0.05 * run + 0.02 * step

    sample = np.array([end(x) for x in rng.uniform(size=(1000, 4))])
    scale = -float(np.median(sample))
    space = {name: tune.uniform(0, 1) for name in "abcd"}
    return World(
        space, dict, value, lambda c: min(100, -100 * end(np.array(list(c.values()))) / scale)
    )


def recorded(folder: Path, seed: int) -> World:
    """The digits networks: a suggestion stands for the nearest of the recorded configs."""
    with np.load(folder / "digits_mlp" / "curves.npz") as file:
        curves, texts = file["acc"].astype(float), file["cfgs"]
    configs = [ast.literal_eval(str(text)) for text in texts]
    axes: dict[str, Any] = {
        "lr": tune.loguniform(*_ends(configs, "lr")),
        "wd": tune.loguniform(*_ends(configs, "wd")),
        "dropout": tune.uniform(*_ends(configs, "dropout")),
        **{
            k: tune.choice(sorted({c[k] for c in configs}))
            for k in ("batch", "hidden", "opt", "noise")
        },
    }

    def place(config: Config) -> np.ndarray:
        point = []
        for name, domain in axes.items():
            if isinstance(domain, tune.search.sample.Categorical):
                point += [0.7 * (config[name] == category) for category in domain.categories]
            else:
                log = name in ("lr", "wd")
                low, high, x = (
                    np.log(v) if log else v for v in (domain.lower, domain.upper, config[name])
                )
                point.append(
                    2.0 * (x - low) / (high - low) if name == "lr" else (x - low) / (high - low)
                )
        return np.array(point)

    places = np.array([place(config) for config in configs])
    order = np.random.default_rng(seed).permutation(curves.shape[1])
    shown, hidden = order[:N_SEEDS], order[N_SEEDS:]
    last = curves[:, hidden, -1].mean(axis=1)
    best = int(curves[:, :, -1].mean(axis=1).argmax())
    scale = float(last[best] - np.median(last))

    def snap(config: Config) -> Config:
        return {"row": int(((places - place(config)) ** 2).sum(axis=1).argmin())}

    return World(
        axes,
        snap,
        lambda config, s, epoch: float(curves[config["row"], shown[s], epoch - 1]),
        lambda config: min(100.0, 100 * float(last[best] - last[config["row"]]) / scale),
    )


def _ends(configs: list[Config], name: str) -> tuple[float, float]:
    values = [config[name] for config in configs]
    return min(values), max(values) * (1 + 1e-9)


def make_policy(kind: str) -> Policy:
    epochs = milestones(EPOCHS, 1, ETA)
    if kind == "adaptive":
        return Adaptive(epochs, N_SEEDS, ETA, 1000)
    return SuccessiveHalving(build_rungs(epochs, N_SEEDS, "ladder"), ETA, 1000)


def make_searcher(kind: str, seed: int) -> Searcher:
    if kind == "hyperopt":
        return HyperOptSearch(random_state_seed=seed)
    return OptunaSearch(seed=seed)


def search(world: World, policy: Policy, searcher: Searcher, told: str) -> list[float]:
    """The regret of who leads when each budget, in full trainings, is spent; one slot."""
    race = Race(Ledger(range(N_SEEDS), "value", "max"), policy, statistics.fmean)
    searcher.set_search_properties("value", "max", dict(world.space))
    teller = Teller(searcher, policy.rungs, "value")
    names: dict[str, str] = {}
    groups: dict[bytes, str] = {}
    trained: dict[RunKey, int] = {}
    spent, answers = 0, list[float]()
    while True:
        race.promote_next()
        if race.news:
            race.news.clear()
            now = TOLD[told](race)
            for name, group in names.items():
                if group in now:
                    teller.tell(name, now[group])
        while not race.queue:
            name = f"c{len(names)}"
            config = world.snap(searcher.suggest(name))
            group = groups.get(identity(config)) or race.add_group(config)
            groups[identity(config)] = names[name] = group
            if not race.queue and group in (now := TOLD[told](race)):
                teller.tell(name, now[group])
            if len(names) > 20 * BUDGETS[-1]:  # it suggests what it knows; a table has an end
                race.exhausted = True
                race.promote_next()
        key = race.queue[0]
        race.start(key)
        decision = Decision.CONTINUE
        while decision is Decision.CONTINUE:
            if spent == BUDGETS[len(answers)] * EPOCHS:
                leader = (
                    race.policy.leader() if isinstance(race.policy, Adaptive) else highest(race)
                )
                answers.append(world.regret(race.ledger.configs[leader]))
                if len(answers) == len(BUDGETS):
                    return answers
            epoch = trained[key] = trained.get(key, 0) + 1
            spent += 1
            value = world.value(race.ledger.configs[key.group], key.seed, epoch)
            decision = race.report(key, epoch, {"value": value})
        if decision is Decision.FINISH:
            race.complete(key)


def highest(race: Race) -> str:
    return max(
        (n for n, g in race.groups.items() if g.scores),
        key=lambda n: max(race.groups[n].scores.items()),
    )


def cell(task: tuple[str, Path | None, str, str, int]) -> dict[str, list[float]]:
    """Every way of telling on one world, with one searcher and one policy, once."""
    world_name, curves, policy, searcher, seed = task
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if world_name == "digits_mlp":
        assert curves is not None
        world = recorded(curves, seed)
    else:
        world = made_up(*WORLDS[world_name], seed)
    return {
        told: search(world, make_policy(policy), make_searcher(searcher, seed), told)
        for told in TOLD
    }


def main(argv: list[str] | None = None) -> None:
    """Print one row per world, policy and searcher; differences are to ``once``, paired."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=Path, help="folder of recorded curves")
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--processes", type=int, default=1)
    args = parser.parse_args(argv)
    worlds = [*WORLDS, *(["digits_mlp"] if args.curves else [])]
    policies, searchers = ("adaptive", "ladder"), ("hyperopt", "optuna")
    cases = [(w, p, s) for p in policies for w in worlds for s in searchers]
    print(f"regret in % after {BUDGETS} full trainings; then the difference to 'once' ± its error")
    with get_context("spawn").Pool(args.processes) as pool:
        for world, policy, searcher in cases:
            tasks = [(world, args.curves, policy, searcher, k) for k in range(args.repeats)]
            rows = pool.map(cell, tasks, chunksize=1)
            print(f"{world}, {policy}, {searcher}", flush=True)
            base = np.array([row["once"] for row in rows])
            for told in TOLD:
                regret = np.array([row[told] for row in rows])
                gap = regret - base
                error = gap.std(axis=0, ddof=1) / len(rows) ** 0.5
                shown = "  ".join(f"{r:6.2f}" for r in regret.mean(axis=0))
                gaps = "  ".join(
                    f"{g:+.2f}±{e:.2f}" for g, e in zip(gap.mean(axis=0), error, strict=True)
                )
                print(f"  {told:12}{shown}    {gaps}", flush=True)


if __name__ == "__main__":
    main()
