"""Configs as figures call them."""

from __future__ import annotations

from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.jsonable import flat
from tune_seeds.core.printable import in_one_line
from tune_seeds.views.labels import config_text, differing


def config_labels(results: StudyRecord, groups: list[str], limit: int = 60) -> dict[str, str]:
    """Group → what it has and others don't: ``lr=0.01 opt=sgd``; not yet escaped.

    What is longer than ``limit`` is cut; it stands beside the group's name, which tells it apart.
    """
    configs = results.ledger.configs
    keys = differing(configs.values())
    found: dict[str, str] = {}
    for group in groups:
        values = flat(configs[group])
        chosen = {key: values[key] for key in keys if key in values}
        text = in_one_line(config_text(chosen, 24))
        found[group] = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return found
