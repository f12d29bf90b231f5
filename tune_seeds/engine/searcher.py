"""The searcher of a study, made from what its user gave as search_alg and param_space."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ray import tune
from ray.tune.search import SearchAlgorithm, Searcher, create_searcher
from ray.tune.search.variant_generator import parse_spec_vars

from tune_seeds.engine.earlier_study import EarlierStudy
from tune_seeds.engine.first_suggestions import give_space, has_own_space, unwrapped
from tune_seeds.engine.random_search import VariantSearch, check_points, has_random
from tune_seeds.engine.searched_space import SearchedSpace


def make_searcher(
    tune_config: tune.TuneConfig,
    space: dict[str, Any],
    metric: str,
    mode: str,
    search_seed: int,
    points: Sequence[Mapping[str, Any]] = (),
    earlier: EarlierStudy | None = None,
) -> tuple[Searcher, dict[str, Any], int]:
    """A fresh searcher, the constants that join its configs, and how many configs to ask it for.

    Args:
        tune_config: has the searcher, which is copied.
        space: to search.
        metric: what is tuned.
        mode: ``"max"`` or ``"min"``.
        search_seed: of random sampling.
        points: that random sampling and grids begin with.
        earlier: what to tell the searcher before it suggests anything.

    Raises:
        ValueError: nothing to tune, or the searcher can't take the space, or the earlier study.
    """
    has_domains = check_space(space)
    given = tune_config.search_alg
    num_samples = tune_config.num_samples
    if isinstance(given, str):
        given = create_searcher(given)
    if earlier is not None and (given is None or has_own_space(given)):
        kind = "random sampling and grids learn nothing"
        if given is not None:
            kind = f"{type(unwrapped(given)).__name__} has a space of its own, in its own terms"
        raise ValueError(
            f"warm_start tells a searcher of an earlier study, and {kind}; write the space into "
            "param_space and give TuneConfig(search_alg=HyperOptSearch()) or OptunaSearch()"
        )
    if given is None:
        if not has_domains:
            raise ValueError(
                f"param_space has nothing to tune ({sorted(space)}): give at least one entry like "
                "tune.loguniform(1e-4, 1e-1), tune.choice([...]) or tune.grid_search([...])"
            )
        variants = VariantSearch(space, num_samples, search_seed, check_points(space, points))
        if not has_random(space) and num_samples > 1:
            raise ValueError(
                f"num_samples={num_samples} would run the same grid {num_samples} times; a config "
                "is repeated over seeds already: use num_samples=1"
            )
        return variants, {}, variants.n_configs
    if points:
        raise ValueError(
            f"points_to_evaluate is of random sampling and grids, and search_alg is a "
            f"{type(given).__name__}; give them to the searcher, as in "
            f"HyperOptSearch(points_to_evaluate=[...])"
        )
    if not isinstance(given, Searcher):
        kind = "SearchAlgorithm" if isinstance(given, SearchAlgorithm) else type(given).__name__
        raise ValueError(
            f"search_alg must be a ray.tune.search.Searcher, got the {kind} "
            f"{type(given).__name__}; for random sampling and grids leave it out and give "
            "SeedTuner(search_seed=..., points_to_evaluate=...)"
        )
    try:
        searcher = copy.deepcopy(given)
    except Exception as error:  # whatever the searcher's attributes raise
        raise ValueError(
            f"search_alg {type(given).__name__} can't be copied ({type(error).__name__}: {error}); "
            "a study keeps a copy of it for a restore: take locks, files and connections out of it"
        ) from error
    nothing = ValueError(
        f"param_space has nothing to tune ({sorted(space)}): give at least one entry like "
        "tune.loguniform(1e-4, 1e-1) or tune.choice([...]), or a searcher with its own space"
    )
    if earlier is not None:
        earlier.put_first(unwrapped(searcher))
    try:
        took = give_space(searcher, space, metric, mode)
    except RuntimeError as error:  # how HyperOptSearch says that its space is empty
        raise nothing from error
    if not took and has_domains:
        raise ValueError(
            f"{type(given).__name__} was made with a space of its own, so it can't take the one in "
            "param_space; give the space in one place (constants may stay in param_space)"
        )
    if took and not has_domains:
        raise nothing
    if earlier is not None:
        earlier.teach(unwrapped(searcher), SearchedSpace.of(space), metric)
    return searcher, _constants(space), num_samples


def check_space(space: Mapping[str, Any]) -> bool:
    """Whether a search space has anything to tune.

    Raises:
        ValueError: it holds ``seed``.
    """
    for key in space:
        if key == "seed":
            raise ValueError(
                "'seed' is in param_space: a searched seed picks lucky configs. Give the seeds to "
                "SeedTuner(seeds=...); every config meets all of them"
            )
    _, domains, grids = parse_spec_vars(dict(space))
    return bool(domains or grids)


def one_config(space: dict[str, Any]) -> dict[str, Any]:
    """Some config of a search space, as a run may get it."""
    return VariantSearch(space, 1, 0).suggest("one")


def _constants(space: dict[str, Any]) -> dict[str, Any]:
    """The space without what is searched."""
    _, domains, grids = parse_spec_vars(space)
    searched = {path for path, _ in (*domains, *grids)}

    def strip(value: Any, path: tuple[Any, ...]) -> Any:
        if not isinstance(value, dict):
            return value
        inner = cast(dict[Any, Any], value)
        return {k: strip(v, (*path, k)) for k, v in inner.items() if (*path, k) not in searched}

    return strip(copy.deepcopy(space), ())
