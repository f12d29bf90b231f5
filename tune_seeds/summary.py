"""The results as a terminal shows them: the table of the groups, and what follows from it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from tune_seeds.analysis import FreshConfirmation, NothingToCompareError
from tune_seeds.labels import flat
from tune_seeds.ledger import TO_THE_END, Outcome, RunKey
from tune_seeds.standing import Standing, ranking, standing

if TYPE_CHECKING:
    from tune_seeds.results import SeedResults


def summary(results: SeedResults) -> str:
    """The groups as a table, best first, and what can be said of the best."""
    title, rows, columns = _table(results)
    if not rows:
        return f"{title}\nno config was run"
    text = pd.DataFrame(rows, columns=columns).to_string(
        index=False, na_rep="", float_format=lambda value: f"{value:.5g}", max_colwidth=60
    )
    return "\n".join([title, text, *_answer(results), *_differences(results)])


def notebook_html(results: SeedResults) -> str:
    """The same as HTML; every string of the study is escaped."""
    title, rows, columns = _table(results)
    frame = pd.DataFrame(rows, columns=columns)
    with pd.option_context("display.max_colwidth", 60):
        table = frame.to_html(
            index=False, na_rep="", float_format=lambda value: f"{value:.5g}", max_rows=30
        )
    notes = "\n".join([*_answer(results), *_differences(results)] if rows else [])
    return f"<p>{escape(title)}</p>{table}<pre>{escape(notes)}</pre>"


def _table(results: SeedResults) -> tuple[str, list[dict[str, object]], list[str]]:
    header, race = results.header, results.race
    aggregate = "" if header.aggregate == "mean" else f"{header.aggregate} of "
    title = (
        f"{aggregate}{header.metric} ({header.mode}) over the seeds "
        f"{', '.join(map(str, results.seeds))}; rungs (epochs x seeds) "
        f"{' '.join(map(str, header.rungs))}"
    )
    standings = [standing(race, name) for name in ranking(race)]
    rows = [_row(results, item) for item in standings]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    # What failed is long, and comes last.
    columns.sort(key=lambda column: column == "why")
    return title, rows, columns


def _row(results: SeedResults, item: Standing) -> dict[str, object]:
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


def _by_seed(results: SeedResults, item: Standing) -> str:
    texts: list[str] = []
    for seed in results.seeds:
        run = results.ledger[RunKey(item.group, seed)]
        if run.outcome is Outcome.FAILED:
            texts.append("failed")
        elif not run.curve:
            texts.append("-")
        else:
            value = results.ledger.sign * run.curve[run.last_epoch]
            behind = item.goal.epochs not in (run.last_epoch, TO_THE_END)
            texts.append(f"{value:.4g}" + (f"@{run.last_epoch}" if behind else ""))
    return " ".join(texts)


def _answer(results: SeedResults) -> list[str]:
    far = results.completeness
    lines = [""] if far.finished else ["", str(far)]
    if results.leader is None:
        return lines if lines[1:] else []
    best = results.best
    low, high = best.interval
    interval = f"{best.interval.level:.0%} interval {low:.5g} to {high:.5g}, " if low == low else ""
    n_seeds = f"{len(best.scores)} seeds"
    if not best.complete:
        epochs = "" if best.rung.epochs == TO_THE_END else f" at epoch {best.rung.epochs}"
        n_seeds = f"{len(best.scores)} of {len(results.seeds)} seeds{epochs}"
    so_far = "" if far.finished else " so far"
    lines.append(f"best{so_far}: {best.group}, {best.score:.5g} ({interval}{n_seeds})")
    if best.interval.caveat:
        lines.append(f"note on the interval: {best.interval.caveat}")
    if best.failures:
        seeds = ", ".join(map(str, best.failures))
        lines.append(f"its seeds {seeds} failed: {results.header.on_seed_failure}")
    if best.complete:
        lines.extend(_contenders(results, best.group))
    confirmed = results.confirmation
    return lines if confirmed is None else [*lines, *_confirmed(results, confirmed)]


def _contenders(results: SeedResults, best: str) -> list[str]:
    try:
        found = results.contenders()
    except NothingToCompareError:
        return []  # a seed of each was dropped
    lines: list[str] = []
    others = [name for name in found.groups if name != best]
    if others:
        lines.append(
            f"not told apart from the best by {found.n_seeds} seeds at {found.level:.0%}: "
            + ", ".join(others)
        )
    if found.caveat:
        lines.append(f"note on that comparison, which is of means: {found.caveat}")
    return lines


def _confirmed(results: SeedResults, confirmed: FreshConfirmation) -> list[str]:
    lines = [f"on the fresh seeds {', '.join(map(str, confirmed.seeds))}:"]
    sign = results.ledger.sign
    if confirmed.statistics is not None:
        for name, config in zip(confirmed.groups, confirmed.statistics.configs, strict=True):
            interval = config.interval if sign > 0 else config.interval.reflected()
            low, high = interval
            lines.append(
                f"  {name}: {sign * config.confirmed_score:.5g} ({low:.5g} to {high:.5g}); the "
                f"search said {sign * config.search_score:.5g}, flattered by {config.flattery:.3g}"
            )
        held = "held" if confirmed.statistics.order_held else "did not hold"
        lines.append(f"  the order {held}")
    for name, seeds in confirmed.unfinished.items():
        lines.extend(f"  {name}, seed {seed}: {why}" for seed, why in seeds.items())
    return lines


def _differences(results: SeedResults) -> list[str]:
    return [
        f"{group}: its runs differ in {entry}, not in the seed alone: "
        + "; ".join(f"{value!r} (seeds {', '.join(map(str, s))})" for value, s in values.items())
        for group, differences in results.environment_differences.items()
        for entry, values in differences.items()
    ]
