"""Random sampling and grids, as Ray does without a searcher, but one config at a time."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from ray.tune.search import Searcher
from ray.tune.search.sample import Categorical, Domain, Integer, Quantized
from ray.tune.search.variant_generator import generate_variants, parse_spec_vars
from ray.tune.utils import flatten_dict

from tune_seeds.core.jsonable import plain
from tune_seeds.store.identity import identity
from tune_seeds.training.seeding import seeded_generators


class VariantSearch(Searcher):
    """Random sampling and ``grid_search``, as Ray does without a searcher, one config at a time.

    Args:
        space: the search space; every combination of its grids is suggested ``num_samples`` times,
            and further times for as long as it is asked, where anything is drawn.
        num_samples: how often.
        seed: the sample with number i depends on ``seed`` and i only, also where a function of
            ``tune.sample_from`` draws from the global generators of Python, NumPy or torch, which
            are left as they were.
        points: configs to suggest first, by flat key; what one leaves out is sampled, or takes
            every value of its grid. Each takes the place of a sample, but where the space has
            nothing but grids: then the whole grid follows.
    """

    def __init__(
        self,
        space: dict[str, Any],
        num_samples: int,
        seed: int,
        points: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__()
        self._spaces = [with_values(space, point) for point in points]
        self._space = space
        _, domains, _ = parse_spec_vars(copy.deepcopy(space))
        self._is_grid = not domains
        if self._is_grid:
            num_samples += len(points)
        self._num_samples = num_samples
        self._seed = seed
        self._sample = 0
        self._place = 0
        self._variants: list[dict[str, Any]] | None = None

    @property
    def n_configs(self) -> int:
        """How many configs are asked for in all."""
        whole = max(0, self._num_samples - len(self._spaces))
        firsts = min(len(self._spaces), self._num_samples)
        return sum(len(self._draw(k)) for k in range(firsts)) + whole * len(
            self._draw(len(self._spaces))
        )

    @property
    def _is_over(self) -> bool:
        """Whether it has nothing more to suggest; where anything is drawn, it can go on."""
        return self._is_grid and self._sample >= self._num_samples

    def suggest(self, trial_id: str) -> Any:
        """The next config, or ``FINISHED``."""
        if self._variants is None:
            self._variants = self._draw(self._sample)
        while self._place == len(self._variants) and not self._is_over:
            self._sample, self._place = self._sample + 1, 0
            self._variants = self._draw(self._sample)
        if self._is_over:
            return Searcher.FINISHED
        self._place += 1
        return copy.deepcopy(self._variants[self._place - 1])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Scores do not steer it."""

    def save(self, checkpoint_path: str) -> None:
        """Save how far it has come."""
        with open(checkpoint_path, "wb") as file:
            pickle.dump((self._sample, self._place), file)

    def restore(self, checkpoint_path: str) -> None:
        """Go on from where ``save`` was called."""
        with open(checkpoint_path, "rb") as file:
            self._sample, self._place = pickle.load(file)
        self._variants = None

    def _draw(self, sample: int) -> list[dict[str, Any]]:
        own, common = np.random.SeedSequence([self._seed, sample]).generate_state(2)
        state = np.random.RandomState(np.array([own]))
        space = self._spaces[sample] if sample < len(self._spaces) else self._space
        with seeded_generators(int(common)):
            variants = generate_variants({"config": copy.deepcopy(space)}, random_state=state)
            drawn = [cast(dict[str, Any], spec["config"]) for _, spec in variants]
        if not self._is_grid:
            return drawn
        # A config of the grid that a point named before is not suggested twice.
        before = [
            plain(config) for k in range(min(sample, len(self._spaces))) for config in self._draw(k)
        ]
        return [config for config in drawn if plain(config) not in before]


def check_points(space: Mapping[str, Any], points: Any) -> list[dict[str, Any]]:
    """Configs that a search may begin with, by flat key (``a/b`` for a nested one).

    Raises:
        ValueError: it is no list of dicts, or one names something that is not searched, or a value
            outside of its domain.
    """
    if isinstance(points, (str, bytes, Mapping)) or not isinstance(points, Sequence):
        raise ValueError(
            f"points_to_evaluate must be a list of configs, such as [{{'lr': 0.1}}], got {points!r}"
        )
    _, domains, grids = parse_spec_vars(copy.deepcopy(dict(space)))
    searched: dict[str, Any] = {
        "/".join(map(str, cast(tuple[Any, ...], path))): domain
        for path, domain in (*domains, *grids)
    }
    checked: list[dict[str, Any]] = []
    for point in cast(Sequence[Any], points):
        if not isinstance(point, Mapping):
            raise ValueError(f"points_to_evaluate holds {point!r}, which is no config")
        flattened = flatten_dict(dict(cast(Mapping[str, Any], point)))
        for key, value in flattened.items():
            if key not in searched:
                raise ValueError(
                    f"points_to_evaluate names {key!r}, which is not searched; searched are "
                    f"{', '.join(map(repr, searched))}"
                )
            _check_in(key, value, searched[key])
        checked.append(flattened)
    return checked


def with_values(space: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
    """A space with some of its domains replaced by values, by flat key."""
    made: dict[str, Any] = {}
    for key, value in space.items():
        inner = {k.partition("/")[2]: v for k, v in point.items() if k.startswith(f"{key}/")}
        made[key] = point[key] if key in point else with_values(value, inner) if inner else value
    return made


def _check_in(key: str, value: Any, domain: Any) -> None:
    try:
        inside = bool(
            domain.is_valid(value) if isinstance(domain, Domain) else value in list(domain)
        )
    except NotImplementedError:  # tune.sample_from has no bounds
        return
    except (TypeError, ValueError, RuntimeError):
        # Arrays and tensors have no truth; a choice of them is compared by content.
        known: Any = getattr(cast(Any, domain), "categories", domain)
        categories = list(cast(list[Any], known)) if isinstance(known, (list, tuple)) else []
        inside = any(identity({"": one}) == identity({"": value}) for one in categories)
    if not inside:
        said = domain.domain_str if isinstance(domain, Domain) else list(domain)
        raise ValueError(
            f"points_to_evaluate has {key}={value!r}, outside of the space ({said}); widen the "
            "space, or leave the value out"
        )


def has_random(space: dict[str, Any]) -> bool:
    """Whether anything in a search space is drawn, and not a grid."""
    _, domains, _ = parse_spec_vars(space)
    return bool(domains)


def n_possible(space: dict[str, Any]) -> int | None:
    """How many configs a search space holds at most; None where that is not known, or endless."""
    _, domains, grids = parse_spec_vars(space)
    if not domains and not grids:
        return None  # the searcher has a space of its own
    total = 1
    for _, found in (*domains, *grids):
        n = _n_values(found)
        if n is None:
            return None
        total *= n
    return total


def _n_values(found: Any) -> int | None:
    if isinstance(found, list):
        return len({identity({"value": value}) for value in cast(list[Any], found)})
    if isinstance(found, Categorical):
        return _n_values(list(cast(Any, found).categories))
    if isinstance(found, Integer) and not isinstance(found.get_sampler(), Quantized):
        return found.upper - found.lower
    return None
