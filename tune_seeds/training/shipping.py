"""A trainable on its way to the trials: once to each node, through Ray's object store."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from ray import cloudpickle, tune

from tune_seeds.training.trainable import Plan, SeededTrainable


def shipped(trainable: SeededTrainable, plan: Plan) -> Callable[[dict[str, Any]], None]:
    """The Ray Tune function of a study, whose loaders and data do not travel with each trial.

    Ray pickles a trial's function into its own control store, which takes little; a loader with a
    data set of 120 MB ends a study there. The pickled function is an array of bytes in the object
    store instead, of which each node has one. A process unpickles it once, so that runs get data
    that they may write to, as they do with a function that Ray pickles.

    Ray's own pickler is used: it keeps the owners of object references, which functions made by
    ``tune.with_parameters`` hold.

    Args:
        trainable: what is trained; Ray has to be started.
        plan: what runs are told.

    Raises:
        ValueError: it can't be pickled; the message names what it holds.
    """
    try:
        pickled = np.frombuffer(cast(Any, cloudpickle).dumps(trainable.function(plan)), np.uint8)
    except Exception as error:  # whatever the user's objects raise
        raise ValueError(
            f"the trainable {trainable.name} can't be pickled, and runs train in processes of "
            f"their own ({type(error).__name__}: {error}): make what it holds inside of it"
        ) from error
    key = uuid.uuid4().hex

    def run(config: dict[str, Any], pickled: Any) -> None:
        unpickled(key, pickled)(config)

    run.__name__ = run.__qualname__ = trainable.name
    return cast(Callable[[dict[str, Any]], None], tune.with_parameters(run, pickled=pickled))


#: The function that this process has unpickled, by its study's key.
_known: dict[str, Callable[[dict[str, Any]], None]] = {}


def unpickled(key: str, pickled: Any) -> Callable[[dict[str, Any]], None]:
    """The function of a study, unpickled at its first run in this process."""
    if key not in _known:
        _known.clear()
        _known[key] = cast(Any, cloudpickle).loads(memoryview(pickled))
    return _known[key]
