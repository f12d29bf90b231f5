"""A study that is restored with more than before: what may grow, and what must stay as it was."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tune_seeds.core import checks
from tune_seeds.core.events import Grown
from tune_seeds.core.rungs import TO_THE_END, Rung, build_rungs, milestones
from tune_seeds.core.seeds import check_fresh_seeds, check_seeds
from tune_seeds.engine.arguments import Arguments
from tune_seeds.engine.code_fingerprint import differences
from tune_seeds.engine.random_search import VariantSearch, has_random
from tune_seeds.engine.schedule.halving import Halving, read_scheduler
from tune_seeds.store.study_spec import Header
from tune_seeds.training.trainable import SeededTrainable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a restore asks for beyond going on; None leaves a thing as it is.

    Attributes:
        num_samples: configs in all, counted as ``TuneConfig(num_samples=...)`` does.
        seeds: a list that begins with the old one, or how many there are to be.
        max_t: epochs of a full training.
        time_budget_s: seconds for what is left.
        n_finalists: groups that end with every epoch on every seed.
        allow_changes: parts of the trainable that may differ from what the study began with.
    """

    num_samples: int | None = None
    seeds: Sequence[int] | int | None = None
    max_t: int | None = None
    time_budget_s: float | timedelta | None = None
    n_finalists: int | None = None
    allow_changes: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("num_samples", "max_t", "n_finalists"):
            value = getattr(self, name)
            if value is not None:
                checks.whole_number(name, value, at_least=1)
        if self.time_budget_s is not None:
            checks.duration("time_budget_s", self.time_budget_s)
        if self.seeds is not None and not isinstance(self.seeds, int):
            check_seeds(self.seeds)
        allowed: Any = self.allow_changes
        if isinstance(allowed, str) or not isinstance(allowed, Sequence):
            raise ValueError(
                f"allow_changes must be a list of names such as ['module'], got {allowed!r}"
            )

    @property
    def asked(self) -> dict[str, Any]:
        """The arguments that were given, as they are recorded."""
        found = {
            "num_samples": self.num_samples,
            "seeds": self.seeds if isinstance(self.seeds, int | None) else list(self.seeds),
            "max_t": self.max_t,
            "time_budget_s": seconds(self.time_budget_s),
            "n_finalists": self.n_finalists,
        }
        return {name: value for name, value in found.items() if value is not None}


def seconds(budget: float | timedelta | None) -> float | None:
    """A time budget in seconds."""
    return budget.total_seconds() if isinstance(budget, timedelta) else budget


def with_growths(arguments: Arguments, growths: Iterable[Grown]) -> Arguments:
    """What a user gave at the beginning, with what restores have asked for since."""
    tune_config = copy.copy(arguments.tune_config)
    for growth in growths:
        if "num_samples" in growth.asked:
            tune_config.num_samples = growth.asked["num_samples"]
        if "time_budget_s" in growth.asked:
            tune_config.time_budget_s = growth.asked["time_budget_s"]
    return dataclasses.replace(arguments, tune_config=tune_config)


def halving_of(arguments: Arguments, growths: Iterable[Grown]) -> Halving | None:
    """The scheduler's arguments, with the newest ``max_t``."""
    halving = read_scheduler(arguments.tune_config.scheduler)
    for growth in growths:
        if halving is not None and "max_t" in growth.asked:
            halving = dataclasses.replace(halving, max_t=growth.asked["max_t"])
    return halving


def growth(
    wish: Wish,
    header: Header,
    fresh_seeds: Sequence[int],
    arguments: Arguments,
    trainable: SeededTrainable,
    fingerprint: Mapping[str, str],
) -> Grown | None:
    """What a restore changes, checked; None where it only goes on.

    Args:
        wish: what was asked for.
        header: what holds so far.
        fresh_seeds: those that have confirmed configs.
        arguments: of the study, as of now.
        trainable: the one that the restore was given.
        fingerprint: of that.

    Raises:
        ValueError: it asks for less than there is, for something that can't grow, or the trainable
            has changed in a part that is not among ``allow_changes``.
    """
    changes = _changes(wish, header, trainable, fingerprint)
    if header.has_own_policy and (wish.seeds is not None or wish.max_t is not None):
        raise ValueError(
            f"the policy {header.policy} laid the rungs of this study, {_shown_rungs(header)}, and "
            "goes on with them, so seeds and max_t can't grow; begin a new study with a policy of "
            "other rungs"
        )
    seeds = _seeds(wish.seeds, header, fresh_seeds)
    n_finalists = header.n_finalists if wish.n_finalists is None else wish.n_finalists
    if n_finalists < header.n_finalists:
        raise _less("n_finalists", n_finalists, header.n_finalists)
    rungs = _rungs(wish.max_t, header, arguments, trainable, len(seeds))
    num_samples = _num_samples(wish.num_samples, header, arguments)
    same = (seeds, rungs, n_finalists, num_samples) == (
        header.seeds,
        header.rungs,
        header.n_finalists,
        header.num_samples,
    )
    if same and not changes and wish.time_budget_s is None:
        return None
    asked = wish.asked
    if "seeds" in asked:
        asked["seeds"] = list(seeds)
    return Grown(
        seeds,
        rungs,
        n_finalists,
        num_samples,
        asked,
        {**header.fingerprint, **fingerprint},
        changes,
        datetime.now().isoformat(" ", "seconds"),
    )


