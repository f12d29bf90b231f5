"""What the answer rests on: the seed's share, failures, the environment, how to do it again."""

from __future__ import annotations

import json
from typing import Any

from tune_seeds.analysis.cost import full_cost, spending, trained_epochs
from tune_seeds.analysis.errors import NothingToCompareError
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.jsonable import flat
from tune_seeds.race.race import Race
from tune_seeds.statistics.seed_effect import Chance
from tune_seeds.views.labels import shortened, value_text
from tune_seeds.views.report import html
from tune_seeds.views.tables import Table, number

_FATES = ("went on", "complete", "stopped", "failed", "unfinished")
# These differ from run to run by design.
_OF_A_RUN = frozenset({"seed", "config", "initial_weights", "first_batch"})


def seed_share(results: StudyRecord, chart: str) -> str:
    """How much of the spread is the config's and how much the seed's; empty if it can't be said.

    Args:
        results: of the study.
        chart: of the scores by seed, as HTML.
    """
    try:
        found = results.seed_effect()
    except NothingToCompareError:
        return ""
    if len(found.win_shares) < 2 or found.n_seeds < 2:
        return ""
    shares = found.variance
    text = (
        f"Among the {len(found.win_shares)} finished configs on {found.n_seeds} common seeds: "
        "where the variance of the scores comes from, and how far seeds agree on the ranking "
        "(Kendall's W, 1 is the same ranking on each). In brackets what chance alone gives, on "
        "average and in 95 % of cases at most."
    )
    rows = tuple(
        (
            choice.name,
            shortened(choice.overall, 40),
            f"{choice.agreement:.0%} ({choice.by_chance:.0%} by chance)",
        )
        for choice in found.choices
    )
    return html.section(
        "Config or seed?",
        html.paragraph(text),
        html.facts(
            [
                ("config", f"{shares.config:.0%} {_percent(found.by_chance.config)}"),
                ("seed", f"{shares.seed:.0%} {_percent(found.by_chance.seed)}"),
                ("neither alone", f"{shares.residual:.0%}"),
                ("Kendall's W", f"{number(found.kendalls_w)} ({found.by_chance.kendalls_w})"),
            ]
        ),
        html.paragraph(shares.caveat or "", "note"),
        chart,
        html.table(Table("", ("hyperparameter", "best value", "seeds that choose it"), rows))
        if rows
        else "",
    )


def _percent(chance: Chance) -> str:
    if chance.mean != chance.mean:
        return ""
    return f"({chance.mean:.0%} by chance, up to {chance.high:.0%})"


def epochs(race: Race, chart: str) -> str:
    """What was trained, and what it would have been without a race.

    Args:
        race: read only.
        chart: of the same, as HTML.
    """
    seeds = set(race.ledger.seeds)
    spent, full = trained_epochs(race), full_cost(race)
    text = f"{spent} epochs were trained."
    if full:
        text = (
            f"{spent} epochs were trained; all {len(race.groups)} configs on all "
            f"{len(race.ledger.seeds)} seeds to the end would have been {full}."
        )
    fresh = sum(run.last_epoch for key, run in race.ledger.items() if key.seed not in seeds)
    if fresh:
        text += f" The confirmation on fresh seeds took another {fresh}."
    items = spending(race)
    fates = [fate for fate in _FATES if any(fate in item.epochs for item in items)]
    rows = tuple(
        (
            str(item.rung),
            str(sum(item.epochs.values())),
            str(item.n_scored),
            *(str(item.n_groups.get(fate, 0)) for fate in fates),
        )
        for item in items
    )
    header = ("rung (epochs x seeds)", "epochs trained", "scored", *fates)
    return html.section(
        "Where the epochs went",
        html.paragraph(text),
        chart,
        html.table(Table("", header, rows)),
    )


def failures(race: Race) -> str:
    """The failed seeds; empty if there are none."""
    rows = tuple(
        (name, str(seed), shortened(why, 300))
        for name, group in race.groups.items()
        for seed, why in group.failures.items()
    )
    if not rows:
        return ""
    note = {
        "fail": "A config with a failed seed can't win: a missing score is never averaged away.",
        "worst": "A failed seed counts as the worst score seen at its rung.",
        "drop": "Configs are scored on the seeds that are left, as was asked for.",
    }[race.on_seed_failure]
    table = html.table(Table("", ("config", "seed", "why"), rows), fold=20)
    return html.section("Failed seeds", html.paragraph(note), table)


def environment(results: StudyRecord) -> str:
    """What the runs were computed with; empty where that was not recorded."""
    values: dict[str, dict[str, None]] = {}
    for run in results.ledger.values():
        record: dict[str, Any] = dict(run.environment or {})
        shown = {key: value for key, value in record.items() if key not in _OF_A_RUN}
        for key, value in flat(shown).items():
            text = value if isinstance(value, str) else json.dumps(value)
            values.setdefault(key, {})[text] = None
    if not values:
        return ""
    rows = tuple((key, shortened(" | ".join(texts), 200)) for key, texts in values.items())
    differences = results.environment_differences
    warning = ""
    if differences:
        groups = shortened(", ".join(differences), 200)
        warning = f"Runs of {groups} differ in more than their seed; see the entries with a bar."
    return html.section(
        "Environment", html.paragraph(warning), html.table(Table("", ("entry", "value"), rows))
    )


def reproduce(results: StudyRecord) -> str:
    """What the study was declared with, and a run alone."""
    header = results.header
    space = ", ".join(
        f"{key!r}: {value_text(value, 120)}" for key, value in flat(header.param_space).items()
    )
    lines = [
        f"seeds            {', '.join(map(str, header.seeds))}",
        f"metric, mode     {header.metric}, {header.mode}",
        f"score            {header.aggregate} over seeds; a failed seed: {header.on_seed_failure}",
        f"of a run         {header.score} (of its values up to the rung)",
        f"rungs            {' '.join(map(str, header.rungs))}   ({header.unit} x seeds)",
        f"policy           {header.policy}"
        if header.has_own_policy
        else f"reduction factor {header.reduction_factor:g}",
        f"finalists        {header.n_finalists}",
        f"num_samples      {header.num_samples}",
        f"search seed      {header.search_seed}",
        f"search space     {shortened(space, 2000)}",
        f"tune-seeds       {header.version}",
    ]
    alone = (
        "seed_everything(seed, workers=True)",
        "module, data = Module(**config), DataModule(**config)",
        "Trainer(deterministic=True, max_epochs=...).fit(module, datamodule=data)",
    )
    return html.section(
        "How to reproduce it",
        html.preformatted(lines),
        html.paragraph(
            "A run is a function of its code, its config and its seed. Alone, it is this script; "
            "tune-seeds verify compares the two bit for bit."
        ),
        html.preformatted(alone),
    )
