"""What a search space says of each hyperparameter: between which values, or which ones."""

# Searchers keep their spaces in their own libraries' terms, which carry no types.
# pyright: reportMissingImports=false

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ray.tune.search.sample import Categorical, Domain, Float, Integer
from ray.tune.search.variant_generator import parse_spec_vars

from tune_seeds._compat.searchers import own_space


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers between two ends, both included."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Options:
    """One of these values."""

    values: tuple[Any, ...]


#: Flat key → its domain; None where the space says that it is searched, but not in which values.
Domains = dict[str, Range | Options | None]


def of_space(space: Mapping[str, Any]) -> Domains:
    """The domains of a space of Ray Tune's; constants are left out."""
    _, domains, grids = parse_spec_vars(dict(space))
    return {
        "/".join(map(str, cast(tuple[Any, ...], path))): _of_ray(choice)
        for path, choice in (*domains, *grids)
    }


def of_searcher(searcher: Any) -> Domains | None:
    """The domains of the space that a searcher was made with; None where it can't be read.

    Of ``HyperOptSearch`` and of ``OptunaSearch`` with a dict they can. A space that is a function
    is known by the values that it gives only.
    """
    space = own_space(searcher)
    if hasattr(space, "pos_args"):  # HyperOpt's, an expression
        return _merged(_of_hyperopt(space, ()))
    if isinstance(space, dict) and space:
        items = cast(dict[str, Any], space).items()
        if all(hasattr(value, "to_internal_repr") for _, value in items):
            return {key: _of_optuna(value) for key, value in items}
    return None


def _of_ray(choice: Any) -> Range | Options | None:
    if isinstance(choice, Categorical):
        return Options(tuple(choice.categories))
    if isinstance(choice, (list, tuple)):  # of a grid
        return Options(tuple(cast(Sequence[Any], choice)))
    if isinstance(choice, (Float, Integer)):
        low, high = cast(Any, choice).lower, cast(Any, choice).upper
        if low is None or high is None or not math.isfinite(high - low):
            return None
        # Ray's integers exclude the upper end.
        return Range(low, high - isinstance(choice, Integer))
    assert isinstance(choice, Domain)  # a function of the config
    return None


def _of_optuna(distribution: Any) -> Range | Options | None:
    if hasattr(distribution, "choices"):
        return Options(tuple(distribution.choices))
    return Range(distribution.low, distribution.high)


def _of_hyperopt(node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Range | Options | None]]:
    """The leaves of HyperOpt's expression of a space, a dict of dicts in the end."""
    if node.name == "dict":
        for key, inner in node.named_args:
            yield from _of_hyperopt(inner, (*path, str(key)))
    elif node.name == "switch":  # a choice: its index, then the options
        for option in node.pos_args[1:]:
            yield from _of_hyperopt(option, path)
    elif node.name == "literal":
        yield "/".join(path), Options((node.obj,))
    elif node.name in ("float", "int"):
        yield from _of_hyperopt(node.pos_args[0], path)
    elif node.name == "hyperopt_param":
        yield "/".join(path), _of_distribution(node.pos_args[1])
    else:  # a list, or something computed
        yield "/".join(path), None


def _of_distribution(node: Any) -> Range | None:
    ends = [argument.obj for argument in node.pos_args if hasattr(argument, "obj")]
    match node.name, ends:
        case "uniform" | "quniform", [float(low) | int(low), float(high) | int(high), *_]:
            return Range(low, high)
        case "loguniform" | "qloguniform", [float(low) | int(low), float(high) | int(high), *_]:
            return Range(math.exp(low), math.exp(high))
        case "randint", [int(high)]:
            return Range(0, high - 1)
        case "randint", [int(low), int(high)]:
            return Range(low, high - 1)
        case _:  # without ends, as the normal ones
            return None


def _merged(leaves: Iterator[tuple[str, Range | Options | None]]) -> Domains:
    """One domain for each key, which may stand in several options of a choice."""
    found: Domains = {}
    for key, domain in leaves:
        known = found.get(key, domain)
        if isinstance(known, Options) and isinstance(domain, Options):
            new = [value for value in domain.values if value not in known.values]
            found[key] = Options((*known.values, *new))
        elif isinstance(known, Range) and isinstance(domain, Range):
            found[key] = Range(min(known.low, domain.low), max(known.high, domain.high))
        else:
            found[key] = None
    return found
