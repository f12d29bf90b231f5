"""The arguments of ``SeedTuner``, each checked for its type and range before anything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import cloudpickle
import ray.air.config
from ray import tune
from ray.tune.search import Repeater
from ray.tune.search.sample import Categorical, Domain, Float, Integer

from tune_seeds._compat.ray_tune import own_metric
from tune_seeds.core import checks
from tune_seeds.engine.searched_space import foreign, unresolved
from tune_seeds.policies.given import is_policy


def check_space_values(space: Any) -> dict[str, Any]:
    """A search space that Ray can take.

    Raises:
        ValueError: it is no dict, a key is not text, a domain is empty, or it contains itself.
    """
    checked = checks.mapping("param_space", space)
    _check_nested(checked, ("param_space",), ())
    for place, value in unresolved(checked):
        library = foreign(value)
        if library is not None:
            raise ValueError(
                f"param_space has an expression of {library}'s at {place!r}: write it with "
                "tune.uniform, tune.choice and the like, or give the whole space to the searcher"
            )
    return checked


def check_picklable(name: str, value: Any) -> None:
    """Refuse what can't be kept beside a study for its restore, before anything is started.

    Raises:
        ValueError: names the argument, of a dict the entry, and what can't be pickled.
    """
    try:
        cloudpickle.dumps(value)
    except Exception as error:  # whatever the user's objects raise
        if isinstance(value, dict):
            for key, inner in cast(dict[Any, Any], value).items():
                check_picklable(f"{name}[{key!r}]", inner)
        raise ValueError(
            f"{name} can't be pickled ({type(error).__name__}: {error}), and a study keeps it for "
            "its runs and for a restore: take locks, open files and connections out of it"
        ) from error


def check_tune_config(config: Any) -> None:
    """Refuse a ``TuneConfig`` with values of a wrong type, or without a meaning over groups.

    Raises:
        ValueError: names the argument.
    """
    given = checks.instance("tune_config", config, tune.TuneConfig)
    for name in ("metric", "mode"):
        for owner in (given, given.search_alg, given.scheduler):
            value = getattr(given, name) if owner is given else own_metric(owner, name)
            if isinstance(value, (list, tuple)):
                raise ValueError(
                    f"{name}={value!r}: a study follows one metric. Name one of them; everything "
                    "else that runs report is recorded too, and shown beside it"
                )
            if owner is given and value is not None and not isinstance(value, str):
                raise ValueError(f"{name} must be text, got {value!r} (a {type(value).__name__})")
    n: Any = given.num_samples
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(
            f"num_samples counts configs and must be a whole number of at least 1, got {n!r}"
        )
    if given.max_concurrent_trials is not None:
        checks.whole_number("max_concurrent_trials", given.max_concurrent_trials, at_least=0)
    if given.time_budget_s is not None:
        checks.duration("time_budget_s", given.time_budget_s)
    for name in ("scheduler", "search_alg"):
        value = getattr(given, name)
        if isinstance(value, type):
            raise ValueError(
                f"{name} is the class {value.__name__}; give an instance: {value.__name__}(...)"
            )
    searcher: Any = given.search_alg
    while searcher is not None:
        if isinstance(searcher, Repeater):
            raise ValueError(
                "search_alg is Ray's Repeater, which repeats every config and averages over what "
                "is left of it; SeedTuner(seeds=...) runs each config on every seed: give the "
                "searcher inside it"
            )
        searcher = getattr(searcher, "searcher", None)


def check_run_config(config: Any) -> None:
    """Refuse a ``RunConfig`` of another kind, or one that would end or save runs beside rungs.

    Raises:
        ValueError: names the argument.
    """
    if not isinstance(config, ray.air.config.RunConfig):
        raise ValueError(
            f"run_config must be a ray.tune.RunConfig, got a {type(config).__module__}."
            f"{type(config).__qualname__}"
        )
    given: Any = config
    if given.name is not None:
        name = checks.path("RunConfig(name=...)", given.name)
        if "/" in name or "\\" in name or name in (".", ".."):
            raise ValueError(
                f"RunConfig(name={name!r}) must be one folder's name; give the folders above it "
                "as storage_path"
            )
    if given.storage_path is not None:
        checks.path("RunConfig(storage_path=...)", given.storage_path)
    if given.stop is not None:
        raise ValueError(
            "RunConfig(stop=...) ends the seeds of one config at different epochs, and they are "
            "compared at equal ones; use the scheduler's max_t or TuneConfig(time_budget_s=...)"
        )
    checkpoints = given.checkpoint_config
    if checkpoints is not None and (
        checkpoints.checkpoint_frequency or checkpoints.checkpoint_at_end
    ):
        raise ValueError(
            "CheckpointConfig(checkpoint_frequency, checkpoint_at_end) have no effect here: runs "
            "checkpoint at rungs and at their end; leave both out"
        )
    for callback in given.callbacks or []:
        checks.instance("an entry of RunConfig(callbacks=...)", callback, tune.Callback)


def check_seeds_per_rung(given: Any) -> None:
    """Refuse what is no word, no list of numbers and no policy; the values are checked later."""
    if is_policy(given):
        return
    if not isinstance(given, (str, Sequence)) or isinstance(given, bytes):
        raise ValueError(
            "seeds_per_rung must be 'adaptive', 'all', 'ladder', a list of numbers or a policy, "
            f"got {given!r} (a {type(given).__name__})"
        )


def _check_nested(value: Any, path: tuple[str, ...], above: tuple[int, ...]) -> None:
    where = ".".join(path)
    if isinstance(value, Domain):
        _check_domain(cast(Any, value), where)
        return
    if not isinstance(value, dict):
        return
    entries = cast(dict[Any, Any], value)
    if id(value) in above:
        raise ValueError(f"{where} contains itself")
    if set(entries) == {"grid_search"}:
        grid = entries["grid_search"]
        if not isinstance(grid, (list, tuple)) or not grid:
            raise ValueError(f"{where}: tune.grid_search needs a list of values, got {grid!r}")
    kinds = {type(key) for key in entries}
    if kinds and kinds != {str} and kinds != {int}:
        odd = next(key for key in entries if type(key) is not str)
        raise ValueError(
            f"{where} has the key {odd!r} (a {type(odd).__name__}), which Ray can't take: keys "
            "must all be text (or all whole numbers); give a list of pairs instead"
        )
    for key, inner in entries.items():
        _check_nested(inner, (*path, str(key)), (*above, id(value)))


def _check_domain(domain: Any, where: str) -> None:
    if isinstance(domain, (Float, Integer)):
        low, high = domain.lower, domain.upper
        if low != low or high != high or not low < high:
            raise ValueError(
                f"{where} is a range from {low} to {high}, which holds nothing: the lower bound "
                "comes first, and the upper one of integers is left out"
            )
    if isinstance(domain, Categorical) and not domain.categories:
        raise ValueError(f"{where}: tune.choice needs at least one value")
