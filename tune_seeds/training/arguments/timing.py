"""Arguments of the trainer that decide when there are metrics, and where a run can end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ray.tune.search.sample import Categorical, Domain

from tune_seeds.core import checks
from tune_seeds.training.steps import counts_steps, period

#: Arguments that decide when metrics are there, or how long a run trains.
_TIMING = (
    "check_val_every_n_epoch",
    "val_check_interval",
    "limit_val_batches",
    "reload_dataloaders_every_n_epochs",
)


def check_timing(kwargs: Mapping[str, Any], where: str, epochs: Sequence[int] = ()) -> None:
    """Refuse what would leave a rung without its metric or keep a run from stopping there.

    Args:
        kwargs: arguments of the trainer.
        where: where they come from, for the message.
        epochs: of the rungs, where they are known.
    """
    reload = kwargs.get("reload_dataloaders_every_n_epochs") or 0
    if reload not in (0, 1):
        raise ValueError(
            f"reload_dataloaders_every_n_epochs must be 0 or 1, got {reload!r} in {where}: loaders "
            "that were made some epochs before a pause can't be made again as they were"
        )
    period = kwargs.get("check_val_every_n_epoch", 1)
    if period is not None:
        checks.whole_number(f"{where}['check_val_every_n_epoch']", period, at_least=1)
    if "val_check_interval" in kwargs and kwargs["val_check_interval"] not in (None, 1.0):
        interval = kwargs["val_check_interval"]
        if isinstance(interval, int) or period is None:
            raise ValueError(
                f"val_check_interval={interval!r} in {where} validates every so many batches, and "
                "rungs are at the ends of epochs: leave it out, or give a fraction of an epoch "
                "such as 0.5, whose last validation ends the epoch"
            )
        share = checks.real_number(f"{where}['val_check_interval']", interval, above=0, at_most=1)
        if abs(1 / share - round(1 / share)) > 1e-9:
            raise ValueError(
                f"val_check_interval={interval!r} in {where} has no validation at the end of an "
                "epoch, where rungs are: give 1/2, 1/3, 1/4, ..."
            )
    elif period is None:
        raise ValueError(
            f"check_val_every_n_epoch=None in {where} validates by batches over epochs, and rungs "
            "are at the ends of epochs; give a whole number"
        )
    for name in ("min_epochs", "min_steps"):
        least = kwargs.get(name)
        if least is None:
            continue
        checks.whole_number(f"{where}[{name!r}]", least, at_least=0)
        if name == "min_steps" and least > 0 and epochs and len(set(epochs)) > 1:
            raise ValueError(
                f"min_steps={least} in {where} may keep a run from stopping at the rung at epoch "
                f"{min(epochs)}; leave it out"
            )
        early = [epoch for epoch in epochs if name == "min_epochs" and epoch < least]
        if early:
            raise ValueError(
                f"min_epochs={least} in {where} keeps a run from stopping at the rung at epoch "
                f"{min(early)}; lower it or raise grace_period"
            )
    for epoch in epochs:
        if period is not None and epoch % period:
            raise ValueError(
                f"the rung at epoch {epoch} has no metric: check_val_every_n_epoch={period} in "
                f"{where} validates at multiples of {period} only; choose grace_period, "
                "reduction_factor and max_t (or max_epochs) to fall on those"
            )


def possible_values(name: str, value: Any) -> list[Any]:
    """Every value that a key of a search space can take, for keys that decide on timing.

    Raises:
        ValueError: the key decides when metrics are there, and its values can't be listed.
    """
    if isinstance(value, Categorical):
        return list(cast(Any, value).categories)
    if isinstance(value, Mapping) and set(cast(Mapping[str, Any], value)) == {"grid_search"}:
        return list(cast(Mapping[str, Any], value)["grid_search"])
    if isinstance(value, Domain):
        if name in _TIMING:
            raise ValueError(
                f"the trainer's {name!r} decides when metrics are there, so every value of it is "
                "checked against the rungs: give it as a constant, tune.choice or tune.grid_search"
            )
        return []
    return [value]


def metric_period(trainer_kwargs: Mapping[str, Any]) -> int:
    """From one metric to the next: epochs, or steps where runs count those."""
    if counts_steps(trainer_kwargs):
        return period(trainer_kwargs)
    return trainer_kwargs.get("check_val_every_n_epoch") or 1
