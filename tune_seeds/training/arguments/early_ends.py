"""Callbacks and code of a user's that would end a run early, or fit and report inside it."""

from __future__ import annotations

import dis
import types
from collections.abc import Iterable
from typing import Any

from lightning.pytorch import callbacks as lightning_callbacks

from tune_seeds.training.fit import as_list

_STOPS = (
    "ends the seeds of one config at different epochs, and they are compared at equal ones; take "
    "it out of the callbacks and leave stopping to the scheduler"
)
_FITS_INSIDE = (
    "runs a fit of its own inside a run's, which would be reported and paused as the run's; "
    "{instead}"
)
#: Callbacks that a run can't have → why.
_REFUSED: dict[type[Any], str] = {
    lightning_callbacks.EarlyStopping: _STOPS,
    lightning_callbacks.Timer: f"counts seconds, so it {_STOPS}",
    lightning_callbacks.LearningRateFinder: _FITS_INSIDE.format(
        instead="search the learning rate: param_space={'lr': tune.loguniform(...)}"
    ),
    lightning_callbacks.BatchSizeFinder: _FITS_INSIDE.format(
        instead="fix the batch size, or search it: param_space={'batch_size': tune.choice([...])}"
    ),
}


def check_callbacks(given: Any, where: str) -> None:
    """Refuse callbacks that end runs early, fit inside them, or report by themselves."""
    if given is not None and not isinstance(given, (list, tuple, lightning_callbacks.Callback)):
        raise ValueError(f"{where} must be a callback or a list of them, got {given!r}")
    for callback in as_list(given):
        name = callback.__name__ if isinstance(callback, type) else type(callback).__name__
        if isinstance(callback, type):
            raise ValueError(f"{where} holds the class {name}; give an instance: {name}(...)")
        home = type(callback).__module__
        ours = isinstance(callback, lightning_callbacks.Callback)
        if ours and home.startswith("ray.") and "Report" in name:
            raise ValueError(
                f"{name} in {where} would report beside this package: leave it out, every metric "
                "that is logged is reported, and runs checkpoint at their rungs"
            )
        for kind, why in _REFUSED.items():
            if isinstance(callback, kind):
                raise ValueError(f"{name} {why}" if kind is type(callback) else f"{name}, {why}")
        if not ours:
            raise ValueError(
                f"{where} holds a {home}.{name}, which is no Callback of the package 'lightning'"
            )


def refuse_early_ends(targets: Iterable[Any]) -> None:
    """Refuse modules and callbacks whose own code sets ``trainer.should_stop``.

    Raises:
        ValueError: names the class and the method.
    """
    for target in targets:
        kind: Any = target if isinstance(target, type) else type(target)
        for base in kind.__mro__:
            if base.__module__.partition(".")[0] in ("lightning", "torch", "builtins"):
                continue
            for method in vars(base).values():
                code = getattr(getattr(method, "__func__", method), "__code__", None)
                if code is not None and _stops(code):
                    where = f"{base.__name__}.{method.__name__}"
                    raise ValueError(
                        f"{where} sets trainer.should_stop, which ends the seeds of one config at "
                        "different epochs, and they are compared at equal ones; leave stopping to "
                        "the scheduler"
                    )


def _stops(code: types.CodeType) -> bool:
    # A value of False takes a stop back: `trainer.should_stop = False`.
    loaded: list[Any] = []
    for instruction in dis.get_instructions(code):
        if instruction.opname == "STORE_ATTR" and instruction.argval == "should_stop":
            if not (loaded and loaded[-1] is False):
                return True
        elif instruction.opname == "LOAD_CONST":
            loaded.append(instruction.argval)
        elif instruction.opname not in ("LOAD_FAST", "LOAD_ATTR", "CACHE", "EXTENDED_ARG"):
            loaded.clear()
    return any(_stops(inner) for inner in code.co_consts if isinstance(inner, types.CodeType))
