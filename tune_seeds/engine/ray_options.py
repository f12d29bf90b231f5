"""What a user of Ray Tune hands in, checked before any trial starts and turned into our terms."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, create_scheduler
from ray.tune.search import SearchAlgorithm, Searcher, create_searcher
from ray.tune.search.variant_generator import parse_spec_vars

from tune_seeds._compat.ray_tune import asha_arguments, own_metric
from tune_seeds.core.rungs import TO_THE_END, Rung, build_rungs, milestones
from tune_seeds.engine.earlier_study import EarlierStudy
from tune_seeds.engine.first_suggestions import check_resolved, give_space, try_out, unwrapped
from tune_seeds.engine.first_suggestions import has_own_space as has_own_space
from tune_seeds.engine.random_search import VariantSearch, check_points, has_random
from tune_seeds.engine.searched_space import SearchedSpace
from tune_seeds.engine.study_arguments import (
    check_run_config as check_run_config,
)
from tune_seeds.engine.study_arguments import (
    check_tune_config as check_tune_config,
)
from tune_seeds.policies.base import Policy
from tune_seeds.training.function import from_function
from tune_seeds.training.lightning_trainer import LightningTrainer
from tune_seeds.training.steps import STEP, step_without_metric
from tune_seeds.training.trainable import SeededTrainable

_NO_MEANING = {
    "HyperBandScheduler": "it waits for whole brackets of single trials",
    "HyperBandForBOHB": "it waits for whole brackets of single trials",
    "MedianStoppingRule": "it compares single runs, and would stop one seed of a group alone",
    "PopulationBasedTraining": "it changes the config of a running trial, so no config has seeds",
    "PopulationBasedTrainingReplay": "it changes the config of a running trial",
    "PB2": "it changes the config of a running trial, so no config has seeds",
    "ResourceChangingScheduler": "it changes a run's resources, and with them its bits",
}


#: η where no scheduler says otherwise; it is Ray's own default.
ETA = 4.0


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
    given = asha_arguments(scheduler)
    if given.n_brackets != 1:
        raise ValueError(
            f"ASHAScheduler(brackets={given.n_brackets}) puts trials into brackets at random, and "
            "groups of different brackets can't be compared; use brackets=1"
        )
    if not given.stop_last_trials:
        raise ValueError("ASHAScheduler(stop_last_trials=False): runs end at max_t; raise max_t")
    return Halving(
        time_attr=given.time_attr,
        max_t=_whole("max_t", given.max_t),
        grace_period=_whole("grace_period", given.grace_period),
        reduction_factor=given.reduction_factor,
    )


def as_halving(policy: Policy, scheduler: Any) -> Halving | None:
    """What a policy of the user's says of how far runs train, in place of a scheduler.

    Raises:
        ValueError: there is a scheduler too.
    """
    if read_scheduler(scheduler) is not None:
        raise ValueError(
            "a policy as seeds_per_rung lays the rungs by itself, so the arguments of the "
            f"{type(scheduler).__name__} would have no effect; leave the scheduler out"
        )
    first, last = policy.rungs[0], policy.rungs[-1]
    if last.epochs == TO_THE_END:
        return None
    return Halving("training_iteration", last.epochs, first.epochs, ETA)


def read_metric(tune_config: tune.TuneConfig) -> tuple[str, str]:
    """The metric and mode, from the TuneConfig or from the scheduler or searcher.

    Raises:
        ValueError: one is missing or contradicts another, or mode is not min or max.
    """
    found: dict[str, str] = {}
    for name in ("metric", "mode"):
        places = {
            "TuneConfig": getattr(tune_config, name),
            "the scheduler": own_metric(tune_config.scheduler, name),
            "the searcher": own_metric(tune_config.search_alg, name),
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


def one_config(space: dict[str, Any]) -> dict[str, Any]:
    """Some config of a search space, as a run may get it."""
    return VariantSearch(space, 1, 0).suggest("one")


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


@dataclass(frozen=True, slots=True)
class Configs:
    """What suggestions become: configs, checked before a run gets them.

    Attributes:
        space: the search space.
        trainable: what is trained.
    """

    space: SearchedSpace
    trainable: SeededTrainable

    @classmethod
    def of(cls, space: dict[str, Any], trainable: SeededTrainable) -> Configs:
        """The configs of a search space."""
        return cls(SearchedSpace.of(space), trainable)

    def config(self, searcher: Searcher, suggested: Any) -> dict[str, Any]:
        """The config of a suggestion.

        Raises:
            ValueError: it is none that a run could be given; the message says why.
        """
        source = f"a suggestion of {type(unwrapped(searcher)).__name__}"
        if not isinstance(suggested, Mapping):
            raise ValueError(f"{source} is no dict: {suggested!r}")
        entries = dict(cast(Mapping[str, Any], suggested))
        own = isinstance(searcher, VariantSearch)
        config = entries if own else self.space.config(entries)
        if "seed" in config:
            raise ValueError(
                f"the searcher suggested a value for 'seed' ({config['seed']!r}); take it out "
                "of the searcher's own space: seeds are the study's, not searched"
            )
        check_resolved(config, source)
        if self.trainable.check is not None:
            try:
                self.trainable.check(config)
            except ValueError as error:
                raise ValueError(f"{source} does not fit: {error}") from error
        return config

    def try_out(self, searcher: Searcher) -> dict[str, Any] | None:
        """Check what a copy of a searcher suggests first; see ``try_out``.

        Returns:
            Its first config, where it could be asked.
        """
        made: list[dict[str, Any]] = []
        try_out(searcher, lambda suggested: made.append(self.config(searcher, suggested)))
        return made[0] if made else None


def seeded(trainable: Any, halving: Halving | None) -> SeededTrainable:
    """The common shape of what a user wants to be trained.

    Raises:
        ValueError: it is no trainable, or counts progress otherwise than the scheduler.
    """
    if isinstance(trainable, SeededTrainable):
        return trainable
    if not isinstance(trainable, LightningTrainer):
        return from_function(trainable, halving.time_attr if halving else "training_iteration")
    seeded = trainable.as_trainable(halving.max_t if halving else None)
    if halving and halving.time_attr not in ("training_iteration", seeded.time_attr):
        raise ValueError(
            f"ASHAScheduler(time_attr={halving.time_attr!r}): rungs of Lightning runs are keyed on "
            f"the epoch that the run reports; leave time_attr out or give {seeded.time_attr!r}"
        )
    return seeded


def lay_rungs(
    trainable: SeededTrainable,
    halving: Halving | None,
    n_seeds: int,
    seeds_per_rung: str | Sequence[int] | Policy,
) -> tuple[Rung, ...]:
    """The rungs of a study; without a scheduler the one rung of every epoch on every seed.

    A policy of the user's has its own.

    Raises:
        ValueError: the seeds per rung don't fit, or a rung falls between two validations.
    """
    if not isinstance(seeds_per_rung, (str, Sequence)):
        rungs = tuple(seeds_per_rung.rungs)
    elif halving is None:
        if not isinstance(seeds_per_rung, str):
            raise ValueError(
                "seeds_per_rung needs a scheduler: without one there is one rung, every run to its "
                "end on every seed"
            )
        end = TO_THE_END if trainable.max_epochs is None else trainable.max_epochs
        rungs = build_rungs([end], n_seeds, "all")
    else:
        epochs = milestones(halving.max_t, halving.grace_period, halving.reduction_factor)
        rungs = build_rungs(epochs, n_seeds, seeds_per_rung)
    period = trainable.metric_period
    for rung in rungs:
        if rung.epochs != TO_THE_END and rung.epochs % period:
            if trainable.time_attr == STEP:
                raise ValueError(step_without_metric(rung.epochs, period))
            raise ValueError(
                f"the rung at epoch {rung.epochs} has no metric: check_val_every_n_epoch={period} "
                f"validates at multiples of {period} only; choose grace_period, reduction_factor "
                "and max_t (or max_epochs) to fall on those"
            )
    return rungs


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
