"""What a user of Ray Tune hands in, checked before any trial starts and turned into our terms."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, create_scheduler
from ray.tune.search import SearchAlgorithm, Searcher, create_searcher
from ray.tune.search.variant_generator import parse_spec_vars

from tune_seeds.search import VariantSearch

_NO_MEANING = {
    "HyperBandScheduler": "it waits for whole brackets of single trials",
    "HyperBandForBOHB": "it waits for whole brackets of single trials",
    "MedianStoppingRule": "it compares single runs, and would stop one seed of a group alone",
    "PopulationBasedTraining": "it changes the config of a running trial, so no config has seeds",
    "PopulationBasedTrainingReplay": "it changes the config of a running trial",
    "PB2": "it changes the config of a running trial, so no config has seeds",
    "ResourceChangingScheduler": "it changes a run's resources, and with them its bits",
}


@dataclass(frozen=True, slots=True)
class Halving:
    """The arguments of Ray's ``ASHAScheduler`` that are carried out over groups."""

    time_attr: str
    max_t: int
    grace_period: int
    reduction_factor: float


def read_scheduler(scheduler: Any) -> Halving | None:
    """The meaning of a Ray scheduler over groups; None where every run goes to its end.

    Raises:
        ValueError: it has no meaning over groups; the message says why.
    """
    if isinstance(scheduler, str):
        scheduler = create_scheduler(scheduler)
    if scheduler is None or type(scheduler) is FIFOScheduler:
        return None
    if not isinstance(scheduler, AsyncHyperBandScheduler):
        name = type(scheduler).__name__
        why = _NO_MEANING.get(name, "it decides on single trials, without their group")
        raise ValueError(
            f"scheduler {name} can't be carried out over groups of seeds: {why}; use ASHAScheduler "
            "or none"
        )
    # Ray keeps the arguments in private attributes only, and grace_period as the lowest milestone.
    brackets = cast(Any, scheduler)._brackets
    if len(brackets) != 1:
        raise ValueError(
            f"ASHAScheduler(brackets={len(brackets)}) puts trials into brackets at random, and "
            "groups of different brackets can't be compared; use brackets=1"
        )
    own = cast(Any, scheduler)
    if not own._stop_last_trials:
        raise ValueError("ASHAScheduler(stop_last_trials=False): runs end at max_t; raise max_t")
    return Halving(
        time_attr=own._time_attr,
        max_t=_whole("max_t", own._max_t),
        grace_period=_whole("grace_period", brackets[0]._rungs[-1][0]),
        reduction_factor=float(own._reduction_factor),
    )


def read_metric(tune_config: tune.TuneConfig) -> tuple[str, str]:
    """The metric and mode, from the TuneConfig or from the scheduler or searcher.

    Raises:
        ValueError: one is missing or contradicts another, or mode is not min or max.
    """
    found: dict[str, str] = {}
    for name in ("metric", "mode"):
        places = {
            "TuneConfig": getattr(tune_config, name),
            "the scheduler": getattr(tune_config.scheduler, f"_{name}", None),
            "the searcher": getattr(tune_config.search_alg, f"_{name}", None),
        }
        given = {place: value for place, value in places.items() if value}
        if not given:
            raise ValueError(f"{name} is missing: give TuneConfig({name}=...)")
        if len(set(given.values())) > 1:
            said = ", ".join(f"{place} says {value!r}" for place, value in given.items())
            raise ValueError(f"{name} is given differently: {said}")
        found[name] = next(iter(given.values()))
    if found["mode"] not in ("min", "max"):
        raise ValueError(f"mode must be 'min' or 'max', got {found['mode']!r}")
    return found["metric"], found["mode"]


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


def make_searcher(
    tune_config: tune.TuneConfig, space: dict[str, Any], metric: str, mode: str, search_seed: int
) -> tuple[Searcher, dict[str, Any], int]:
    """A fresh searcher, the constants that join its configs, and how many configs to ask it for.

    Raises:
        ValueError: nothing to tune, or the searcher can't take the space.
    """
    has_domains = check_space(space)
    given = tune_config.search_alg
    num_samples = tune_config.num_samples
    if isinstance(given, str):
        given = create_searcher(given)
    if given is None:
        if not has_domains:
            raise ValueError(
                f"param_space has nothing to tune ({sorted(space)}): give at least one entry like "
                "tune.loguniform(1e-4, 1e-1), tune.choice([...]) or tune.grid_search([...])"
            )
        variants = VariantSearch(space, num_samples, search_seed)
        if not _has_random(space) and num_samples > 1:
            raise ValueError(
                f"num_samples={num_samples} would run the same grid {num_samples} times; a config "
                "is repeated over seeds already: use num_samples=1"
            )
        return variants, {}, variants.n_configs
    if not isinstance(given, Searcher):
        kind = "SearchAlgorithm" if isinstance(given, SearchAlgorithm) else type(given).__name__
        raise ValueError(
            f"search_alg must be a ray.tune.search.Searcher, got the {kind} "
            f"{type(given).__name__}; for random sampling and grids leave it out and give "
            "SeedTuner(search_seed=...)"
        )
    searcher = copy.deepcopy(given)
    nothing = ValueError(
        f"param_space has nothing to tune ({sorted(space)}): give at least one entry like "
        "tune.loguniform(1e-4, 1e-1) or tune.choice([...]), or a searcher with its own space"
    )
    try:
        took = searcher.set_search_properties(metric, mode, copy.deepcopy(space))
    except RuntimeError as error:  # how HyperOptSearch says that its space is empty
        raise nothing from error
    if not took and has_domains:
        raise ValueError(
            f"{type(given).__name__} was made with a space of its own, so it can't take the one in "
            "param_space; give the space in one place (constants may stay in param_space)"
        )
    if took and not has_domains:
        raise nothing
    return searcher, _constants(space), num_samples


def check_tune_config(tune_config: tune.TuneConfig) -> None:
    """Refuse what has no meaning over groups.

    Raises:
        ValueError: ``num_samples`` or ``max_concurrent_trials`` is out of its range.
    """
    n = tune_config.num_samples
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(
            f"num_samples counts configs and must be a whole number of at least 1, got {n!r}"
        )
    limit = tune_config.max_concurrent_trials
    if limit is not None and limit < 0:
        raise ValueError(f"max_concurrent_trials must not be negative, got {limit}")


def check_run_config(run_config: tune.RunConfig) -> None:
    """Refuse what would end or save runs elsewhere than at rungs.

    Raises:
        ValueError: it holds such an argument.
    """
    if run_config.stop is not None:
        raise ValueError(
            "RunConfig(stop=...) ends the seeds of one config at different epochs, and they are "
            "compared at equal ones; use the scheduler's max_t or TuneConfig(time_budget_s=...)"
        )
    checkpoints = run_config.checkpoint_config
    if checkpoints is not None and (
        checkpoints.checkpoint_frequency or checkpoints.checkpoint_at_end
    ):
        raise ValueError(
            "CheckpointConfig(checkpoint_frequency, checkpoint_at_end) have no effect here: runs "
            "checkpoint at rungs and at their end; leave both out"
        )


def _has_random(space: dict[str, Any]) -> bool:
    _, domains, _ = parse_spec_vars(space)
    return bool(domains)


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


def _whole(name: str, value: float) -> int:
    if value != int(value):
        raise ValueError(f"ASHAScheduler({name}={value}) must be a whole number of epochs")
    return int(value)
