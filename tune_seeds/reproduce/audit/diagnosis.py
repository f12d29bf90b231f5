"""From traces to findings: where runs part, why, and what the seed does not reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tune_seeds.reproduce.audit.pauses import PauseEvidence
from tune_seeds.reproduce.audit.trace import (
    BEFORE_TRAINING,
    Point,
    SeedCall,
    Stage,
    Trace,
    first_difference,
    in_order,
)
from tune_seeds.statistics.shown import Shown


class Cause(StrEnum):
    """What kind of thing makes two runs of one seed differ, or two seeds agree."""

    UNSEEDED = "unseeded"
    EARLIER_RUN = "earlier run"
    HASH_ORDER = "hash order"
    BEFORE_SEED = "before the seed"
    HARD_CODED = "hard-coded seed"
    SAME_IN_WORKERS = "same in all workers"
    TRAIN_MODE = "train mode in validation"
    PAUSE = "lost over a pause"


@dataclass(frozen=True, slots=True, repr=False)
class Finding(Shown):
    """One thing that is wrong.

    Attributes:
        cause: its kind.
        stage: where it shows; None where it is not one step of training.
        name: of the parameter, layer, hook or worker.
        where: in words.
        why: the likely cause.
        remedy: what to do.
    """

    cause: Cause
    stage: Stage | None
    name: str
    where: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}\n  likely cause: {self.why}\n  remedy: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The traces of one trainable.

    Attributes:
        run: of a seed, as the first run of its process.
        other_seed: of another seed, after it in the same process.
        again: of the first seed, after both in the same process.
        elsewhere: of the first seed, in a new process with another hash seed.
        same_hash: likewise, with the hash seed of the first process; None where not needed.
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


def diagnose(evidence: Evidence) -> list[Finding]:
    """Everything that is wrong, the irreproducible first."""
    irreproducible = _irreproducible(evidence)
    pauses = [] if evidence.pauses is None else _paused(evidence.pauses, bool(irreproducible))
    return [*irreproducible, *pauses, *_unreached(evidence), *_inactive(evidence.run)]


def _irreproducible(evidence: Evidence) -> list[Finding]:
    again = first_difference(evidence.run, evidence.again)
    elsewhere = first_difference(evidence.run, evidence.elsewhere)
    if again is None and elsewhere is None:
        return []
    if again is not None and elsewhere is not None:
        # Whichever shows earlier is the origin; the other may be what follows from it.
        point = min(again, elsewhere, key=in_order)
        return [_unseeded(point, evidence)]
    if again is not None:
        return [
            _finding(
                Cause.EARLIER_RUN,
                again,
                "an earlier run in the same process left something behind: a global, a class "
                "attribute, a cache, a default argument that is mutated",
                "keep state on the module, data module or callback, which every run builds anew; "
                "or SeedTuner(reuse_actors=False), a new process for each run",
            )
        ]
    assert elsewhere is not None
    if (
        evidence.same_hash is not None
        and first_difference(evidence.run, evidence.same_hash) is None
    ):
        return [
            _finding(
                Cause.HASH_ORDER,
                elsewhere,
                "an order that depends on the process's hash seed: a set (or frozenset) of "
                "strings is iterated, or hash() of one is used",
                "iterate sorted(the_set), or keep the order in a list or dict; PYTHONHASHSEED=0 "
                "fixes it only where every process is started with it",
            )
        ]
    return [
        _finding(
            Cause.BEFORE_SEED,
            elsewhere,
            "drawn before the seed is applied: when a module is imported, in a class body, a "
            "default argument or an object made once outside of the run",
            "draw it in the constructor, setup or a loader method, which run after the seed; or "
            "from a generator with a seed of its own",
        )
    ]


_FROM_ITS_BEGINNING = (
    "As it is, a study trains the run again from its beginning after each pause, and says so; "
    'LightningTrainer(pause="never") means to.'
)
# More names say nothing new.
_MOST_NAMES = 8


def _paused(evidence: PauseEvidence, irreproducible: bool) -> list[Finding]:
    """What would not survive a pause."""
    at = evidence.paused.paused_at
    if evidence.paused.error:
        return [
            _lost(
                "the run",
                f"the run fails when it goes on after a pause at epoch {at}",
                evidence.paused.error,
                "let hooks that start a fit (setup, configure_optimizers, on_fit_start) do the "
                "same whether a fit starts or goes on: its state is put back after them",
            )
        ]
    lost = evidence.paused.lost
    if lost:
        findings = [_of_attribute(entry, at) for entry in lost[:_MOST_NAMES]]
        if lost[_MOST_NAMES:]:
            findings.append(
                _lost(
                    "and more",
                    f"{len(lost) - _MOST_NAMES} more attributes would not survive it",
                    "as above",
                    "as above",
                )
            )
        return findings
    # What differs anyway says nothing about pauses.
    difference = None if irreproducible else evidence.first_difference()
    if difference is None:
        return []
    epoch, names = difference
    more = f" and {len(names) - 3} more" if names[3:] else ""
    return [
        _lost(
            names[0],
            f"a run that is paused comes out differently: at epoch {epoch} first in "
            f"{', '.join(names[:3])}{more}",
            "state that the run keeps outside of its module, data module, callbacks and "
            "optimizers (a file, an environment variable, an object of a library), or a hook that "
            "acts otherwise in a fit that goes on",
            "keep state on the module, data module or a callback, by value",
        )
    ]


def _of_attribute(entry: str, epoch: int) -> Finding:
    name, _, reason = entry.partition(" (")
    if reason:
        why = f"it can't be saved ({reason.removesuffix(')')})"
        remedy = (
            "keep what it stands for (a position, a count, a path) in a plain attribute, and make "
            "the object from it where it is used"
        )
    else:
        why = "it is not the same when the run goes on in another process"
        remedy = (
            "keep state on the module, data module or a callback, by value; not in a class, a "
            "global or an object that several runs share"
        )
    where = f"{name} would not survive a pause (tried after epoch {epoch})"
    return _lost(name, where, why, remedy)


def _lost(name: str, where: str, why: str, remedy: str) -> Finding:
    return Finding(Cause.PAUSE, None, name, where, why, f"{remedy}. {_FROM_ITS_BEGINNING}")


def _unseeded(point: Point, evidence: Evidence) -> Finding:
    others = (evidence.again, evidence.elsewhere)
    moving = _moving_calls(evidence.run.seed_calls, [trace.seed_calls for trace in others])
    without = [call for call in evidence.run.seed_calls if not call.argument]
    if moving:
        call = moving[0]
        why = f"{call.function} at {call.place} gets another seed each time (a clock, a process id)"
    elif without:
        call = without[0]
        why = f"{call.function} at {call.place} is called without a seed"
    else:
        why = _UNSEEDED[point.stage]
    return _finding(Cause.UNSEEDED, point, why, _REMEDIES[point.stage])


_UNSEEDED = {
    Stage.SPLIT: "the split draws from a generator that the seed does not reach",
    Stage.INITIAL_WEIGHTS: "the weights are drawn from a generator that the seed does not reach",
    Stage.BATCH_ORDER: "the sampler draws from a generator that the seed does not reach",
    Stage.BATCH_CONTENT: "an augmentation, collate_fn or data set draws from a generator that the "
    "seed does not reach (numpy.random.default_rng() without a seed, random.SystemRandom, a clock)",
    Stage.FORWARD: "the layer draws from a generator that the seed does not reach, or its kernel "
    "is not deterministic",
    Stage.LOSS: "the loss draws random numbers of its own, or its kernel is not deterministic",
    Stage.GRADIENT: "a backward kernel is not deterministic, or a gradient hook draws random "
    "numbers of its own",
    Stage.OPTIMIZER: "the optimizer draws random numbers of its own, or its kernel is not "
    "deterministic",
    Stage.HOOK: "it draws from the global generators, a varying number of times: whatever comes "
    "after it in the run draws other numbers",
}

_OWN_GENERATOR = (
    "draw from the global generators (torch, numpy.random, random), which the seed sets, or seed "
    "the generator from config['seed']"
)
_REMEDIES = {
    **dict.fromkeys(Stage, _OWN_GENERATOR),
    Stage.HOOK: "give it a generator of its own (random.Random(), numpy.random.default_rng()), so "
    "that training does not notice",
    Stage.GRADIENT: "keep deterministic=True, replace the op, or take the noise from the global "
    "generators",
}


def _moving_calls(calls: list[SeedCall], others: list[list[SeedCall]]) -> list[SeedCall]:
    """Calls whose seed is another one in every other run of the same study seed."""
    moving: list[SeedCall] = []
    for i, call in enumerate(calls):
        theirs = [other[i] for other in others if i < len(other)]
        same_place = [c for c in theirs if (c.function, c.place) == (call.function, call.place)]
        if len(same_place) == len(others) and all(c.argument != call.argument for c in same_place):
            moving.append(call)
    return moving


def _unreached(evidence: Evidence) -> list[Finding]:
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


def _inactive(trace: Trace) -> list[Finding]:
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


def _finding(cause: Cause, point: Point, why: str, remedy: str) -> Finding:
    before = point.epoch == BEFORE_TRAINING
    where = f"{point} is the first thing that differs" + (", before training" if before else "")
    return Finding(cause, point.stage, point.name, where, why, remedy)
