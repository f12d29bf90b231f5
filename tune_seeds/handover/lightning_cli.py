"""One config of a study as a config file of Lightning's command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

import yaml

from tune_seeds.core.blueprint import Blueprint, Target
from tune_seeds.core.jsonable import is_plain


def lightning_cli_config(
    config: Mapping[str, Any], seed: int, blueprint: Blueprint
) -> dict[str, Any]:
    """The values that ``LightningCLI(Module, DataModule)`` builds a run of the study from.

    Args:
        config: hyperparameters, without the seed, with their objects.
        seed: of the run.
        blueprint: of the study.

    Returns:
        ``seed_everything``, ``trainer``, ``model`` and ``data``; without what text can't hold
        of the trainer's arguments (``blueprint.left_out``).

    Raises:
        ValueError: the config holds an object that has no name to import it by.
    """
    from tune_seeds.training.config_routing import route  # it takes Lightning's time to import

    targets = {prefix: stand_in(target) for prefix, target in blueprint.targets.items()}
    routed = route({**config, "seed": seed}, targets)
    made: dict[str, Any] = {
        "seed_everything": seed,
        "trainer": {**_written(blueprint.trainer, "trainer"), **routed.pop("trainer")},
    }
    for prefix, given in routed.items():
        if given or prefix == "model":
            made[prefix] = given
    return cast(dict[str, Any], _written(made, ""))


def as_yaml(values: Mapping[str, Any], comments: list[str]) -> str:
    """A YAML document with comments above it."""
    head = "".join(f"# {line}\n" for line in comments)
    return head + yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)


def stand_in(target: Target) -> Callable[..., Any]:
    """A function with the signature of a target, for routing keys to it without importing it."""

    def build(**given: Any) -> None:
        """Nothing: only its signature is asked for."""

    kinds = inspect.Parameter
    names = [kinds(name, kinds.KEYWORD_ONLY, default=None) for name in target.parameters]
    rest = [kinds("kwargs", kinds.VAR_KEYWORD)] if target.open_ended else []
    cast(Any, build).__signature__ = inspect.Signature([*names, *rest])
    build.__name__ = target.name
    return build


def _written(value: Any, name: str) -> Any:
    """A value as YAML has it: classes and functions by the name to import them by."""
    if isinstance(value, Mapping):
        items = cast(Mapping[Any, Any], value).items()
        return {str(key): _written(item, f"{name}.{key}".strip(".")) for key, item in items}
    if isinstance(value, (list, tuple)):
        return [_written(item, name) for item in cast(list[Any], value)]
    # NumPy's scalars, which searchers suggest.
    value = value.item() if hasattr(value, "item") and hasattr(value, "dtype") else value
    if is_plain(value) or isinstance(value, float):
        return value
    if isinstance(value, (str, int)):  # a member of an enumeration of these
        return getattr(value, "value", value)
    place = getattr(value, "__qualname__", "<")
    if callable(value) and "<" not in place:
        return f"{value.__module__}.{place}"
    raise ValueError(
        f"{name} is {value!r} (a {type(value).__name__}), which no config file can hold; "
        "give the study a name instead, and build the object from it in the constructor"
    )
