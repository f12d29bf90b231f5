"""Ray Tune says little while a study shows itself how it goes."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def quiet_ray(verbose: int) -> Generator[None]:
    """Keep back what Ray Tune says of trials, and how to resume those; its other errors stay.

    Args:
        verbose: as for ``RunConfig``; above 0 everything is said.
    """
    if verbose > 0:
        yield
        return
    tune = logging.getLogger("ray.tune")
    talkers = [logging.getLogger(f"ray.tune.{name}") for name in _TALKERS]
    level, output = tune.level, os.environ.get(_NEW_OUTPUT)
    tune.setLevel(logging.ERROR)
    # The new output prints a header and every error at verbose=0 too, the old one does not.
    os.environ[_NEW_OUTPUT] = "0"
    for talker in talkers:
        talker.addFilter(_is_not_about_one_trial)
    try:
        yield
    finally:
        tune.setLevel(level)
        os.environ.pop(_NEW_OUTPUT)
        if output is not None:
            os.environ[_NEW_OUTPUT] = output
        for talker in talkers:
            talker.removeFilter(_is_not_about_one_trial)


_NEW_OUTPUT = "RAY_AIR_NEW_OUTPUT"
_TALKERS = ("tune", "execution.tune_controller")


def _is_not_about_one_trial(record: logging.LogRecord) -> bool:
    told = ("Trials did not complete", "Trial task failed for trial")
    return not str(record.msg).startswith(told)
