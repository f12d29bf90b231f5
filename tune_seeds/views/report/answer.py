"""The first screen of the report: which config is best, how good it is, and how sure that is."""

from __future__ import annotations

import math
from html import escape

from tune_seeds.analysis.best_record import BestRecord
from tune_seeds.analysis.errors import NothingToCompareError
from tune_seeds.analysis.finalists.fresh_confirmation import FreshConfirmation
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.jsonable import flat
from tune_seeds.statistics.intervals import Interval
from tune_seeds.views.explanation import explain
from tune_seeds.views.labels import value_text
from tune_seeds.views.report import html
from tune_seeds.views.tables import Table, interval_text, number


def answer(results: StudyRecord) -> str:
    """The best config, or that there is none yet."""
    race, far = results.race, results.completeness
    if results.leader is None:
        return "<h1>No config has a score</h1>" + html.paragraph(
            f"Each one failed, or none has come to a rung ({far})."
        )
    best = results.best
    metric = str(race.ledger.metric)
    kind = "mean" if results.header.aggregate == "mean" else results.header.aggregate
    title = f"{best.group} {'is best' if far.finished else 'leads'}: {metric} {number(best.score)}"
    rows = tuple((str(seed), number(value)) for seed, value in best.scores.items())
    return (
        f"<h1>{escape(title)}</h1>"
        + html.paragraph(explain(results))
        + ("" if far.finished else html.paragraph(f"{_capital(str(far))}."))
        + html.codes((key, value_text(value, 80)) for key, value in flat(best.config).items())
        + html.facts(
            [
                (f"{kind} over seeds", number(best.score)),
                ("expected on a fresh seed", number(best.estimate)),
                (f"{best.interval.level:.0%} interval", _interval(best.interval)),
                ("of these seeds alone, chosen or not", _interval(best.seeds_interval)),
                ("standard deviation", number(best.std) or "one seed"),
                ("seeds", str(len(best.scores))),
                ("configs tried", str(len(race.groups))),
                ("finished on every seed", str(far.n_complete)),
            ]
        )
        + html.table(Table("", ("seed", metric), rows), fold=10, kind="small")
        + _sureness(results, best)
    )


def confirmed(results: StudyRecord) -> str:
    """The best configs on fresh seeds; empty where there was no confirmation."""
    found = results.confirmation
    if found is None:
        return ""
    text = (
        f"The search never used the seeds {', '.join(map(str, found.seeds))}. What a config loses "
        "on them is what its score owed to having been chosen."
    )
    rows = [*_confirmed_rows(found), *_unfinished_rows(found)]
    header = ("config", "in the search", "on fresh seeds", "95 %", "flattered by", "by seed")
    verdict = ""
    if found.statistics is not None and len(found.groups) > 1:
        held = "held" if found.statistics.order_held else "did not hold"
        winner = "is still the best" if found.statistics.winner_held else "is not the best there"
        verdict = f"The order of the search {held}; its winner {winner}."
    caveat = (found.statistics and found.statistics.caveat) or ""
    return html.section(
        "On fresh seeds",
        html.paragraph(text),
        html.table(Table("", header, tuple(rows))),
        html.paragraph(verdict),
        html.paragraph(caveat, "note"),
    )


def _sureness(results: StudyRecord, best: BestRecord) -> str:
    notes = best.notes()
    if best.failures:
        seeds = ", ".join(map(str, best.failures))
        notes.append(f"its seeds {seeds} failed: {results.header.on_seed_failure}")
    sure = ""
    try:
        found = results.contenders() if best.complete else None
    except NothingToCompareError:
        found = None
    if found is None:
        if not best.complete:
            top = results.header.rungs[-1]
            sure = f"It is judged at {best.rung} (epochs x seeds), not yet at {top}."
    else:
        others = [name for name in found.groups if name != best.group]
        percent = f"{found.level:.0%}"
        if others:
            sure = (
                f"How sure: {found.n_seeds} seeds can't tell it apart from {', '.join(others)} "
                f"(with {percent} probability the truly best of the finished is among these)."
            )
            separation = results.seed_effect().separation
            if separation is not None:
                sure += (
                    f" Seeds that would separate the first two: {separation.range_text} "
                    f"({separation.range_level:.0%} range)."
                )
        else:
            sure = f"How sure: it is apart from every other finished config, at {percent}."
        every = results.contenders(among="all")
        sure += (
            f" Counting the stopped ones, {len(every.groups)} of {every.n_compared} configs may be "
            "the best of all."
        )
        notes.append(found.caveat or "")
    if results.confirmation is None and best.complete:
        notes.append(
            "the best of many is flattered by having been chosen: confirm it on fresh seeds "
            "(tune-seeds confirm)"
        )
    note = ". ".join(_capital(text) for text in notes if text)
    return html.paragraph(sure) + html.paragraph(f"{note}." if note else "", "note")


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _interval(interval: Interval) -> str:
    return interval_text(interval) or "needs 2 seeds"


def _confirmed_rows(found: FreshConfirmation) -> list[tuple[str, ...]]:
    if found.statistics is None:
        return []
    rows: list[tuple[str, ...]] = []
    for name, config in zip(found.groups, found.statistics.configs, strict=True):
        rows.append(
            (
                name,
                number(config.search_score),
                number(config.confirmed_score),
                interval_text(config.interval),
                "" if math.isnan(config.flattery) else number(config.flattery),
                ", ".join(number(value) for value in found.scores[name].values()),
            )
        )
    return rows


def _unfinished_rows(found: FreshConfirmation) -> list[tuple[str, ...]]:
    return [
        (name, "", "", "", "", f"seed {seed}: {why}")
        for name, seeds in found.unfinished.items()
        for seed, why in seeds.items()
    ]
