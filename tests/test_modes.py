"""One study in both modes, its metric negated: every view agrees, in the metric's own unit."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_study import make_study
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from tune_seeds import SeedResults
from tune_seeds.core.rungs import Rung
from tune_seeds.race.race import Confirm
from tune_seeds.views.tensorboard.config_rows import GroupWriter
from tune_seeds.views.tensorboard.hparams import Columns

# Numbers of these names are of the metric; each is negated where the metric is.
OF_METRIC = {
    "score",
    "mean",
    "curve",
    "scores",
    "values",
    "search_score",
    "estimate",
    "seeds_interval",
    "confirmed_score",
    "by_seed",
    "interval",
    "effect",
}
# These are differences in favour of a config, or say nothing of the metric.
IN_BOTH = {"flattery_interval", "winner_lead", "separation", "by_chance"}
# How many runs came to nothing, and the level that tells, which is of the metric.
COLLAPSE = {"collapse"}
# Counts, and spreads and their bands, which have no sign or trade their ends.
NOT_OF_METRIC = re.compile(r"(std|seeds|epochs|failed|level|interval_low|interval_high|[−+])$|±")
CONFIGS = [
    {"x": 0.3, "net": "a"},
    {"x": 0.9, "net": "b"},
    {"x": 0.5, "net": "a"},
    {"x": 0.7, "net": "b"},
]


def metric(config: Any, seed: int, epoch: int) -> float:
    rng = np.random.default_rng([seed, int(10 * config["x"])])
    return config["x"] * (1 - math.exp(-epoch / 2)) + 0.05 * float(rng.standard_normal())


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SeedResults]:
    path = tmp_path_factory.mktemp("modes")
    made: dict[str, SeedResults] = {}
    for mode, sign in (("max", 1), ("min", -1)):
        make_study(
            path / mode,
            CONFIGS,
            lambda config, seed, epoch, sign=sign: sign * metric(config, seed, epoch),
            rungs=(Rung(1, 3), Rung(3, 3)),
            mode=mode,
            confirm=Confirm((5, 6, 7, 8), 2),
        )
        made[mode] = SeedResults(str(path / mode))
    return made


def negated(value: Any) -> Any:
    if isinstance(value, dict):
        if {"low", "high"} <= set(value):
            turned = {"low": negated(value["high"]), "high": negated(value["low"])}
            return {**value, **turned}
        return {key: negated(item) for key, item in value.items()}
    if isinstance(value, list):
        return [negated(item) for item in value]
    return -value if isinstance(value, float) else value


def turned(value: Any, name: str = "") -> Any:
    """A document of the study in mode "max", as that in mode "min" has to be."""
    if name in OF_METRIC:
        return negated(value)
    if name in IN_BOTH:
        return value
    if name in COLLAPSE:
        return {**value, "level": negated(value["level"])}
    if isinstance(value, dict):
        return {key: turned(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [turned(item) for item in value]
    return value


def assert_close(a: Any, b: Any, where: str = "") -> None:
    if isinstance(a, dict):
        assert isinstance(b, dict) and set(a) == set(b), where
        for key in a:
            assert_close(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list):
        assert isinstance(b, list) and len(a) == len(b), where
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            assert_close(one, other, f"{where}/{i}")
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=1e-9, abs=1e-12), where
    else:
        assert a == b, where


@pytest.mark.slow
def test_the_json_agrees(studies):
    documents = {mode: json.loads(results.to_json()) for mode, results in studies.items()}
    for document in documents.values():
        assert document["study"].pop("mode")
    said = [re.findall(r"\d+\.?\d*", d.pop("explanation")) for d in documents.values()]
    assert sorted(said[0]) == sorted(said[1]) and said[0]
    assert_close(turned(documents["max"]), documents["min"])
    # In its own unit everywhere: what the search said of a config is its score.
    for document in documents.values():
        said = document["confirmation"]["statistics"]["configs"][0]["search_score"]
        assert said == pytest.approx(document["best"]["score"])


def test_the_tables_agree(studies):
    high, low = studies["max"].groups, studies["min"].groups
    assert list(high["group"]) == list(low["group"])
    for column in ("score", "mean", "score/47", "fresh/5"):
        pd.testing.assert_series_equal(high[column], -low[column], check_names=False)
    np.testing.assert_allclose(high["low"], -low["high"])
    np.testing.assert_allclose(high["std"], low["std"])
    np.testing.assert_allclose(studies["max"].runs["score"], -studies["min"].runs["score"])


def test_the_text_agrees(studies):
    numbers = {
        mode: [float(n) for n in re.findall(r"(?<![\w.])-?\d+\.\d+", str(results))]
        for mode, results in studies.items()
    }
    assert sorted(map(abs, numbers["max"])) == sorted(map(abs, numbers["min"]))
    best = {mode: results.best for mode, results in studies.items()}
    assert f"{best['min'].score:.5g}" in str(studies["min"]) and best["min"].score < 0
    assert best["max"].group == best["min"].group


def test_the_figures_agree(studies):
    for name, axis in (("ranking", "x"), ("curves", "y"), ("seeds", "y"), ("marginals", "y")):
        high, low = (getattr(results.plot, name)().data for results in studies.values())
        for one, other in zip(high, low, strict=True):
            assert one.name == other.name
            # A band trades its ends.
            if not one.fill:
                turned = [None if value is None else pytest.approx(-value) for value in other[axis]]
                assert list(one[axis]) == turned


def test_tensorboard_agrees(studies, tmp_path: Path):
    scalars: dict[str, dict[str, list[float]]] = {}
    for mode, results in studies.items():
        columns, name = Columns({}, None), results.best.group
        columns.add(results.ledger.configs[name])
        directory = tmp_path / mode / name
        writer = GroupWriter(results.race, name, directory, columns, resumed=False)
        writer.write()
        writer.end()
        scalars[mode] = {}
        for file in sorted(directory.rglob("*tfevents*")):
            events = EventAccumulator(str(file.parent)).Reload()
            for tag in events.Tags()["scalars"]:
                key = f"{file.parent.relative_to(directory)}/{tag}"
                scalars[mode][key] = [event.value for event in events.Scalars(tag)]
            for tag in events.Tags()["tensors"]:
                if not tag.startswith(("_hparams_", "custom_scalars")):
                    key = f"{file.parent.relative_to(directory)}/{tag}"
                    values = [tensor_util.make_ndarray(e.tensor_proto) for e in events.Tensors(tag)]
                    scalars[mode][key] = [float(v) for v in values if v.ndim == 0]
    assert set(scalars["max"]) == set(scalars["min"]) and scalars["max"]
    of_metric = [key for key in scalars["max"] if not NOT_OF_METRIC.search(key)]
    assert of_metric
    for key in of_metric:
        # The ends of an interval trade places.
        ends = {"expected_low": "expected_high", "expected_high": "expected_low"}
        mirrored = next((key.replace(a, b) for a, b in ends.items() if key.endswith(a)), key)
        other = [-value for value in scalars["min"][mirrored]]
        np.testing.assert_allclose(scalars["max"][key], other, rtol=1e-6, err_msg=key)
