"""Private names of Ray's wrappers of HyperOpt and Optuna, and of those libraries.

Seen with hyperopt 0.2.7 and 0.3.0 and optuna 4 and 5, under Ray 2.49.2, 2.53 and 2.60. Neither
library offers a public way to change a finished trial, and Ray's wrappers none to find it.
"""

# pyright: reportPrivateUsage=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cloudpickle


def hyperopt_number(searcher: Any, suggestion: str) -> int | None:
    """HyperOpt's own number of a suggestion, which ``HyperOptSearch`` forgets once it is told."""
    known = searcher._live_trial_mapping.get(suggestion)
    return None if known is None else int(known[0])


def set_hyperopt_result(searcher: Any, number: int, value: float | None) -> None:
    """Write a metric's value into the document of a finished trial; None makes it an error."""
    from hyperopt.base import JOB_STATE_DONE, JOB_STATE_ERROR

    trials = searcher._hpopt_trials
    # Those with an error are in none of its other lists.
    document = next(doc for doc in trials._dynamic_trials if doc["tid"] == number)
    if value is None:
        document["state"] = JOB_STATE_ERROR
    else:
        loss = searcher.metric_op * value
        document.update(state=JOB_STATE_DONE, result={"loss": loss, "status": "ok"})
    trials.refresh()


def optuna_number(searcher: Any, suggestion: str) -> int | None:
    """The number of a suggestion's trial in Optuna's study."""
    trial = searcher._ot_trials.get(suggestion)
    return None if trial is None else int(trial.number)


def optuna_keeps_in_memory(searcher: Any) -> bool:
    """Whether a study has one objective and keeps its trials where they can be changed."""
    from optuna.storages import InMemoryStorage

    study = searcher._ot_study
    return isinstance(study._storage, InMemoryStorage) and len(study.directions) == 1


def set_optuna_result(
    searcher: Any, number: int, value: float | None, intermediate: Mapping[int, float]
) -> None:
    """Write value and intermediate values of a finished trial; no value makes it a failed one."""
    from optuna.trial import TrialState

    # Not copied, these are the trials that the samplers read.
    trial = searcher._ot_study.get_trials(deepcopy=False)[number]
    trial.state = TrialState.FAIL if value is None else TrialState.COMPLETE
    trial.value = value
    trial.intermediate_values = dict(intermediate)


def was_made_with_a_space(searcher: object) -> bool:
    """Whether a searcher of any kind was given a space when it was made; Ray's keep it so."""
    return bool(getattr(searcher, "_space", None))


def own_space(searcher: object) -> Any:
    """The space that a searcher was made with: HyperOpt's as an expression, Optuna's as a dict."""
    expression = getattr(getattr(searcher, "domain", None), "expr", None)
    return expression if expression is not None else getattr(searcher, "_space", None)


def points(searcher: Any) -> list[Any] | None:
    """The points that a searcher is to suggest first, before it has taken a space; a copy."""
    given = getattr(searcher, "_points_to_evaluate", None)
    return list(given) if isinstance(given, (list, tuple)) and given else None


def set_points(searcher: Any, given: list[Any] | None) -> None:
    """Replace what ``points`` returned; also before the searcher takes a space."""
    searcher._points_to_evaluate = given


def set_hyperopt_points(searcher: Any, given: list[Any] | None) -> None:
    """Put points to evaluate under the labels by which HyperOpt learns from them.

    Ray 2.60 leaves the keys of nested points as they are. HyperOpt can suggest such a point, and
    ends with a KeyError as soon as it learns from it.

    Args:
        searcher: a ``HyperOptSearch`` with a space.
        given: points like configs; None for those that it was made with, in its own space.

    Raises:
        ValueError: a point holds what is not searched, lacks what is, or names no category.
    """
    from hyperopt.fmin import generate_trials_to_calculate

    points: list[Any]
    known = given is not None
    if given is not None:
        points = given
    else:
        # Made by Ray, last one first, with the numbers of categories in place of their values.
        documents = searcher._hpopt_trials._dynamic_trials
        points = [
            {key: values[0] for key, values in document["misc"]["vals"].items()}
            for document in reversed(documents)
        ]
    labelled: list[dict[str, Any]] = []
    for k, point in enumerate(points):
        where = f"points_to_evaluate[{k}]"
        labelled.append(_labelled(searcher._space, point, where, numbered=not known))
    searcher._hpopt_trials = generate_trials_to_calculate(labelled[::-1])
    searcher._hpopt_trials.refresh()
    searcher._points_to_evaluate = len(labelled)


