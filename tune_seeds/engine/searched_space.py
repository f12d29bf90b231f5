"""The part of a search space that a searcher sees: its domains, and numbers for objects.

Searchers disagree on everything else. HyperOpt turns lists into tuples and knows nested points by
other names while it suggests than while it learns; Optuna leaves nested points out and takes only
text and numbers for categories; arrays among the constants can't be compared. So a searcher is
given domains alone, in dicts alone, and numbers in place of the objects of a choice. What it
suggests is put into a copy of the user's space, where the domains were.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from ray import tune
from ray.tune.search.sample import Categorical, Domain
from ray.tune.search.variant_generator import assign_value, parse_spec_vars
from ray.tune.utils import merge_dicts

from tune_seeds.store.identity import identity

#: The types of categories that every searcher takes as they are.
_PLAIN = (str, int, float, bool, type(None))

_SEPARATOR = "/"


@dataclass(frozen=True, slots=True)
class SearchedSpace:
    """A user's search space, and what of it a searcher is given.

    Attributes:
        space: as the user wrote it.
        paths: name of a domain, such as ``model/lr`` → the keys that lead to it.
        domains: name → what is searched there; a choice of objects as a choice of their numbers.
        objects: name → the objects of such a choice, in the order of their numbers.
    """

    space: dict[str, Any]
    paths: dict[str, tuple[Any, ...]]
    domains: dict[str, Domain]
    objects: dict[str, list[Any]]

    @classmethod
    def of(cls, space: dict[str, Any]) -> SearchedSpace:
        """Take a space apart.

        Raises:
            ValueError: two domains have the same name, as ``{"a/b": …, "a": {"b": …}}`` would.
        """
        paths: dict[str, tuple[Any, ...]] = {}
        domains: dict[str, Domain] = {}
        objects: dict[str, list[Any]] = {}
        for path, domain in parse_spec_vars(space)[1]:
            name = _SEPARATOR.join(str(part) for part in path)
            if name in paths:
                raise ValueError(
                    f"param_space has two entries that searchers call {name!r}; rename one of them"
                )
            paths[name], domains[name] = path, domain
            if isinstance(domain, Categorical):
                categories = list(cast(Any, domain).categories)
                if not all(type(one) in _PLAIN for one in categories) and not _conditional(
                    categories
                ):
                    domains[name] = tune.choice(list(range(len(categories))))
                    objects[name] = categories
        return cls(space, paths, domains, objects)

    def nested(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by names, nested as the space is; what stood in a list is under its place."""
        found: dict[str, Any] = {}
        for name, value in values.items():
            *above, last = [str(part) for part in self.paths[name]]
            inner = found
            for key in above:
                inner = inner.setdefault(key, {})
            inner[last] = value
        return found

    def config(self, suggested: Mapping[str, Any]) -> dict[str, Any]:
        """The config that a suggestion stands for: every constant, and a value for every domain.

        Args:
            suggested: by names, or nested as the space is. What is not of the space is added.

        Raises:
            ValueError: a domain has no value.
        """
        flat = {name: suggested[name] for name in self.paths if name in suggested}
        config = copy.deepcopy(self.space)
        rest = copy.deepcopy({key: value for key, value in suggested.items() if key not in flat})
        for name, path in self.paths.items():
            value = flat[name] if name in flat else _nested(suggested, path)
            if value is _MISSING:
                raise ValueError(
                    f"the searcher suggested nothing for {name!r} of param_space: {suggested!r}"
                )
            if name in self.objects:
                value = self.objects[name][int(value)]
            assign_value(config, path, copy.deepcopy(value))
            _remove(rest, path)
        return merge_dicts(config, rest)

    def point(self, given: Any, where: str, *, partial: bool) -> dict[str, Any]:
        """A point to evaluate, given as configs are, in the searcher's terms.

        Args:
            given: by names or nested, perhaps with constants of the space.
            where: it stands, for the message.
            partial: whether the searcher fills in what it leaves out.

        Raises:
            ValueError: it holds what is not searched or lacks what is, or no category is equal.
        """
        if not isinstance(given, Mapping):
            raise ValueError(f"{where} must be a dict like a config, got {given!r}")
        entries = cast(Mapping[str, Any], given)
        point: dict[str, Any] = {}
        for name, path in self.paths.items():
            value = entries[name] if name in entries else _nested(entries, path)
            if value is _MISSING:
                if partial:
                    continue
                raise ValueError(f"{where} has no value for {name!r}, which is searched")
            point[name] = self._as_searched(name, value, where)
        first = {str(path[0]) for path in self.paths.values()} | set(self.space) | set(self.paths)
        for key in entries:
            if key not in first:
                raise ValueError(
                    f"{where} has the key {key!r}, which is not searched; param_space searches "
                    f"{', '.join(map(repr, self.paths))}"
                )
        return point

    def _as_searched(self, name: str, value: Any, where: str) -> Any:
        if name not in self.objects:
            return value
        wanted = identity({"": value})
        for number, known in enumerate(self.objects[name]):
            if identity({"": known}) == wanted:
                return number
        raise ValueError(f"{where} has {value!r} for {name!r}, which is none of its choices")


def unresolved(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The domains, grids and searchers' expressions that a config still holds, with their places.

    A run would be given such an object in place of a number.
    """
    if isinstance(value, Domain) or foreign(value):
        yield path, value
    elif isinstance(value, Mapping):
        entries = cast(Mapping[Any, Any], value)
        if set(entries) == {"grid_search"}:
            yield path, value
            return
        for key, inner in entries.items():
            yield from unresolved(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(cast(list[Any], value)):
            yield from unresolved(inner, f"{path}[{index}]")


def foreign(value: Any) -> str | None:
    """The library whose own expression of a search space a value is, if it is one."""
    for base in type(value).__mro__:
        home = base.__module__
        if home.startswith("hyperopt.pyll") and base.__name__ == "Apply":
            return "HyperOpt"
        if home.startswith("optuna.distributions") and base.__name__ == "BaseDistribution":
            return "Optuna"
    return None


def _conditional(categories: list[Any]) -> bool:
    """Whether what is searched depends on the category: one of them holds domains of its own."""
    return any(True for one in categories for _ in unresolved(one))


class _Missing:
    """No value, where None is one."""


_MISSING = _Missing()


def _nested(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        if isinstance(value, Mapping):
            entries = cast(Mapping[Any, Any], value)
            value = entries.get(key, entries.get(str(key), _MISSING))
        elif isinstance(value, (list, tuple)) and isinstance(key, int):
            items = cast(list[Any], value)
            value = items[key] if key < len(items) else _MISSING
        else:
            return _MISSING
    return value


def _remove(nested: dict[str, Any], path: tuple[Any, ...]) -> None:
    """Take out what a path leads to, and the dicts that it leaves empty."""
    key = path[0] if path[0] in nested else str(path[0])
    inner = nested.get(key)
    if len(path) > 1 and isinstance(inner, dict):
        entries = cast(dict[str, Any], inner)
        _remove(entries, path[1:])
        if entries:
            return
    nested.pop(key, None)
