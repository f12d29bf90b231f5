"""Why a run failed, from what Ray wrote of its trial."""

from __future__ import annotations

import re

from ray.tune.experiment import Trial

from tune_seeds.core.ledger import RunKey
from tune_seeds.core.root_cause import root_cause
from tune_seeds.race.common_failure import CommonFailure


def note_failure(failures: CommonFailure, key: RunKey, trial: Trial, *, retried: bool) -> str:
    """Count a failure among those that may be common to all runs.

    Args:
        failures: those of the study.
        key: the run.
        trial: its trial, which failed.
        retried: whether Ray tries it again.

    Returns:
        Why the run failed, on one line.
    """
    cause = root_cause(_error_text(trial))
    own = {str(key.seed): "<seed>", trial.trial_id: "<trial>", str(trial.local_path): "<run>"}
    failures.note(key, cause, own, retried=retried)
    return cause.line


def _error_text(trial: Trial) -> str:
    """What Ray wrote of a trial's last failure; its file has those before it, too."""
    file = trial.error_file
    if file is None:
        return "the run failed without an error file"
    try:
        with open(file) as stream:
            text = stream.read()
    except OSError as error:
        return f"the run failed, and its error file can't be read ({error})"
    return re.split(r"^Failure # \d+ \(occurred at .*\)$", text, flags=re.MULTILINE)[-1]
