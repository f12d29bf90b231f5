"""Why is a run not reproducible? Train it a few times under watch, and name what differs first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_seeds.core.seeds import MAX_SEED
from tune_seeds.reproduce.audit.diagnosis import diagnose
from tune_seeds.reproduce.audit.evidence import Evidence, needs_third_process
from tune_seeds.reproduce.audit.finding import Cause, Finding
from tune_seeds.reproduce.audit.pauses import paused_in_processes
from tune_seeds.reproduce.audit.process import AuditError, traced_in_process
from tune_seeds.reproduce.audit.trace import Stage
from tune_seeds.statistics.shown import Shown
from tune_seeds.training.lightning_trainer import LightningTrainer

__all__ = ["AuditError", "AuditReport", "Cause", "Finding", "Stage", "audit"]


@dataclass(frozen=True, slots=True, repr=False)
class AuditReport(Shown):
    """What an audit found.

    Attributes:
        findings: what is wrong, the irreproducible first; empty where nothing is.
        nondeterministic_ops: ops of the model without a deterministic kernel on this device;
            ``deterministic=True`` refuses them, ``"warn"`` and ``False`` let them differ.
        paused: whether the run was paused too; a ``LightningTrainer(pause="never")`` never is.
    """

    findings: tuple[Finding, ...]
    nondeterministic_ops: tuple[str, ...]
    paused: bool = False

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        for finding in self.findings:
            yield {
                "cause": str(finding.cause),
                "where": finding.where,
                "likely cause": finding.why,
                "remedy": finding.remedy,
            }

    def _notes(self) -> Sequence[str]:
        return (str(self),)

    def __str__(self) -> str:
        lines = [str(finding) for finding in self.findings] or [
            "reproducible: every step is equal in a new process, in a reused one, after another "
            "run" + (" and over pauses" if self.paused else "") + ", and the seed reaches all "
            "randomness that was seen"
        ]
        if self.nondeterministic_ops:
            ops = ", ".join(self.nondeterministic_ops)
            lines.append(f"no deterministic kernel on this device: {ops}")
        return "\n".join(lines)


def audit(
    trainable: LightningTrainer,
    config: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    n_epochs: int = 2,
    n_batches: int = 4,
) -> AuditReport:
    """Train one run several times for a few batches, and say where and why it differs.

    The run is trained in a process of its own, again in the same process after a run with another
    seed, and in a second process with another hash seed. Then it is trained once more, and paused
    after every epoch: the first pause leads into another process.

    Args:
        trainable: what a study would train.
        config: hyperparameters, without the seed.
        seed: of the run, 0 … 2³²−1.
        n_epochs: epochs of each run, at least 1; two show what goes wrong between epochs. It is
            also the number of pauses; give more where a callback acts at a later epoch.
        n_batches: training batches of each epoch, at least 1. More find what happens rarely.

    Raises:
        ValueError: an argument is out of its range, or the trainable is no ``LightningTrainer``.
        AuditError: the run fails by itself.
    """
    if not isinstance(trainable, LightningTrainer):
        raise ValueError(
            "audit takes a LightningTrainer: inside of a plain function there is no layer, batch "
            "or optimizer to watch; `tune-seeds verify` tells whether its metrics are reproducible"
        )
    if n_epochs < 1 or n_batches < 1:
        raise ValueError(f"n_epochs={n_epochs} and n_batches={n_batches} must be at least 1")
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed {seed} is outside 0 … 2³²−1")
    config = {} if config is None else config
    other = (seed + 1) % (MAX_SEED + 1)
    here = [(trainable, config, [seed, other, seed])]
    there = [(trainable, config, [seed])]
    ((run, other_seed, again),) = traced_in_process(here, 0, n_epochs=n_epochs, n_batches=n_batches)
    ((elsewhere,),) = traced_in_process(there, 1, n_epochs=n_epochs, n_batches=n_batches)
    evidence = Evidence(run, other_seed, again, elsewhere)
    if needs_third_process(evidence):
        ((same_hash,),) = traced_in_process(there, 0, n_epochs=n_epochs, n_batches=n_batches)
        evidence = dataclasses.replace(evidence, same_hash=same_hash)
    if trainable.pauses:
        jobs = [(trainable, config, seed)]
        (pauses,) = paused_in_processes(jobs, n_epochs=n_epochs, n_batches=n_batches)
        evidence = dataclasses.replace(evidence, pauses=pauses)
    findings = tuple(diagnose(evidence))
    return AuditReport(findings, tuple(run.nondeterministic_ops), trainable.pauses)
