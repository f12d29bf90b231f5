"""A study in five sentences of plain words."""

from __future__ import annotations

from tune_seeds.analysis.best_record import BestRecord
from tune_seeds.analysis.errors import NothingToCompareError
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.jsonable import flat
from tune_seeds.views.labels import differing, short_names, value_text


def explain(results: StudyRecord) -> str:
    """What is best, how sure, what was compared, what seeds changed, what would change the answer.

    Of a study without an answer, one sentence that says so.
    """
    if results.leader is None:
        return f"No config has a score, so there is no best one ({results.completeness})."
    best = results.best
    sentences = [
        _what(results, best),
        _how_sure(results, best),
        _compared(results, best),
        _seeds(results, best),
        _change(results, best),
    ]
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in sentences)


def _what(results: StudyRecord, best: BestRecord) -> str:
    far, configs = results.completeness, results.ledger.configs
    names = short_names(keys := differing(configs.values()))
    own = flat(best.config)
    values = ", ".join(f"{names[k]} = {value_text(own[k], 40)}" for k in keys if k in own)
    verb = "is best" if far.finished else "leads so far"
    kind = results.header.aggregate
    return (
        f"of {_count(len(configs), 'config')}, {best.group}{f' ({values})' if values else ''} "
        f"{verb}, with a {kind} {results.header.metric} of {best.score:.5g} over "
        f"{_count(len(best.scores), 'seed')}"
    )


def _how_sure(results: StudyRecord, best: BestRecord) -> str:
    low, high = best.interval
    if low != low:
        return (
            "how sure that is can't be said, because one seed shows no spread"
            if len(best.scores) < 2
            else "how sure that is can't be said, because there is no interval for this score"
        )
    text = (
        f"on a fresh seed it is expected to score {best.estimate:.5g} ({best.interval.level:.0%} "
        f"interval {low:.5g} to {high:.5g})"
    )
    if results.expected.get(best.group) is not None:
        text += ", by a model of all configs that takes off what having been chosen added"
    return f"{text}; {best.interval.caveat}" if best.interval.caveat else text


def _compared(results: StudyRecord, best: BestRecord) -> str:
    n = len(results.ledger.configs)
    seeds = _count(len(results.seeds), "seed")
    if not best.complete:
        return (
            f"it is judged at {best.rung} ({results.header.unit} x seeds), since no config has "
            f"been trained to the end on all {seeds} yet"
        )
    text = f"{results.completeness.n_complete} of the {n} were trained to the end on all {seeds}"
    try:
        found, every = results.contenders(), results.contenders(among="all")
    except NothingToCompareError:
        return f"{text}, and they can't be compared in pairs, because they lack different seeds"
    others = len([name for name in found.groups if name != best.group])
    told = f"{others} of these can't be told apart from it" if others else "it stands apart"
    return (
        f"{text}; at {found.level:.0%} {told}, and counting the stopped ones "
        f"{_count(len(every.groups), 'config')} may be the best of all"
    )


def _seeds(results: StudyRecord, best: BestRecord) -> str:
    fallen = results.collapse
    collapse = ""
    if fallen is not None and fallen.study.count:
        share = fallen.study
        collapse = (
            f", and {share.count} of {share.n} runs that trained for {fallen.epochs} epochs or "
            "more ended at the level of doing nothing or diverged"
        )
    try:
        found = results.seed_effect() if best.complete else None
    except NothingToCompareError:
        found = None
    if found is None or found.n_seeds < 2 or len(found.win_shares) < 2:
        return f"what the seed changes can't be said with so few finished runs{collapse}"
    wins = round(found.win_shares.get(best.group, 0.0) * found.n_seeds, 1)
    shares, chance = found.variance, found.by_chance
    where = ""
    if shares.seed == shares.seed:
        where = (
            f", and of the variance among the finished {shares.config:.0%} is the config's "
            f"({chance.config.mean:.0%} by chance alone) and {shares.seed:.0%} the seed's "
            f"({chance.seed.mean:.0%})"
        )
    return f"it is first on {wins:g} of {found.n_seeds} seeds{where}{collapse}"


def _change(results: StudyRecord, best: BestRecord) -> str:
    confirmed = results.confirmation
    if confirmed is not None and confirmed.statistics is not None:
        held = "is" if confirmed.statistics.winner_held else "is not"
        return (
            f"on {_count(len(confirmed.seeds), 'fresh seed')} that the search never used, its "
            f"winner {held} still the best of those confirmed"
        )
    if not results.completeness.finished:
        return "more training would change the answer: the study was left before its end"
    try:
        separation = results.seed_effect().separation if best.complete else None
    except NothingToCompareError:
        separation = None
    fresh = "a confirmation on fresh seeds would show how much the search flattered it"
    if separation is None:
        return f"{fresh}, and other configs could be better"
    if separation.additional == 0:
        return f"{fresh}; the first two configs are told apart already"
    if separation.fewest is None:
        return f"no number of seeds that can be paid for would tell the first two apart; {fresh}"
    level = f"{separation.range_level:.0%} range"
    if separation.most is None:
        needed = f"at least {separation.fewest} seeds"
        level = f"{level}; {separation.n} seeds can't say how many at most"
    else:
        needed = f"{separation.range_text} seeds"
        level = f"{level}; there are {separation.n}"
    return f"it would take {needed} to tell the first two configs apart ({level}), and {fresh}"


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"
