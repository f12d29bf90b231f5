"""A searcher before the study: it is given its space and its first points, and tried out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, cast

from ray.tune.search import ConcurrencyLimiter, Searcher
from ray.tune.search.sample import Categorical
from ray.tune.search.variant_generator import parse_spec_vars

from tune_seeds._compat import searchers
from tune_seeds.engine.searched_space import SearchedSpace, foreign, unresolved


def give_space(searcher: Searcher, space: dict[str, Any], metric: str, mode: str) -> bool:
    """Give a searcher what of a space is searched, and its points to evaluate in those terms.

    Returns:
        Whether it took the space; a searcher with a space of its own does not.

    Raises:
        ValueError: it can't search such a space, or a point does not fit.
    """
    from ray.tune.search.hyperopt import HyperOptSearch
    from ray.tune.search.optuna import OptunaSearch

    inner = unwrapped(searcher)
    searched = SearchedSpace.of(space)
    if searched.domains and parse_spec_vars(space)[2]:
        raise ValueError(
            f"param_space mixes tune.grid_search with what {type(inner).__name__} is to search; "
            "Grid search is done without a search_alg: write tune.choice, or leave search_alg out"
        )
    if isinstance(inner, OptunaSearch):
        for name, domain in searched.domains.items():
            if isinstance(domain, Categorical) and any(
                True for _ in unresolved(list(cast(Any, domain).categories))
            ):
                raise ValueError(
                    f"OptunaSearch can't search the choice {name!r}, which holds domains of its "
                    "own: write the space as a function of the trial, OptunaSearch(space=...), or "
                    "take HyperOptSearch"
                )
    domains = searched.nested(searched.domains)
    is_hyperopt = isinstance(inner, HyperOptSearch)
    if has_own_space(inner) or not domains:
        took = searcher.set_search_properties(metric, mode, domains or copy.deepcopy(space))
        if not took and is_hyperopt:
            searchers.set_hyperopt_points(inner, None)
        return bool(took)
    given = searchers.points(inner)
    if given is not None:
        partial = not isinstance(inner, (HyperOptSearch, OptunaSearch))
        given = [
            searched.point(point, f"points_to_evaluate[{k}]", partial=partial)
            for k, point in enumerate(given)
        ]
        searchers.set_points(inner, None if is_hyperopt else given)
    took = searcher.set_search_properties(metric, mode, domains)
    if given is not None and is_hyperopt:
        searchers.set_hyperopt_points(inner, [searched.nested(point) for point in given])
    return bool(took)


def has_own_space(searcher: Any) -> bool:
    """Whether a searcher was made with a search space, which ``param_space`` then only adds to."""
    inner = unwrapped(searcher)
    return isinstance(inner, Searcher) and searchers.has_space(inner)


def unwrapped(searcher: Any) -> Any:
    """A searcher without the limiters of concurrency around it."""
    while isinstance(searcher, ConcurrencyLimiter):
        searcher = cast(Any, searcher).searcher
    return searcher


def try_out(searcher: Any, check: Callable[[dict[str, Any]], None]) -> None:
    """Let a copy of a searcher suggest what it would first, and check that before the study.

    Only HyperOpt and Optuna in memory are asked: of any other it is not known what a suggestion
    does beside being made.

    Args:
        searcher: a copy, which is of no use afterwards.
        check: of a suggestion.

    Raises:
        ValueError: no suggestion comes out, ``check`` refuses one, or a point to evaluate names
            what the space does not ask for.
    """
    from ray.tune.search.hyperopt import HyperOptSearch
    from ray.tune.search.optuna import OptunaSearch

    inner = unwrapped(searcher)
    is_optuna = isinstance(inner, OptunaSearch)
    if is_optuna and not searchers.optuna_keeps_in_memory(inner):
        return
    if not is_optuna and not isinstance(inner, HyperOptSearch):
        return
    points: list[Any] = (searchers.points(inner) or []) if is_optuna else []
    n_points = len(points) if is_optuna else searchers.n_hyperopt_points(inner)
    for k in range(max(1, n_points)):
        try:
            suggested: Any = cast(Any, inner).suggest(f"try{k}")
        except Exception as error:  # the user's own function, or one of three libraries
            what = f"points_to_evaluate[{k}]" if k < n_points else "its space"
            raise ValueError(
                f"{type(inner).__name__} can't suggest a config from {what}: "
                f"{type(error).__name__}: {error}"
            ) from error
        check(suggested)
        if is_optuna and k < n_points and not searchers.has_rewards(inner):
            names = searchers.optuna_names(inner, f"try{k}")
            for key in points[k]:
                if key not in names:
                    raise ValueError(
                        f"points_to_evaluate[{k}] has the key {key!r}, which the space does not "
                        f"ask for; it asks for {', '.join(map(repr, sorted(names)))}"
                    )


def check_resolved(config: Mapping[str, Any], source: str) -> None:
    """Refuse a config that still holds something to be searched.

    Raises:
        ValueError: names the place, the object and what to do.
    """
    for place, value in unresolved(config):
        library = foreign(value)
        kind = f"an expression of {library}'s" if library else f"the domain {value!r}"
        hint = (
            "give it to the searcher as its own space, or write it with tune.uniform and the like"
            if library
            else "its space holds a domain where it takes values only; write tune.choice over "
            "values, or leave search_alg out"
        )
        raise ValueError(f"{source} has {kind} at {place!r}, where a run needs a value: {hint}")
