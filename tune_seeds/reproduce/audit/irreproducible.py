"""What makes two runs of one seed differ: where they part, and by what."""

from __future__ import annotations

from tune_seeds.reproduce.audit.evidence import Evidence
from tune_seeds.reproduce.audit.finding import Cause, Finding
from tune_seeds.reproduce.audit.trace import (
    BEFORE_TRAINING,
    Point,
    SeedCall,
    Stage,
    first_difference,
    in_order,
)


def irreproducible(evidence: Evidence) -> list[Finding]:
    """What differs first between runs of one seed, and why; empty where nothing does."""
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


def _finding(cause: Cause, point: Point, why: str, remedy: str) -> Finding:
    before = point.epoch == BEFORE_TRAINING
    where = f"{point} is the first thing that differs" + (", before training" if before else "")
    return Finding(cause, point.stage, point.name, where, why, remedy)
