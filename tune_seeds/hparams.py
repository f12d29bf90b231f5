"""TensorBoard's HPARAMS messages: what a study announces, and one session per run and per config.

A config is a session group. Its own session holds what is known of the group (spread, interval,
counts); a run's session holds that run's curve up to the group's last complete rung, so that the
plugin's average over the last values is the mean over exactly the rung's seeds at exactly its
epochs. Search spaces have no scale in these messages: log axes are chosen in the page.
"""

# TensorBoard's protocol messages carry no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ray.tune.search.sample import Categorical, Domain, Float, Integer
from ray.tune.search.variant_generator import parse_spec_vars
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from tune_seeds.labels import flat, short_names, value_text

#: The tag that a run's session holds, and those that a config's session holds.
SCORE = "rung/score"
AGGREGATE = "rung/aggregate"
STD = "rung/std"
LOW = "rung/interval_low"
HIGH = "rung/interval_high"
N_SEEDS = "rung/seeds"
N_FAILED = "rung/failed"
EPOCHS = "rung/epochs"
LEVEL = "rung/level"

HParams = dict[str, float | bool | str]


class Columns:
    """The hyperparameter columns of a study, fixed before its first run.

    TensorBoard keeps the first announcement it meets, so columns can't be added later.

    Args:
        space: the search space, as Ray Tune takes it; constants are shown only where they are
            named in it.
        first: the first config; gives the columns where a searcher brought its own space.
    """

    def __init__(self, space: Mapping[str, Any], first: Mapping[str, Any]) -> None:
        _, domains, grids = parse_spec_vars(dict(space))
        self._choices: dict[str, Any] = {
            "/".join(map(str, cast(tuple[Any, ...], path))): choice
            for path, choice in (*domains, *grids)
        }
        keys = [*self._choices, *(key for key in flat(first) if not self._is_inside(key))]
        self.names = short_names(keys)
        self._searched = self._choices or dict.fromkeys(keys)
        self.infos = [self._info(key, key in self._searched) for key in keys]
        self._text = {info.name for info in self.infos if info.type == api_pb2.DATA_TYPE_STRING}

    def values(self, config: Mapping[str, Any]) -> HParams:
        """The cells of one config."""
        values: HParams = {}
        for key, value in flat(config, whole=self._choices).items():
            name = self.names.get(key, key)
            values[name] = _cell(value, name in self._text)
        return values

    def searched(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a config that the search chose."""
        items = flat(config, whole=self._choices).items()
        return {key: value for key, value in items if key in self._searched}

    def _is_inside(self, key: str) -> bool:
        return any(key == choice or key.startswith(f"{choice}/") for choice in self._choices)

    def _info(self, key: str, differs: bool) -> api_pb2.HParamInfo:
        info = api_pb2.HParamInfo(name=self.names[key], differs=differs)
        choice = self._choices.get(key)
        if isinstance(choice, (Categorical, list, tuple)):
            options = choice.categories if isinstance(choice, Categorical) else choice
            _set_discrete(info, cast(Sequence[Any], options))
        elif isinstance(choice, (Float, Integer)):
            info.type = api_pb2.DATA_TYPE_FLOAT64
            low, high = cast(Any, choice).lower, cast(Any, choice).upper
            if low is not None and high is not None and math.isfinite(high - low):
                # Ray's integers exclude the upper end.
                info.domain_interval.min_value = low
                info.domain_interval.max_value = high - isinstance(choice, Integer)
        elif isinstance(choice, Domain):
            pass  # a function of the config: its values may be of any type
        return info


def _set_discrete(info: api_pb2.HParamInfo, options: Sequence[Any]) -> None:
    cells = [flat({"": option}, whole=("",))[""] for option in options]
    if all(isinstance(cell, bool) for cell in cells):
        info.type = api_pb2.DATA_TYPE_BOOL
    elif all(isinstance(cell, (int, float)) and not isinstance(cell, bool) for cell in cells):
        info.type = api_pb2.DATA_TYPE_FLOAT64
    else:
        info.type = api_pb2.DATA_TYPE_STRING
    text = info.type == api_pb2.DATA_TYPE_STRING
    info.domain_discrete.extend(dict.fromkeys(_cell(cell, text) for cell in cells))


def _cell(value: Any, text: bool) -> float | bool | str:
    if isinstance(value, bool) and not text:
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not text:
        return float(value)
    return value_text(value, 80)


def announce(
    columns: Columns, metric: str, *, spread_everywhere: bool, aggregate: str | None = None
) -> Summary:
    """The study: its columns, with the domains of its space.

    The page shows five columns of metrics until more are ticked, and its parallel coordinates
    leave out each config that lacks one of those in sight, so what every config has comes first.

    Args:
        columns: of hyperparameters.
        metric: the name of what is tuned.
        spread_everywhere: whether the lowest rung has two seeds or more, and so a spread.
        aggregate: what the score is, where it is not what the plugin makes of the seeds' curves.
    """
    mean = (SCORE, metric, "mean over the seeds of the last complete rung, at its epochs")
    score = [mean]
    if aggregate is not None:
        score = [
            (AGGREGATE, f"{metric} ({aggregate})", f"{aggregate} over the last complete rung"),
            (SCORE, f"{metric} by seed", "mean of the last points below; open the row for them"),
        ]
    counts = [
        (N_SEEDS, "seeds", "how many seeds the score is of"),
        (N_FAILED, "failed", "how many seeds failed"),
        (EPOCHS, "epochs", "after how many epochs the score was taken"),
    ]
    level = (LEVEL, "rung", "the last complete rung, 1 is the lowest")
    std = (STD, "std", "standard deviation over those seeds (n - 1)")
    interval = [
        (LOW, "95% low", "lower end of the 95 % interval of the mean"),
        (HIGH, "95% high", "upper end of the 95 % interval of the mean"),
    ]
    always, rest = (std, level) if spread_everywhere else (level, std)
    described = [*score, always, *counts, rest, *interval]
    experiment = api_pb2.Experiment(
        hparam_infos=columns.infos,
        metric_infos=[
            api_pb2.MetricInfo(
                name=api_pb2.MetricName(tag=tag), display_name=name, description=description
            )
            for tag, name, description in described
        ],
    )
    return _summary(
        metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=experiment)
    )


def session_start(group: str, values: HParams) -> Summary:
    """A session of a config; sessions of equal ``group`` are one row."""
    start = plugin_data_pb2.SessionStartInfo(group_name=group)
    for name, value in values.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, str):
            start.hparams[name].string_value = value
        else:
            start.hparams[name].number_value = value
    return _summary(
        metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=start)
    )


def session_end(failed: bool) -> Summary:
    """The end of a session, by which the page filters."""
    end = plugin_data_pb2.SessionEndInfo(
        status=api_pb2.STATUS_FAILURE if failed else api_pb2.STATUS_SUCCESS
    )
    return _summary(
        metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end)
    )


def _summary(tag: str, data: plugin_data_pb2.HParamsPluginData) -> Summary:
    value = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data))
    value.tensor.CopyFrom(metadata.NULL_TENSOR)
    return Summary(value=[value])
