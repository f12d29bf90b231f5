"""The traces of one trainable that its diagnosis rests on."""

from __future__ import annotations

from dataclasses import dataclass

from tune_seeds.reproduce.audit.pauses import PauseEvidence
from tune_seeds.reproduce.audit.trace import (
    Trace,
    first_difference,
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The traces of one trainable.

    Attributes:
        run: of a seed, as the first run of its process.
        other_seed: of another seed, after it in the same process.
        again: of the first seed, after both in the same process.
        elsewhere: of the first seed, in a new process with another hash seed.
        same_hash: of the first seed, in a new process with the hash seed of the first; None where
            it is not needed.
        pauses: the run with and without pauses; None where a study would never pause it.
    """

    run: Trace
    other_seed: Trace
    again: Trace
    elsewhere: Trace
    same_hash: Trace | None = None
    pauses: PauseEvidence | None = None


def needs_third_process(evidence: Evidence) -> bool:
    """Whether hash order has to be told from what is drawn when modules are imported."""
    same = first_difference(evidence.run, evidence.again) is None
    return same and first_difference(evidence.run, evidence.elsewhere) is not None
