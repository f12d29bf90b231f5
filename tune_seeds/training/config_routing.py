"""Config keys to constructor parameters, by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

from lightning.fabric.utilities.data import AttributeDict

#: A parameter of such a name, of a module or its data, is given the whole config.
WHOLE = ("config", "hparams")

#: Parameters that are filled for every run: nothing in a search space has to name them.
RESERVED = frozenset({"seed", *WHOLE})


def parameters(target: Callable[..., Any]) -> tuple[frozenset[str], bool]:
    """The names a constructor or function takes, and whether it has ``**kwargs`` too."""
    names: set[str] = set()
    open_ended = False
    for parameter in inspect.signature(target).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            open_ended = True
        elif parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            names.add(parameter.name)
    return frozenset(names), open_ended


def route(
    config: Mapping[str, Any], targets: Mapping[str, Callable[..., Any]]
) -> dict[str, dict[str, Any]]:
    """Split a config among targets.

    A plain key goes to the one target that has a parameter of that name. ``prefix.key`` (or a
    mapping under ``prefix``) goes to that target; there a key that only ``**kwargs`` would take is
    let through, which a plain key is not, since then a typo could not be told from a parameter.

    Modules and data are also given, unless a config names these keys itself: the run's seed, as a
    parameter ``seed``, and the whole config, as a parameter ``config`` or ``hparams`` (there with
    attributes too, ``hparams.lr``). Where one takes the whole config, every key is known.

    Args:
        config: hyperparameters by name, and the run's ``seed``.
        targets: prefix (``model``, ``data``, ``trainer``) → constructor or function.

    Returns:
        prefix → keyword arguments.

    Raises:
        ValueError: a key that nothing takes (the nearest name is offered), or that several take.
    """
    known = {prefix: parameters(target) for prefix, target in targets.items()}
    routed: dict[str, dict[str, Any]] = {prefix: {} for prefix in targets}
    wholes = [
        (prefix, name)
        for prefix, (names, _) in known.items()
        for name in WHOLE
        if prefix != "trainer" and name in names and name not in config
    ]
    for key, value in _flat(config, targets, known).items():
        prefix, _, name = key.partition(".")
        if name and prefix in targets:
            names, open_ended = known[prefix]
            if name not in names and not open_ended:
                raise ValueError(_unknown(key, known, targets))
            routed[prefix][name] = value
            continue
        takers = [prefix for prefix, (names, _) in known.items() if key in names]
        if not takers and wholes:
            continue
        if not takers:
            raise ValueError(_unknown(key, known, targets))
        if len(takers) > 1:
            places = " and ".join(f"{p} ({_name(targets[p])})" for p in takers)
            choices = " or ".join(repr(f"{p}.{key}") for p in takers)
            raise ValueError(
                f"config key {key!r} is ambiguous: {places} both take it; write {choices}"
            )
        routed[takers[0]][key] = value
    for prefix, name in wholes:
        routed[prefix].setdefault(
            name, dict(config) if name == "config" else AttributeDict(dict(config))
        )
    for prefix, (names, _) in known.items():
        if prefix != "trainer" and "seed" in names and "seed" in config:
            routed[prefix].setdefault("seed", config["seed"])
    return routed


def _flat(
    config: Mapping[str, Any],
    targets: Mapping[str, Callable[..., Any]],
    known: Mapping[str, tuple[frozenset[str], bool]],
) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if key == "seed":
            continue
        is_parameter = any(key in names for names, _ in known.values())
        if key in targets and isinstance(value, Mapping) and not is_parameter:
            inner = cast(Mapping[str, Any], value)
            flat.update({f"{key}.{name}": item for name, item in inner.items()})
        else:
            flat[key] = value
    return flat


def _unknown(
    key: str,
    known: Mapping[str, tuple[frozenset[str], bool]],
    targets: Mapping[str, Callable[..., Any]],
) -> str:
    every = {name: prefix for prefix, (names, _) in known.items() for name in names}
    dotted = {f"{prefix}.{name}": prefix for name, prefix in every.items()}
    near = difflib.get_close_matches(key, [*every, *dotted], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    open_ended = [prefix for prefix, (_, is_open) in known.items() if is_open and prefix != key]
    if open_ended and "." not in key:
        through = " or ".join(repr(f"{prefix}.{key}") for prefix in open_ended)
        hint += f" To pass it through **kwargs write {through}."
    takers = ", ".join(f"{prefix} ({_name(target)})" for prefix, target in targets.items())
    return f"config key {key!r} is taken by none of {takers}{hint}"


def _name(target: Callable[..., Any]) -> str:
    return getattr(target, "__name__", type(target).__name__)
