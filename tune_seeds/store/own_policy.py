"""The policy of a study that is its user's own, kept beside it for ``restore``."""

from __future__ import annotations

from typing import Any, cast

import cloudpickle
import pyarrow.fs

from tune_seeds.core import checks
from tune_seeds.policies.base import Policy
from tune_seeds.policies.given import checked_policy
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.errors import CannotLoadPolicyError
from tune_seeds.store.study_spec import Header

POLICY = "policy.pkl"


def dotted_name(policy: Policy) -> str:
    """How a study's header calls a policy of the user's: ``module:Class``."""
    kind = type(policy)
    return f"{kind.__module__}:{kind.__qualname__}"


def unused_policy(given: Any, n_seeds: int) -> Policy:
    """A checked copy of a policy that a user gave, which nobody else tells anything.

    Raises:
        ValueError: its rungs don't fit the study, it was used before, or it can't be pickled, so
            that the study could not be restored.
    """
    policy = checked_policy(given, n_seeds)
    try:
        return cast(Policy, cloudpickle.loads(cloudpickle.dumps(policy)))
    except Exception as error:  # whatever the user's class raises
        raise ValueError(
            f"the policy {dotted_name(policy)} can't be pickled, so a study with it could not be "
            f"restored ({type(error).__name__}: {error}); let it hold plain values only"
        ) from error


def store_policy(directory: ExperimentDir, policy: Policy) -> None:
    """Keep a policy, as it is before it was told anything, beside its study."""
    directory.write(POLICY, cloudpickle.dumps(policy), private=True)


def load_policy(directory: ExperimentDir, name: str) -> Policy:
    """What ``store_policy`` kept. It unpickles, which runs code: only from one's own experiments.

    Args:
        directory: of the experiment.
        name: of the policy, as the header has it.

    Raises:
        CannotLoadPolicyError: the file or a module that it needs is not there any more.
    """
    try:
        policy: Any = cloudpickle.loads(directory.read(POLICY))
    except Exception as error:  # whatever the user's modules raise when they are imported
        raise CannotLoadPolicyError(
            f"the study's own policy {name} can't be loaded from {directory.join(POLICY)} "
            f"({type(error).__name__}: {error}); make its module importable here, as it was where "
            "the study was started"
        ) from error
    if dotted_name(policy) != name:
        raise CannotLoadPolicyError(
            f"{directory.join(POLICY)} holds {dotted_name(policy)}, and the study was started with "
            f"{name}; put the file of this study back"
        )
    return cast(Policy, policy)


def stored_policy(path: str, storage_filesystem: pyarrow.fs.FileSystem | None) -> Policy | None:
    """The user's policy that steered the experiment at ``path``; None where it was one of ours.

    It unpickles, which runs code: only from one's own experiments.

    Raises:
        CannotLoadPolicyError: there was one, and it can't be loaded here.
    """
    directory = ExperimentDir.at(checks.path("path", path), storage_filesystem)
    header = Header.read(directory)
    return load_policy(directory, header.policy) if header.has_own_policy else None
