"""Runs that count optimizer steps instead of epochs, as language models are trained.

They report at each validation, which comes every so many batches. Lightning can't go on in the
middle of an epoch as if nothing had been, since a loader, let alone a stream, does not come back to
its place. So such a run keeps no state at rungs: one that was paused is trained from its beginning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning import LightningModule, Trainer

from tune_seeds.core import checks
from tune_seeds.training.run_callback import RunCallback

#: The report key of the optimizer steps that a run has done.
STEP = "step"

#: What decides at which steps there are metrics, and so is the same for every config.
_PACE = ("val_check_interval", "check_val_every_n_epoch", "accumulate_grad_batches")


def counts_steps(trainer_kwargs: Mapping[str, Any]) -> bool:
    """Whether a run ends after a number of steps and not of epochs."""
    return trainer_kwargs.get("max_steps", -1) not in (None, -1)


def check_steps(kwargs: Mapping[str, Any], pause: str, num_workers: int) -> None:
    """Refuse arguments with which a run that counts steps could not report at its rungs.

    Raises:
        ValueError: names the argument.
    """
    where = "trainer_kwargs"
    checks.whole_number(f"{where}['max_steps']", kwargs["max_steps"], at_least=1)
    if kwargs.get("max_epochs") not in (None, -1):
        raise ValueError(
            f"{where} has max_steps and max_epochs: rungs are counted in one of them; leave the "
            "other out"
        )
    interval = kwargs.get("val_check_interval")
    if isinstance(interval, bool) or not isinstance(interval, int) or interval < 1:
        raise ValueError(
            f"max_steps in {where} counts rungs in steps, where runs report at each validation: "
            "give val_check_interval=N, a whole number of batches, and "
            f"check_val_every_n_epoch=None; got val_check_interval={interval!r}"
        )
    if kwargs.get("check_val_every_n_epoch", 1) is not None:
        raise ValueError(
            f"max_steps in {where} needs check_val_every_n_epoch=None, so that validation comes "
            f"every {interval} batches wherever an epoch ends; got "
            f"{kwargs.get('check_val_every_n_epoch', 1)!r}"
        )
    accumulated = checks.whole_number(
        f"{where}['accumulate_grad_batches']", kwargs.get("accumulate_grad_batches", 1), at_least=1
    )
    if interval % accumulated:
        raise ValueError(
            f"val_check_interval={interval} in {where} is no multiple of accumulate_grad_batches="
            f"{accumulated}, so that validations fall between steps"
        )
    if kwargs["max_steps"] % period(kwargs):
        raise ValueError(
            f"max_steps={kwargs['max_steps']} in {where} has no validation at its end: make it a "
            f"multiple of {period(kwargs)} steps"
        )
    if pause != "never":
        raise ValueError(
            "a run that counts steps can't be paused exactly: in the middle of an epoch no loader "
            "comes back to its place. Give LightningTrainer(pause='never'), with which a paused "
            "run is trained again from its beginning; or count epochs, with max_epochs and "
            "limit_train_batches=N, whose ends are exact"
        )
    if num_workers > 1:
        raise ValueError(
            f"max_steps with num_workers={num_workers}: runs of several workers report at the ends "
            "of epochs; count epochs, with max_epochs and limit_train_batches=N"
        )


def period(kwargs: Mapping[str, Any]) -> int:
    """The number of steps from one validation to the next."""
    return int(kwargs["val_check_interval"]) // int(kwargs.get("accumulate_grad_batches", 1))


def in_epochs(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What lets a run that counts steps count epochs instead, as short looks at it do."""
    if not counts_steps(kwargs):
        return {}
    return {"max_steps": -1, "val_check_interval": 1.0, "check_val_every_n_epoch": 1}


def check_steps_space(routed: Mapping[str, Any], metric: str, kwargs: Mapping[str, Any]) -> None:
    """Refuse a search over what decides at which steps there are metrics.

    Args:
        routed: what a search space gives to the trainer.
        metric: what is tuned.
        kwargs: of the trainer.

    Raises:
        ValueError: names the argument.
    """
    for name in _PACE:
        if name in routed:
            raise ValueError(
                f"{name} in param_space: configs are compared at equal steps, so all of them "
                "validate at the same; give it in trainer_kwargs"
            )
    if 0 in (kwargs.get("limit_val_batches"), routed.get("limit_val_batches")):
        raise ValueError(
            f"limit_val_batches=0 leaves out validation, where {metric!r} is logged and runs that "
            "count steps report"
        )


def step_without_metric(step: int, every: int) -> str:
    """What is wrong with a rung between two validations."""
    return (
        f"the rung at step {step} has no metric: validation comes every {every} steps; choose "
        "grace_period, reduction_factor and max_t (or max_steps) to fall on those"
    )


class StepCallback(RunCallback):
    """Hands over the metrics of each validation, keyed on the steps that are done."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and end the run at the plan's last step."""
        if trainer.sanity_checking or trainer.global_step > self._plan.last_epoch:
            return
        self._metrics = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if value.numel() == 1
        }
        self._metrics[STEP] = trainer.global_step
        self._report(self._metrics, None, self._fingerprints)
        if self._stops and trainer.global_step >= self._plan.last_epoch:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch's end is no place for a report."""
