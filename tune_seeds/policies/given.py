"""Policies that a user hands to a study, checked before it starts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tune_seeds.core.rungs import TO_THE_END, Rung
from tune_seeds.policies.base import Policy

_METHODS = ("scored", "promoted", "dropped", "revived", "first", "propose", "fresh", "leader")


def is_policy(value: object) -> bool:
    """Whether a value is meant as a policy: it proposes, or is a class whose instances do."""
    return callable(getattr(value, "propose", None))


def checked_policy(given: Any, n_seeds: int) -> Policy:
    """A policy whose rungs fit the seeds of a study.

    What it decides is not looked at here; ``tune_seeds.testing.check_policy`` does that, in a test.

    Args:
        given: what a user gave.
        n_seeds: of the study; the last rung has to hold all of them.

    Raises:
        ValueError: it is a class, lacks a method of ``Policy``, was used before, or its rungs do
            not rise to the full list of seeds.
    """
    name = type(given).__name__
    if isinstance(given, type):
        raise ValueError(
            f"the policy is the class {given.__name__}; give an instance: {given.__name__}(...)"
        )
    missing = [method for method in _METHODS if not callable(getattr(given, method, None))]
    if missing or not hasattr(given, "rungs"):
        missing += [] if hasattr(given, "rungs") else ["rungs"]
        raise ValueError(
            f"the policy {name} lacks {', '.join(missing)}; tune_seeds.policies.base.Policy says "
            "what each is told and must answer"
        )
    _check_rungs(name, given.rungs, n_seeds)
    if given.leader() is not None:
        raise ValueError(
            f"the policy {name} has a leader before the study begins, so it knows groups of "
            "another study; give a new one"
        )
    if given.first() not in given.rungs:
        raise ValueError(f"the policy {name} starts configs at {given.first()}, no rung of it")
    return given


def _check_rungs(name: str, rungs: Any, n_seeds: int) -> None:
    if not isinstance(rungs, tuple) or not rungs or not all(isinstance(r, Rung) for r in rungs):
        raise ValueError(f"the rungs of {name} must be a tuple of at least one Rung, got {rungs!r}")
    for lower, higher in pairwise(rungs):
        falls = higher.epochs < lower.epochs or higher.n_seeds < lower.n_seeds
        if falls or higher == lower:
            raise ValueError(
                f"the rungs of {name} must rise, in epochs or in seeds, but {higher} follows "
                f"{lower}"
            )
    if rungs[-1].n_seeds != n_seeds:
        raise ValueError(
            f"the last rung of {name} has {rungs[-1].n_seeds} seeds, and the study has {n_seeds}: "
            "finalists are judged on all of them"
        )
    if rungs[-1].epochs == TO_THE_END and len({rung.epochs for rung in rungs}) > 1:
        raise ValueError(f"the rungs of {name} mix numbers of epochs and the runs' own end")
