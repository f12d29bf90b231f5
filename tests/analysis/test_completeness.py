from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from made_study import make_study

import tune_seeds
from tune_seeds import NoCompleteGroupError, SeedResults
from tune_seeds.analysis.completeness import completeness
from tune_seeds.core.ledger import Ledger
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung, build_rungs
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.race import Race
from tune_seeds.statistics.aggregate import get_aggregate
from tune_seeds.store.codec import decode

SEEDS = (47, 881, 123456789)
CONFIGS = [{"k": k} for k in (3, 9, 1, 7, 5, 8, 2, 6)]


def climbs(config: Any, seed: int, epoch: int) -> float | Exception:
    if config["k"] == 8 and seed == 881:
        return RuntimeError("boom")
    noise = random.Random(f"{config['k']}/{seed}").gauss(0, 0.02)
    return config["k"] / 10 + epoch / 100 + noise


def make(path: Path, policy: str) -> list[bytes]:
    kind = "adaptive" if policy == "adaptive" else "ladder"
    rungs = build_rungs((1, 2, 4), len(SEEDS), kind)
    make_study(path, CONFIGS, climbs, rungs=rungs, n_finalists=2, policy=policy)
    return Path(path, "ledger.jsonl").read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("policy", ["halving", "adaptive"])
@pytest.mark.slow
def test_a_study_that_is_killed_at_any_moment_answers_with_its_leader(tmp_path: Path, policy: str):
    lines = make(tmp_path, policy)
    schema = json.loads(Path(tune_seeds.__file__).with_name("results.schema.json").read_text())
    whole = SeedResults(str(tmp_path))
    assert whole.completeness.finished and whole.best.complete
    assert "configs started" not in str(whole)
    n_partial = 0
    # The very last events end runs whose scores are there already.
    last = max(n for n, line in enumerate(lines) if b'"Scored"' in line)
    for n in range(0, last + 1, 7):
        Path(tmp_path, "ledger.jsonl").write_bytes(b"".join(lines[:n]))
        results = SeedResults(str(tmp_path))
        live = Race(Ledger(SEEDS, Metric("score", "max")), results.header.make_policy(), len)
        for line in lines[:n]:
            live.apply(decode(line))
        assert results.leader == live.policy.leader()
        text = str(results)
        if live.groups:
            assert f"left before its end: {len(live.groups)} of 8 configs started" in text
        document = json.loads(results.to_json())
        jsonschema.validate(document, schema)
        assert not document["completeness"]["finished"]
        if results.leader is None:
            assert document["best"] is None
            with pytest.raises(NoCompleteGroupError):
                _ = results.best
            continue
        best = results.best
        rung = max(live.groups[best.group].scores)
        assert (best.rung, best.score) == (rung, live.groups[best.group].scores[rung])
        assert len(best.scores) == rung.n_seeds
        assert f"best so far: {best.group}, " in text
        assert (document["best"]["group"], document["best"]["complete"]) == (
            best.group,
            rung == results.header.rungs[-1],
        )
        n_partial += not best.complete
        if policy == "halving":
            first = results.groups.iloc[0]
            assert (best.group, best.score) == (first["group"], first["score"])
    assert n_partial > 3


def test_what_it_was_left_by_is_said_until_it_goes_on(tmp_path: Path):
    lines = make(tmp_path, "halving")
    left = b'{"event":"StudyLeft","reason":"the time budget"}\n'
    Path(tmp_path, "ledger.jsonl").write_bytes(b"".join(lines[:20]) + left)
    results = SeedResults(str(tmp_path))
    n = len(results.race.groups)
    said = f"stopped by the time budget: {n} of 8 configs started, 0 of 2 finalists complete"
    assert said in str(results)
    assert f"S{said[1:]}." in results.report(tmp_path / "r.html").read_text()
    assert results.best.group + " leads: " in (tmp_path / "r.html").read_text()
    Path(tmp_path, "ledger.jsonl").write_bytes(b"".join(lines[:20]) + left + lines[20])
    assert "left before its end" in str(SeedResults(str(tmp_path)))


def test_fewer_configs_than_asked_for_are_all_of_them_once_the_search_is_exhausted():
    rungs = (Rung(1, 1),)
    race = Race(
        Ledger((1,), Metric("a", "max")), SuccessiveHalving(rungs, 3, 3), get_aggregate("mean")
    )
    race.add_group({"x": 1})
    assert completeness(race, 5, 3).n_configs == 5
    race.exhaust()
    assert str(completeness(race, 5, 3)) == (
        "left before its end: 1 of 1 configs started, 0 of 1 finalists complete"
    )
    (key,) = race.queue
    race.start(key)
    race.report(key, 1, {"a": 1.0})
    assert completeness(race, 5, 3).finished


def test_nothing_is_confirmed_before_a_config_is_complete(tmp_path: Path):
    lines = make(tmp_path, "halving")
    Path(tmp_path, "ledger.jsonl").write_bytes(b"".join(lines[:20]))
    with pytest.raises(NoCompleteGroupError, match="nothing to confirm"):
        SeedResults(str(tmp_path)).confirm([5])
