"""The trainable of a study, pickled beside it, so that a run can be trained again."""

from __future__ import annotations

import os
import pickle
import sys
from typing import cast

import cloudpickle

from tune_seeds.store.directory import ExperimentDir
from tune_seeds.training.trainable import SeededTrainable

TRAINABLE = "trainable.pkl"


class CannotLoadTrainableError(RuntimeError):
    """The trainable of an experiment can't be unpickled here; the message says why."""


def store_trainable(directory: ExperimentDir, trainable: SeededTrainable) -> None:
    """Keep a study's trainable beside it, and where its modules are found.

    Raises:
        TypeError: it can't be pickled, so that no worker could get it either.
    """
    directory.write(TRAINABLE, stored_form(trainable), private=True)


def stored_form(trainable: SeededTrainable) -> bytes:
    """What ``load_trainable`` takes.

    Raises:
        TypeError: it can't be pickled.
    """
    places = [os.path.abspath(place) for place in sys.path if os.path.isdir(place or ".")]
    try:
        pickled = cloudpickle.dumps(trainable)
    except Exception as error:  # whatever the user's objects raise
        raise TypeError(
            f"{trainable.name} can't be sent to the workers: {error}. It refers to an object that "
            "can't be pickled (an open file, a lock, a connection); make that object where it is "
            "used, inside of the training"
        ) from error
    return pickle.dumps((places, pickled))


def load_trainable(stored: bytes) -> SeededTrainable:
    """What ``store_trainable`` wrote.

    Raises:
        CannotLoadTrainableError: a module it needs is not there any more, usually.
    """
    places, pickled = pickle.loads(stored)
    sys.path.extend(place for place in places if place not in sys.path)
    try:
        return cast(SeededTrainable, cloudpickle.loads(pickled))
    except Exception as error:  # whatever the user's modules raise when they are imported
        raise CannotLoadTrainableError(f"the trainable can't be loaded: {error!r}") from error
