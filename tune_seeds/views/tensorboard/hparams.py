"""TensorBoard's HPARAMS messages: what a study announces, and one session per run and per config.

A config is a session group. Its own session holds what is known of the group (spread, interval,
counts); a run's session holds that run's curve up to the group's last complete rung, so that the
plugin's average over the last values is the mean over exactly the rung's seeds at exactly its
epochs. A hyperparameter (HParamInfo in api.proto) has a domain and no scale: log axes
are chosen in the page.
"""

# TensorBoard's protocol messages carry no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from tune_seeds.core.jsonable import flat
from tune_seeds.views.labels import ends, short_names, value_text
from tune_seeds.views.tensorboard.domains import Domains, Options, Range, of_space

#: The tag that a run's session holds, and those that a config's session holds.
SCORE = "rung/score"
AGGREGATE = "rung/aggregate"
STD = "rung/std"
LOW = "rung/interval_low"
HIGH = "rung/interval_high"
EXPECTED = "rung/expected"
EXPECTED_LOW = "rung/expected_low"
EXPECTED_HIGH = "rung/expected_high"
N_SEEDS = "rung/seeds"
N_FAILED = "rung/failed"
EPOCHS = "rung/epochs"
LEVEL = "rung/level"

HParams = dict[str, float | bool | str]

# A hyperparameter seen with more texts than this gets no list of them to filter by.
_MOST_OPTIONS = 50


class Columns:
    """The hyperparameter columns of a study.

    What the space declares is fixed. A hyperparameter that it does not name, or names without its
    values, is known by the configs seen so far.

    Args:
        space: the search space, as Ray Tune takes it; constants are shown only where they are
            named in it.
        own: the domains of the searcher's own space, where it has one.
    """

    def __init__(self, space: Mapping[str, Any], own: Domains | None = None) -> None:
        declared = of_space(space)
        # A config keeps the value of a choice as one; what a searcher nests comes nested.
        self._whole = frozenset(declared)
        self._declared: Domains = {**declared, **(own or {})}
        self._constants = frozenset(flat(space, whole=self._whole)) - self._whole
        self._seen: dict[str, dict[float | bool | str, None]] = {}
        self.names: dict[str, str] = {}
        self.infos: list[api_pb2.HParamInfo] = []

    @property
    def final(self) -> bool:
        """Whether no further config can change them."""
        return bool(self._declared) and all(
            self._declared.get(key) is not None or key in self._constants for key in self.names
        )

    def add(self, config: Mapping[str, Any]) -> bool:
        """Learn from a config; whether the columns are others now.

        Names that were given stay: the page knows earlier configs by them.
        """
        cells = flat(config, whole=self._whole)
        new = [key for key in {**self._declared, **cells} if key not in self.names]
        if not self.names:
            self.names = short_names(new)
        for key in new:
            if key not in self.names:
                taken = self.names.values()
                self.names[key] = next((end for end in ends(key) if end not in taken), key)
        for key, value in cells.items():
            if self._declared.get(key) is None:
                self._seen.setdefault(key, {})[_cell(value, text=False)] = None
        infos = [self._info(key) for key in self.names]
        changed = infos != self.infos
        self.infos = infos
        return changed

    def values(self, config: Mapping[str, Any]) -> HParams:
        """The cells of one config that was added."""
        text = {info.name for info in self.infos if info.type == api_pb2.DATA_TYPE_STRING}
        cells = flat(config, whole=self._whole)
        return {self.names[key]: _cell(v, self.names[key] in text) for key, v in cells.items()}

    def searched(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a config that the search chose; it depends on no other config."""
        items = flat(config, whole=self._whole).items()
        return {key: value for key, value in items if self._is_searched(key)}

    def _is_searched(self, key: str) -> bool:
        if self._declared:
            domain = self._declared.get(key, Options(()))
            return not (isinstance(domain, Options) and len(domain.values) < 2)
        return key not in self._constants

    def _info(self, key: str) -> api_pb2.HParamInfo:
        domain, seen = self._declared.get(key), self._seen.get(key, {})
        differs = self._is_searched(key) or len(seen) > 1
        info = api_pb2.HParamInfo(name=self.names[key], differs=differs)
        if isinstance(domain, Options):
            _set_discrete(info, domain.values)
        elif isinstance(domain, Range):
            _set_range(info, domain)
        elif seen and all(isinstance(v, float) for v in seen):
            numbers = cast(Iterable[float], seen)
            _set_range(info, Range(min(numbers), max(numbers)))
        elif 0 < len(seen) <= _MOST_OPTIONS:
            _set_discrete(info, list(seen))
        elif seen:
            info.type = api_pb2.DATA_TYPE_STRING
        return info


def _set_range(info: api_pb2.HParamInfo, domain: Range) -> None:
    info.type = api_pb2.DATA_TYPE_FLOAT64
    if math.isfinite(domain.high - domain.low):
        info.domain_interval.min_value = domain.low
        info.domain_interval.max_value = domain.high


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
    expected = [
        (EXPECTED, "expected", "expected on a fresh seed, by a model of all configs"),
        (EXPECTED_LOW, "expected, 95% low", "lower end of its 95 % interval"),
        (EXPECTED_HIGH, "expected, 95% high", "upper end of its 95 % interval"),
    ]
    interval = [
        (LOW, "95% low", "of these seeds alone, chosen or not: lower end of the 95 % interval"),
        (HIGH, "95% high", "of these seeds alone: upper end; 'expected' knows of the choice"),
    ]
    always, rest = (std, level) if spread_everywhere else (level, std)
    described = [*score, always, *counts, rest, *expected, *interval]
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
