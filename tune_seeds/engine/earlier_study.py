"""What an earlier study found, told to the searcher of a new one before it suggests anything.

A searcher hears of a config under the name of its own suggestion. So the earlier configs are put
before its points to evaluate, it is let suggest them one by one, and is told what each scored; none
of them is trained or counted. This needs nothing but what Ray asks of a searcher.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from ray.tune.search import Searcher
from ray.tune.search.sample import Domain, Integer

from tune_seeds._compat import searchers
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung
from tune_seeds.engine.search_feedback import on_one_scale
from tune_seeds.engine.searched_space import SearchedSpace
from tune_seeds.race.race import Race
from tune_seeds.statistics.aggregate import Aggregate
from tune_seeds.store.configs import load_configs
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.identity import identity
from tune_seeds.store.rebuild.race import new_race, rebuild
from tune_seeds.store.study_spec import Header


@dataclass(frozen=True, slots=True)
class EarlierStudy:
    """Configs of another study, and what each is worth to the searcher of a new one.

    Attributes:
        path: of the other study.
        configs: those that were scored there at the lowest rung of the new one.
        values: of each, in the metric's own direction, on the scale of that rung.
        n_left_out: how many others it has: failed, without a value there, or outside of the space.
    """

    path: str
    configs: tuple[dict[str, Any], ...] = field(repr=False)
    values: tuple[float, ...] = field(repr=False)
    n_left_out: int

    @classmethod
    def read(
        cls, directory: ExperimentDir, measure: Metric, first: Rung, aggregate: Aggregate
    ) -> EarlierStudy:
        """Read it, unpickling the objects in its configs: only from one's own experiments.

        A config is scored on the other study's first seeds, as many as ``first`` has, at the epochs
        of ``first``. Configs that went further there share these values out anew by their scores
        higher up, as ``on_one_scale`` does within a study.

        Args:
            directory: of the other study.
            measure: of the new study; the other's must be the same.
            first: lowest rung of the new study.
            aggregate: of the new study.

        Raises:
            FileNotFoundError: the directory holds no experiment of this package.
            IntegrityError: its journal contradicts what it declared.
            ValueError: it measures something else, or has no config that is scored at ``first``.
        """
        path, header = directory.path, Header.read(directory)
        if header.measure != measure:
            raise ValueError(
                f"warm_start: {path} followed {_in_words(header.measure)}, and this study follows "
                f"{_in_words(measure)}; what it found does not compare"
            )
        race = new_race(header)
        rebuild(race, directory)
        scores = _scores_from(race, first, aggregate)
        if not scores:
            raise ValueError(
                f"warm_start: no config of {path} has a score at {first}, the lowest rung of this "
                f"study; its rungs are {' '.join(map(str, header.rungs))}"
            )
        values = on_one_scale(scores)
        configs = load_configs(directory)
        return cls(
            path,
            tuple(configs[name] for name in scores),
            tuple(measure.own(values[name]) for name in scores),
            len(race.groups) - len(scores),
        )

    def within(self, space: SearchedSpace) -> EarlierStudy:
        """Those of its configs that a search space holds, each once.

        Raises:
            ValueError: it holds none of them.
        """
        found: dict[bytes, tuple[dict[str, Any], float]] = {}
        why = ""
        for config, value in zip(self.configs, self.values, strict=True):
            try:
                _point_of(config, space)
            except ValueError as error:
                why = why or str(error)
                continue
            found.setdefault(identity(config), (config, value))
        if not found:
            raise ValueError(
                f"warm_start: param_space holds none of the {len(self.configs)} configs of "
                f"{self.path} ({why})"
            )
        configs, values = zip(*found.values(), strict=True)
        n_left_out = self.n_left_out + len(self.configs) - len(configs)
        return EarlierStudy(self.path, configs, values, n_left_out)

    def put_first(self, searcher: Searcher) -> None:
        """Let a searcher that has no space yet suggest its configs before all others."""
        given = searchers.points(searcher) or []
        searchers.set_points(searcher, [*copy.deepcopy(self.configs), *given])

    def teach(self, searcher: Searcher, space: SearchedSpace, metric: str) -> None:
        """Tell a searcher, which has been given ``put_first`` and the space, what each scored.

        Raises:
            ValueError: it suggests something else first, and so can't be told.
        """
        values = {
            identity(config): value for config, value in zip(self.configs, self.values, strict=True)
        }
        for k in range(len(self.configs)):
            name = f"earlier{k}"
            suggested: Any = searcher.suggest(name)
            known = None
            if isinstance(suggested, Mapping):
                config = space.config(cast(Mapping[str, Any], suggested))
                known = values.pop(identity(config), None)
            if known is None:
                raise ValueError(
                    f"warm_start: {type(searcher).__name__} does not suggest the configs of "
                    "points_to_evaluate first, which is how it would be told of them; use "
                    "HyperOptSearch or OptunaSearch"
                )
            searcher.on_trial_complete(name, {metric: known, "training_iteration": 1})

    @property
    def record(self) -> dict[str, Any]:
        """What a study keeps of it in its header."""
        n_configs = len(self.configs)
        return {"path": self.path, "n_configs": n_configs, "n_left_out": self.n_left_out}


def _scores_from(race: Race, first: Rung, aggregate: Aggregate) -> dict[str, dict[int, float]]:
    """Group → place of the rung, from 1 for ``first`` → score; only who has one at ``first``."""
    ledger = race.ledger
    seeds = ledger.seeds[: first.n_seeds]
    higher = [rung for rung in race.policy.rungs if first.epochs <= rung.epochs and rung != first]
    found: dict[str, dict[int, float]] = {}
    for name, group in race.groups.items():
        values = None if group.lost else ledger.values_on(name, seeds, first.epochs)
        if values is None:
            continue
        score = float(aggregate(np.array(values)))
        above = {k: group.scores[r] for k, r in enumerate(higher, start=2) if r in group.scores}
        found[name] = {1: score, **above}
    return found


def _point_of(config: Mapping[str, Any], space: SearchedSpace) -> dict[str, Any]:
    """A config in the terms of a searcher.

    Raises:
        ValueError: it is no config of the space; the message says where.
    """
    searched = {path[0] for path in space.paths.values()} | set(space.space)
    for key in config:
        if key not in searched:
            raise ValueError(f"{key!r} is not in the space")
    point = space.point(config, "a config", partial=False)
    for name, value in point.items():
        domain = space.domains[name]
        if not _holds(domain, value):
            raise ValueError(f"{name}={value!r} is outside of {domain.domain_str}")
    if identity(space.config(point)) != identity(dict(config)):
        raise ValueError("what is not searched differs")
    return point


def _holds(domain: Domain, value: Any) -> bool:
    if isinstance(domain, Integer) and value == domain.upper:
        return False  # Ray's own check takes the upper bound, which is never drawn
    try:
        return bool(domain.is_valid(value))
    except TypeError:  # another type than the bounds have
        return False


def _in_words(measure: Metric) -> str:
    return f"{measure} ({measure.mode})"
