"""What the seed does not reach though it is random, and what is random that should not be."""

from __future__ import annotations

from collections.abc import Sequence

from tune_seeds.reproduce.audit.evidence import Evidence
from tune_seeds.reproduce.audit.finding import Cause, Finding
from tune_seeds.reproduce.audit.trace import (
    Point,
    SeedCall,
    Stage,
    Trace,
)


def unreached(evidence: Evidence) -> list[Finding]:
    """What is the same for two seeds, or for two loader workers, though it is random."""
    a, b = evidence.run, evidence.other_seed
    findings: list[Finding] = []
    for stage in (Stage.SPLIT, Stage.INITIAL_WEIGHTS, Stage.BATCH_ORDER):
        points = [p for p in a.digests if p.stage is stage and p not in a.constant]
        if points and all(a.digests[p] == b.digests.get(p) for p in points):
            findings.append(_hard_coded(points[0], a.seed_calls, b.seed_calls))
    findings.extend(_workers(a, b))
    findings.extend(
        Finding(
            Cause.SAME_IN_WORKERS,
            Stage.BATCH_CONTENT,
            path,
            f"batch content: every loader worker gets a copy of the data set's generator ({path})",
            "each worker starts from the same state, in every epoch, so they draw the same numbers",
            "draw from the global generators, which are seeded for each worker, or make the "
            "generator in worker_init_fn from torch.initial_seed()",
        )
        for path in a.copied_generators
    )
    return findings


def _hard_coded(point: Point, ours: Sequence[SeedCall], theirs: Sequence[SeedCall]) -> Finding:
    fixed = [call for call in ours if call.argument and call in theirs]
    named = f"{fixed[0].function}({fixed[0].argument}) at {fixed[0].place}" if fixed else ""
    why = named or "a generator with a seed of its own, such as torch.Generator().manual_seed(0)"
    if point.stage is Stage.INITIAL_WEIGHTS and not fixed:
        why = "weights from a file, or " + why
    return Finding(
        Cause.HARD_CODED,
        point.stage,
        point.name,
        f"{point} comes out identical for two different seeds",
        why,
        "take the seed from config['seed'] or draw from the global generators; where it is meant "
        "(a fixed split, pretrained weights), know that the spread over seeds does not include it",
    )


def _workers(a: Trace, b: Trace) -> list[Finding]:
    findings: list[Finding] = []
    for name in ("python", "numpy", "torch"):
        states = [worker[name] for worker in a.workers]
        shared = len(states) > 1 and len(set(states)) < len(states)
        others = [worker[name] for worker in b.workers]
        unreached = bool(states) and states == others
        if not shared and not unreached:
            continue
        what = "draw the same numbers" if shared else "draw the same numbers for every seed"
        findings.append(
            Finding(
                Cause.SAME_IN_WORKERS if shared else Cause.HARD_CODED,
                Stage.BATCH_CONTENT,
                name,
                f"batch content: the loader workers {what} from {name}",
                "worker_init_fn seeds it with a constant, or not at all",
                "leave worker_init_fn out: Lightning seeds Python, NumPy and torch in each worker; "
                "or derive the seed from torch.initial_seed(), which differs between workers",
            )
        )
    return findings


def active_in_validation(trace: Trace) -> list[Finding]:
    """The layers that act at random in validation, because they are in train mode there."""
    if not trace.active_in_validation:
        return []
    layers = ", ".join(trace.active_in_validation)
    return [
        Finding(
            Cause.TRAIN_MODE,
            Stage.FORWARD,
            trace.active_in_validation[0].partition(" ")[0],
            f"validation runs in train mode: {layers}",
            "a hook or step calls train(), so the metric depends on dropout masks or on the batch",
            "leave the mode to Lightning; where train() is needed, call eval() again after it",
        )
    ]
