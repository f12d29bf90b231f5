"""Hyperparameters as the figures need them: found by name, on a scale, sorted into a few kinds."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.jsonable import flat
from tune_seeds.statistics.marginals import ABSENT, as_number, levels
from tune_seeds.views.labels import differing, ends, short_names, value_text

# Where the space does not say it, a hyperparameter is on a log scale from this factor on.
_LOG_FACTOR = 50
_IN_WORDS = re.compile(r"(float|integer), (\w+)")


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """One hyperparameter of a study.

    Attributes:
        key: its flat key, such as ``model/lr``.
        name: the shortest end of the key that no other one has.
        values: group → its value; groups that do not have it are left out.
        is_log: whether it is searched on a log scale, or spans so much that it is shown on one.
    """

    key: str
    name: str
    values: Mapping[str, Any]
    is_log: bool

    def text(self, group: str, limit: int = 28) -> str:
        """The value of a group in words."""
        return value_text(self.values[group], limit) if group in self.values else ABSENT

    def number(self, group: str) -> float | None:
        """The value of a group where it is a number that has a place on the scale."""
        found = as_number(self.values.get(group))
        return None if found is None or (self.is_log and found <= 0) else found

    def place(self, group: str) -> float | None:
        """Where the number lies on the scale: its decimal logarithm on a log scale."""
        found = self.number(group)
        return math.log10(found) if found is not None and self.is_log else found


@dataclass(frozen=True, slots=True)
class Kinds:
    """Groups sorted by the value of a hyperparameter.

    Attributes:
        labels: in words, in the order of the values.
        of: group → the place of its label.
        has_rest: whether the last kind holds several values, because there were too many.
    """

    labels: tuple[str, ...]
    of: Mapping[str, int]
    has_rest: bool


def varied(results: StudyRecord) -> list[Hyperparameter]:
    """Those in which configs of the study differ; all of them where there is one config."""
    configs = results.ledger.configs
    rows = {group: flat(config) for group, config in configs.items()}
    keys = differing(configs.values())
    names = short_names(keys)
    space = flat(results.header.param_space)
    return [_of(rows, key, names[key], space) for key in keys]


def find(results: StudyRecord, name: str, argument: str) -> Hyperparameter:
    """The hyperparameter of that name: a flat key (``model/lr``, ``model.lr``) or an end of one.

    Args:
        results: of the study.
        name: as a user wrote it.
        argument: that it was given as, for the message.

    Raises:
        ValueError: there is none, or there are several; the message lists those that there are.
    """
    rows = {group: flat(config) for group, config in results.ledger.configs.items()}
    keys = list(dict.fromkeys(key for row in rows.values() for key in row))
    wanted = name if name in keys else name.replace(".", "/")
    found = [wanted] if wanted in keys else [key for key in keys if wanted in ends(key)]
    if len(found) != 1:
        names = short_names(keys)
        known = ", ".join(repr(names[key]) for key in found or keys) or "none"
        why = "is one of several" if found else "is no hyperparameter of the study"
        raise ValueError(f"{argument}={name!r} {why}; there are {known}")
    names = short_names(keys)
    return _of(rows, found[0], names[found[0]], flat(results.header.param_space))


def kinds(one: Hyperparameter, groups: Iterable[str], n: int) -> Kinds:
    """Sort groups into at most ``n`` kinds: one for each value, or ranges of numbers.

    Numbers in ascending order, then names. Too many numbers are cut at their terciles; of too many
    names the most frequent ones are kept, and the rest is one kind.
    """
    names = list(groups)
    found = levels([one.values.get(name, ABSENT) for name in names], max_values=max(n, 3))
    members = [[names[k] for k in level.members.tolist()] for level in found]
    labels = [
        one.text(row[0]) if n_values(one, row) == 1 else level.value
        for level, row in zip(found, members, strict=True)
    ]
    has_rest = len(found) > n
    if has_rest:
        counts = Counter({k: len(row) for k, row in enumerate(members)})
        kept = sorted(k for k, _ in counts.most_common(n - 1))
        rest = [k for k in range(len(found)) if k not in kept]
        labels = [*(labels[k] for k in kept), f"{len(rest)} other values"]
        members = [*(members[k] for k in kept), [name for k in rest for name in members[k]]]
    of = {name: place for place, row in enumerate(members) for name in row}
    return Kinds(tuple(labels), of, has_rest)


def n_values(one: Hyperparameter, groups: Iterable[str]) -> int:
    """How many different values groups have; not having it is one."""
    return len({one.text(group, 10_000) for group in groups})


def is_numeric(one: Hyperparameter, groups: Iterable[str]) -> bool:
    """Whether every group has a number with a place on the scale."""
    return all(one.number(group) is not None for group in groups)


def _of(
    rows: Mapping[str, Mapping[str, Any]], key: str, name: str, space: Mapping[str, Any]
) -> Hyperparameter:
    values = {group: row[key] for group, row in rows.items() if key in row}
    numbers = [n for n in map(as_number, values.values()) if n is not None]
    return Hyperparameter(key, name, values, _is_log(space.get(key), numbers))


def _is_log(declared: Any, values: list[float]) -> bool:
    if not values or min(values) <= 0:
        return False
    found = _IN_WORDS.match(declared) if isinstance(declared, str) else None
    if found is not None and found[2] != "sampled":
        return "log" in found[2]
    return max(values) >= _LOG_FACTOR * min(values)