def _labelled(space: Any, value: Any, where: str, numbered: bool) -> dict[str, Any]:
    if not isinstance(space, dict) and space.name == "dict":
        space = dict(space.named_args)
    if isinstance(space, dict):
        entries: dict[str, Any] = space
        if not isinstance(value, Mapping):
            raise ValueError(f"{where} must be a dict, got {value!r}")
        found: dict[str, Any] = {}
        given: Mapping[str, Any] = value
        for key in given:
            if key not in entries:
                raise ValueError(f"{where} has the key {key!r}, which is not searched")
        for key, inner in entries.items():
            if key in given:
                found |= _labelled(inner, given[key], f"{where}[{key!r}]", numbered)
            elif _labels(inner):
                raise ValueError(f"{where} has no value for {key!r}, which is searched")
        return found
    if not hasattr(space, "pos_args"):  # a constant of the space
        return {}
    if space.name == "switch":
        label = space.pos_args[0].arg["label"].obj
        options = space.pos_args[1:]
        if numbered and type(value) is int and 0 <= value < len(options):
            return {label: value}
        for number, option in enumerate(options):
            if option.name == "literal":
                if _equal(option.obj, value):
                    return {label: number}
                continue
            try:
                return {label: number, **_labelled(option, value, where, numbered)}
            except ValueError:
                continue
        raise ValueError(f"{where} is {value!r}, which is none of the choices there")
    if space.name == "literal":
        if not _equal(space.obj, value):
            raise ValueError(f"{where} is {value!r}, and the space has {space.obj!r} there")
        return {}
    if space.name == "pos_args":
        items: dict[str, Any] = {}
        for k, inner in enumerate(space.pos_args):
            items |= _labelled(inner, value[k], f"{where}[{k}]", numbered)
        return items
    labels = _labels(space)
    if len(labels) > 1:
        raise ValueError(f"{where} stands for several values of HyperOpt's: {sorted(labels)}")
    return dict.fromkeys(labels, value)


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except (TypeError, ValueError, RuntimeError):  # arrays and tensors say so of each element
        return False


def _labels(space: Any) -> set[str]:
    """The labels of what an expression of HyperOpt's, or a dict of them, draws."""
    from hyperopt.pyll import dfs

    if isinstance(space, dict):
        entries: dict[str, Any] = space
        return {label for inner in entries.values() for label in _labels(inner)}
    if not hasattr(space, "pos_args"):
        return set()
    nodes: list[Any] = dfs(space) or []
    return {str(node.arg["label"].obj) for node in nodes if node.name == "hyperopt_param"}


def optuna_names(searcher: Any, suggestion: str) -> frozenset[str]:
    """What Optuna's function of a space has asked for in a suggestion."""
    return frozenset(searcher._ot_trials[suggestion].params)


def save_optuna(searcher: Any, file: str) -> None:
    """Save an ``OptunaSearch`` whose space is a local function, which its own ``save`` can't."""
    with open(file, "wb") as stream:
        cloudpickle.dump(dict(searcher.__dict__), stream)


def n_hyperopt_points(searcher: Any) -> int:
    """How many points to evaluate a ``HyperOptSearch`` with a space still has to suggest."""
    return int(searcher._points_to_evaluate or 0)


def has_rewards(searcher: Any) -> bool:
    """Whether an ``OptunaSearch`` knows the values of its points, and so suggests none of them."""
    return bool(searcher._evaluated_rewards)


def has_space(searcher: Any) -> bool:
    """Whether a searcher has a space, its own or one that it was given."""
    return bool(getattr(searcher, "_space", None))