def _changes(
    wish: Wish, header: Header, trainable: SeededTrainable, fingerprint: Mapping[str, str]
) -> tuple[str, ...]:
    if trainable.time_attr != header.time_attr:
        raise ValueError(
            f"the experiment counts {header.time_attr!r}, this trainable "
            f"{trainable.time_attr!r}; restore with the trainable it was started with"
        )
    parts, versions = differences(header.fingerprint, fingerprint)
    if wish.max_t is not None and "max_epochs" in parts:
        parts.remove("max_epochs")  # longer training may need it, and is checked by itself
    known = {name for name in {*header.fingerprint, *fingerprint} if not name.startswith("version")}
    if unknown := sorted(set(wish.allow_changes) - known):
        raise ValueError(
            f"allow_changes names {unknown}; the parts of this trainable are {sorted(known)}"
        )
    if refused := [name for name in parts if name not in wish.allow_changes]:
        shown = "; ".join(_shown(name, header.fingerprint, fingerprint) for name in refused)
        raise ValueError(
            f"the trainable is not the one that the study was run with: {shown}. Scores of two "
            "trainables do not compare, and a group would mix both: restore with the old one, "
            "begin a new study, or, where the change does not matter, restore with "
            f"allow_changes={refused}"
        )
    if versions:
        logger.warning(
            "%s: runs that train from now on may differ from those before; results.environment_"
            "differences says where",
            "; ".join(versions),
        )
    return tuple(parts)


def _shown_rungs(header: Header) -> str:
    return " ".join(map(str, header.rungs))


def _shown(name: str, then: Mapping[str, str], now: Mapping[str, str]) -> str:
    if len(then[name]) == len(now[name]) == 24:  # digests
        return f"the code or content of {name} has changed"
    return f"{name} was {then[name]} and is {now[name]}"


def _seeds(
    given: Sequence[int] | int | None, header: Header, fresh_seeds: Sequence[int]
) -> tuple[int, ...]:
    old = header.seeds
    if given is None:
        return old
    if isinstance(given, int) and not isinstance(given, bool):
        if given < len(old):
            raise _less("seeds", given, len(old))
        taken = (*old, *header.confirm_seeds, *fresh_seeds)
        return (*old, *check_fresh_seeds(given - len(old), taken))
    seeds = check_seeds(given)
    if seeds[: len(old)] != old:
        raise ValueError(
            f"seeds must begin with those of the study, {list(old)}, in their order, got "
            f"{list(seeds)}: every group has been judged on them"
        )
    check_fresh_seeds((*header.confirm_seeds, *fresh_seeds), seeds)
    return seeds


def _rungs(
    max_t: int | None,
    header: Header,
    arguments: Arguments,
    trainable: SeededTrainable,
    n_seeds: int,
) -> tuple[Rung, ...]:
    old = header.rungs
    if header.has_own_policy:
        return old
    last = old[-1].epochs
    halving = read_scheduler(arguments.tune_config.scheduler)
    if max_t is not None and last == TO_THE_END:
        raise ValueError(
            f"max_t={max_t}: the runs of this study end by themselves, so it has no number of "
            "epochs that could grow"
        )
    if max_t is not None and max_t < last:
        raise _less("max_t", max_t, last)
    if halving is None:
        own = trainable.max_epochs
        if last != TO_THE_END and own is not None and own != (max_t or last):
            raise ValueError(
                f"the study trains {last} epochs and the trainable max_epochs={own}: give "
                f"restore(..., max_t={own}) to train all of it for longer"
                if max_t is None
                else f"max_t={max_t}, but the trainable has max_epochs={own}; give both alike"
            )
        return build_rungs([max_t or last], n_seeds, "all")
    if max_t is not None and trainable.max_epochs is not None and trainable.max_epochs < max_t:
        raise ValueError(
            f"max_t={max_t} is above the trainer's max_epochs={trainable.max_epochs}: give a "
            "trainable with more"
        )
    epochs = sorted({rung.epochs for rung in old})
    if max_t is not None and max_t > last:
        # The rungs that groups were compared at stay; above them it goes on as from the start.
        more = milestones(max_t, halving.grace_period, halving.reduction_factor)
        epochs += [epoch for epoch in more if epoch > last]
        odd = [epoch for epoch in epochs if epoch % trainable.metric_period]
        if odd:
            raise ValueError(
                f"the rung at epoch {odd[0]} has no metric, which comes every "
                f"{trainable.metric_period} epochs; choose another max_t"
            )
    return build_rungs(epochs, n_seeds, header.counts_for(len(epochs)))


def _num_samples(given: int | None, header: Header, arguments: Arguments) -> int:
    if given is None:
        return header.num_samples
    now = arguments.tune_config.num_samples
    if given < now:
        raise _less("num_samples", given, now)
    if arguments.tune_config.search_alg is not None:
        return given
    variants = VariantSearch(
        arguments.param_space, given, header.search_seed or 0, arguments.points
    )
    if given > now and not has_random(arguments.param_space):
        raise ValueError(
            f"num_samples={given}: the whole grid was run already, and nothing in param_space is "
            "drawn at random; a larger grid is a new study"
        )
    return variants.n_configs


def _less(name: str, given: Any, now: Any) -> ValueError:
    return ValueError(
        f"{name}={given} is less than the {now} of the study, and a study can only grow: leave it "
        "out, or begin a new one"
    )
