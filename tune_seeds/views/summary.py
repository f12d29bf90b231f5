"""The results as a terminal shows them: the table of the groups, and what follows from it."""

from __future__ import annotations

from html import escape

import pandas as pd

from tune_seeds.analysis.errors import NothingToCompareError
from tune_seeds.analysis.finalists.fresh_confirmation import FreshConfirmation
from tune_seeds.analysis.group_summary import Standing, ranking
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.jsonable import flat
from tune_seeds.core.ledger import Outcome, RunKey
from tune_seeds.core.printable import printable
from tune_seeds.core.rungs import TO_THE_END
from tune_seeds.views.labels import checkpoints_text, warm_start_text


def summary(results: StudyRecord) -> str:
    """The groups as a table, best first, and what can be said of the best."""
    title, rows, columns = _table(results)
    if not rows:
        return printable(f"{title}\nno config was run")
    text = pd.DataFrame(rows, columns=columns).to_string(
        index=False, na_rep="", float_format=lambda value: f"{value:.5g}", max_colwidth=60
    )
    lines = [title, text, *_answer(results), *_restarts(results), *_differences(results)]
    lines += [*_disk(results), *_warm_start(results), *results.growth_lines]
    return printable("\n".join(lines))


def notebook_html(results: StudyRecord) -> str:
    """The same as HTML; every string of the study is escaped."""
    title, rows, columns = _table(results)
    frame = pd.DataFrame(rows, columns=columns)
    with pd.option_context("display.max_colwidth", 60):
        table = frame.to_html(
            index=False, na_rep="", float_format=lambda value: f"{value:.5g}", max_rows=30
        )
    lines = [*_answer(results), *_restarts(results), *_differences(results)]
    lines += [*_warm_start(results), *results.growth_lines]
    notes = "\n".join(lines if rows else [])
    return printable(f"<p>{escape(title)}</p>{table}<pre>{escape(notes)}</pre>")


def _table(results: StudyRecord) -> tuple[str, list[dict[str, object]], list[str]]:
    header, race = results.header, results.race
    aggregate = "" if header.aggregate == "mean" else f"{header.aggregate} of "
    title = (
        f"{aggregate}{header.measure} ({header.mode}) over the seeds "
        f"{', '.join(map(str, results.seeds))}; rungs ({header.unit} x seeds) "
        f"{' '.join(map(str, header.rungs))}"
    )
    standings = [results.standing(name) for name in ranking(race)]
    rows = [_row(results, item) for item in standings]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    # What failed is long, and comes last.
    columns.sort(key=lambda column: column == "why")
    return title, rows, columns


def _row(results: StudyRecord, item: Standing) -> dict[str, object]:
    row: dict[str, object] = {
        "group": item.group,
        "state": str(item.state),
        "rung": "-" if item.rung is None else str(item.rung),
        "mean" if results.header.aggregate == "mean" else "score": item.score,
        "std": item.std,
        "by seed": _by_seed(results, item),
        **flat(item.config),
    }
    if item.failures:
        row["why"] = "; ".join(f"seed {seed}: {why}" for seed, why in item.failures.items())
    return row


def _by_seed(results: StudyRecord, item: Standing) -> str:
    texts: list[str] = []
    for seed in results.seeds:
        run = results.ledger[RunKey(item.group, seed)]
        if run.outcome is Outcome.FAILED:
            texts.append("failed")
        elif not run.curve:
            texts.append("-")
        else:
            value = results.ledger.metric.own(run.curve[run.last_epoch])
            behind = item.goal.epochs not in (run.last_epoch, TO_THE_END)
            texts.append(f"{value:.4g}" + (f"@{run.last_epoch}" if behind else ""))
    return " ".join(texts)


def _answer(results: StudyRecord) -> list[str]:
    far = results.completeness
    lines = [""] if far.finished else ["", str(far)]
    if far.why_fewer is not None:
        lines.append(far.why_fewer)
    if results.leader is None:
        return lines if lines[1:] else []
    best = results.best
    n_seeds = f"{len(best.scores)} seeds"
    if not best.complete:
        epochs = "" if best.rung.epochs == TO_THE_END else f" at epoch {best.rung.epochs}"
        n_seeds = f"{len(best.scores)} of {len(results.seeds)} seeds{epochs}"
    so_far = "" if far.finished else " so far"
    lines.append(f"best{so_far}: {best.group}, {best.score:.5g} ({n_seeds})")
    lines.extend(best.expectations())
    if results.policy_note:
        lines.append(results.policy_note)
    if results.range_contradiction:
        lines.append(results.range_contradiction)
    lines.extend(best.notes())
    if best.failures:
        seeds = ", ".join(map(str, best.failures))
        lines.append(f"its seeds {seeds} failed: {results.header.on_seed_failure}")
    if best.complete:
        lines.extend(_contenders(results, best.group))
    confirmed = results.confirmation
    return lines if confirmed is None else [*lines, *_confirmed(confirmed)]


def _contenders(results: StudyRecord, best: str) -> list[str]:
    try:
        found = results.contenders()
    except NothingToCompareError:
        return []  # a seed of each was dropped
    lines: list[str] = []
    others = [name for name in found.groups if name != best]
    if others:
        lines.append(
            f"of the {found.n_compared} finished configs, not told apart from the best by "
            f"{found.n_seeds} seeds at {found.level:.0%}: " + ", ".join(others)
        )
    if found.caveat:
        lines.append(f"note on that comparison, which is of means: {found.caveat}")
    return lines


def _confirmed(confirmed: FreshConfirmation) -> list[str]:
    lines = [f"on the fresh seeds {', '.join(map(str, confirmed.seeds))}:"]
    if confirmed.statistics is not None:
        for name, config in zip(confirmed.groups, confirmed.statistics.configs, strict=True):
            low, high = config.interval
            lines.append(
                f"  {name}: {config.confirmed_score:.5g} ({low:.5g} to {high:.5g}); the "
                f"search said {config.search_score:.5g}, flattered by {config.flattery:.3g}"
            )
        held = "held" if confirmed.statistics.order_held else "did not hold"
        lines.append(f"  the order {held}")
    for name, seeds in confirmed.unfinished.items():
        lines.extend(f"  {name}, seed {seed}: {why}" for seed, why in seeds.items())
    return lines


def _warm_start(results: StudyRecord) -> list[str]:
    record = results.header.warm_start
    return [] if record is None else [warm_start_text(record)]


def _restarts(results: StudyRecord) -> list[str]:
    found = results.restarts
    if not found:
        return []
    n = sum(times for times, _ in found.values())
    lost = list(dict.fromkeys(why for _, why in found.values()))
    more = f", and {len(lost) - 2} more" if lost[2:] else ""
    return [
        f"{len(found)} of {len(results.ledger)} runs were trained again from their beginning, "
        f"{n} times in all, because a pause would have changed {'; or '.join(lost[:2])}{more}"
    ]


def _disk(results: StudyRecord) -> list[str]:
    n, size = results.checkpoints
    return [f"kept: {checkpoints_text(n, size)}"] if size else []


def _differences(results: StudyRecord) -> list[str]:
    return [
        f"{group}: its runs differ in {entry}, not in the seed alone: "
        + "; ".join(f"{value!r} (seeds {', '.join(map(str, s))})" for value, s in values.items())
        for group, differences in results.environment_differences.items()
        for entry, values in differences.items()
    ]
