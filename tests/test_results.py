from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from made_study import make_study

import tune_seeds
from tune_seeds import NoCompleteGroupError, SeedResults
from tune_seeds.core.rungs import Rung
from tune_seeds.race.race import Confirm
from tune_seeds.statistics.confirmation import OverlappingSeedsError
from tune_seeds.store.errors import IntegrityError

SEEDS = (47, 881, 123456789)
GRID = [{"lr": lr, "opt": opt} for lr in (0.1, 0.01) for opt in ("sgd", "adam")]
# score per (lr, opt) and seed; sgd at 0.01 wins on every seed
SCORES = {
    (0.1, "sgd"): (0.50, 0.52, 0.54),
    (0.1, "adam"): (0.30, 0.31, 0.29),
    (0.01, "sgd"): (0.80, 0.82, 0.83),
    (0.01, "adam"): (0.60, 0.61, 0.65),
}
FRESH = {5: 0.70, 6: 0.74}


def train(config, seed, epoch):
    if seed in FRESH:
        return FRESH[seed] - (0.2 if config["opt"] == "adam" else 0.0)
    return SCORES[config["lr"], config["opt"]][SEEDS.index(seed)]


@pytest.fixture
def results(tmp_path: Path) -> SeedResults:
    return SeedResults(make_study(tmp_path / "s", GRID, train, confirm=Confirm((5, 6), 2)))


def test_best(results: SeedResults):
    best = results.best
    assert best.config == {"lr": 0.01, "opt": "sgd"}
    assert best.scores == dict(zip(SEEDS, (0.80, 0.82, 0.83), strict=True))
    assert best.score == best.mean == pytest.approx(statistics.fmean(best.scores.values()))
    assert best.std == pytest.approx(statistics.stdev(best.scores.values()))
    # t quantile of 2 degrees of freedom at 97.5 %: 4.302653
    half = 4.302653 * best.std / 3**0.5
    low, high = best.seeds_interval
    assert (low, high) == pytest.approx((best.mean - half, best.mean + half), rel=1e-4)


def test_min_is_max_of_the_negated_metric(tmp_path: Path, results: SeedResults):
    path = make_study(
        tmp_path / "min",
        GRID,
        lambda *run: -train(*run),
        mode="min",
        confirm=Confirm((5, 6), 2),
    )
    turned = SeedResults(path)
    assert turned.best.group == results.best.group
    assert turned.best.mean == -results.best.mean
    assert tuple(turned.best.interval) == tuple(reversed([-x for x in results.best.interval]))
    assert turned.contenders() == results.contenders()
    assert turned.seed_effect() == results.seed_effect()
    for name, rows in results.marginals().items():
        for row, other in zip(rows, turned.marginals()[name], strict=True):
            assert other.mean == -row.mean and other.value == row.value
            assert tuple(other.effect) == pytest.approx(
                tuple(reversed([-x for x in row.effect])), nan_ok=True
            )


def test_contenders_and_seed_effect(results: SeedResults):
    found = results.contenders()
    assert found.groups[0] == results.best.group
    assert "g0002" not in found.groups, "adam at 0.1 is far below on every seed"
    effect = results.seed_effect()
    assert effect.kendalls_w == pytest.approx(1.0)
    assert effect.win_shares[results.best.group] == 1.0
    assert {choice.name: choice.overall for choice in effect.choices} == {
        "lr": "0.01",
        "opt": "sgd",
    }
    assert all(choice.same for choice in effect.choices)


def test_marginals_are_means_over_configs_then_seeds(results: SeedResults):
    rows = {row.value: row for row in results.marginals()["opt"]}
    by_hand = [statistics.fmean([SCORES[lr, "sgd"][k] for lr in (0.1, 0.01)]) for k in range(3)]
    assert rows["sgd"].mean == pytest.approx(statistics.fmean(by_hand))
    assert rows["sgd"].standard_error == pytest.approx(statistics.stdev(by_hand) / 3**0.5)


def test_confirmation(results: SeedResults):
    found = results.confirmation
    assert found is not None and found.seeds == (5, 6)
    assert found.groups == ("g0003", "g0004")
    assert found.scores["g0003"] == FRESH
    first = found.statistics.configs[0]
    assert first.flattery == pytest.approx(statistics.fmean((0.80, 0.82, 0.83)) - 0.72)
    assert found.statistics.order_held
    assert "on the fresh seeds 5, 6" in str(results)
    assert results.best.scores.keys() == set(SEEDS), "fresh seeds judge nothing"


def test_confirming_on_a_tuning_seed_is_refused(results: SeedResults):
    with pytest.raises(OverlappingSeedsError, match="881"):
        results.confirm([5, 881])


def fails(config: Any, seed: int, epoch: int) -> float | Exception:
    if config == {"lr": 0.01, "opt": "sgd"} and seed == 881:
        return RuntimeError("boom")
    return train(config, seed, epoch)


def test_a_failed_seed_fails_its_config_by_default(tmp_path: Path):
    results = SeedResults(make_study(tmp_path / "s", GRID, fails))
    assert results.best.config == {"lr": 0.01, "opt": "adam"}
    row = results.groups.iloc[-1]
    assert row["state"] == "failed" and row["why"] == "seed 881: RuntimeError: boom"


def test_worst_scores_a_failed_seed_as_the_worst_seen_at_its_rung(tmp_path: Path):
    results = SeedResults(make_study(tmp_path / "s", GRID, fails, on_seed_failure="worst"))
    row = results.groups.set_index("group").loc["g0003"]
    assert row["score/881"] == 0.29, "adam at 0.1 was the worst when it was scored"
    assert row["score"] == pytest.approx(statistics.fmean((0.80, 0.29, 0.83)))
    assert results.best.config == {"lr": 0.01, "opt": "sgd"}
    assert results.best.failures == {881: "RuntimeError: boom"}
    assert "its seeds 881 failed: worst" in str(results)


def test_drop_scores_on_the_rest_and_says_so(tmp_path: Path):
    results = SeedResults(make_study(tmp_path / "s", GRID, fails, on_seed_failure="drop"))
    best = results.best
    assert best.config == {"lr": 0.01, "opt": "sgd"}
    assert best.scores == {47: 0.80, 123456789: 0.83}
    assert best.score == pytest.approx(0.815)
    assert results.groups.iloc[0]["n_seeds"] == 2
    assert results.contenders().left_out == ("g0003",), "it can't be compared in pairs"


def test_a_group_whose_seeds_all_fail_cannot_win(tmp_path: Path):
    def always(config, seed, epoch):
        return float("nan") if config["opt"] == "sgd" else train(config, seed, epoch)

    for policy in ("fail", "worst", "drop"):
        results = SeedResults(make_study(tmp_path / policy, GRID, always, on_seed_failure=policy))
        assert results.best.config == {"lr": 0.01, "opt": "adam"}
        failed = results.groups[results.groups["state"] == "failed"]
        assert set(failed["config/opt"]) == {"sgd"}


def test_nothing_complete(tmp_path: Path):
    path = make_study(tmp_path / "s", GRID, lambda *run: RuntimeError("boom"))
    results = SeedResults(path)
    with pytest.raises(NoCompleteGroupError, match="boom"):
        _ = results.best
    assert json.loads(results.to_json())["best"] is None


@pytest.mark.parametrize("aggregate", ["median", "worst", "quantile:0.25", "mean-1se"])
def test_the_aggregate_ranks(tmp_path: Path, aggregate: str):
    scores = {0: (0.9, 0.9, 0.0), 1: (0.5, 0.5, 0.5)}
    path = make_study(
        tmp_path / "s",
        [{"k": 0}, {"k": 1}],
        lambda config, seed, epoch: scores[config["k"]][SEEDS.index(seed)],
        aggregate=aggregate,
    )
    best = SeedResults(path).best
    assert best.config == {"k": 0 if aggregate == "median" else 1}


def test_an_aggregate_of_the_users_own(tmp_path: Path):
    def last(scores):
        return float(scores[-1])

    path = make_study(tmp_path / "s", GRID, train, aggregate=last)
    assert SeedResults(path, aggregate=last).best.score == 0.83
    assert SeedResults(path).groups["score"].iloc[0] == 0.83, "scores are on record"


LADDER = (Rung(1, 1), Rung(2, 1), Rung(2, 3))


def climbs(config: Any, seed: int, epoch: int) -> float:
    noise = random.Random(f"{config['k']}/{seed}").gauss(0, 0.02)
    return config["k"] / 10 + epoch / 100 + noise


def test_lower_rungs_can_be_analysed_too(tmp_path: Path):
    configs = [{"k": k} for k in range(12)]
    results = SeedResults(make_study(tmp_path / "s", configs, climbs, rungs=LADDER))
    assert len(results.contenders().p_values) >= 3
    assert len(results.contenders(rung=LADDER[0]).p_values) == 12
    assert results.importances(rung=LADDER[0]).rows[0].name == "k"


def test_json_follows_its_schema_and_needs_no_package(results: SeedResults, tmp_path: Path):
    text = results.to_json()
    schema = Path(tune_seeds.__file__).with_name("results.schema.json").read_text()
    jsonschema.validate(json.loads(text), json.loads(schema))
    file = tmp_path / "results.json"
    file.write_text(text)
    # -S -E: no site-packages, so this package can't be imported by accident
    code = (
        "import json, sys; d = json.load(open(sys.argv[1])); "
        "print(d['best']['config'], d['confirmation']['seeds'], len(d['groups']))"
    )
    shown = subprocess.run(
        [sys.executable, "-S", "-E", "-c", code, str(file)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout
    assert shown == "{'lr': 0.01, 'opt': 'sgd'} [5, 6] 4\n"


def edit(path: str, change) -> None:
    file = Path(path, "ledger.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines = change(lines)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda lines: [
                x
                for x in lines
                if not (x["event"] == "Reported" and x["group"] == "g0001" and x["seed"] == 881)
            ],
            "group g0001 was scored at 1x3 with 0.52 for seed 881, whose run reported None",
        ),
        (
            lambda lines: [x | {"seed": 7} if x["event"] == "Reported" else x for x in lines],
            r"seed=7.*which the study does not have",
        ),
        (
            lambda lines: [x | {"score": 0.99} if x["event"] == "Scored" else x for x in lines],
            "group g0001 has the score 0.99 at 1x3, but the mean of its seeds is",
        ),
    ],
)
def test_a_journal_that_contradicts_the_study_is_refused(tmp_path: Path, change: Any, message: str):
    path = make_study(tmp_path / "s", GRID, train)
    edit(path, change)
    with pytest.raises(IntegrityError, match=message):
        SeedResults(path)


def test_seeds_at_different_epochs_are_refused(tmp_path: Path):
    path = make_study(tmp_path / "s", [{"k": 1}], climbs, rungs=(Rung(2, 3),))
    edit(
        path,
        lambda lines: [
            x
            for x in lines
            if not (x["event"] == "Reported" and x["seed"] == 881 and x["epoch"] == 1)
        ],
    )
    with pytest.raises(IntegrityError, match="different epochs up to 2x3: seed 881 has 1 of 2"):
        SeedResults(path)


def test_the_answer_knows_of_the_selection_and_stays_in_its_range(tmp_path: Path):
    def equal(config, seed, epoch):
        return 0.98 + random.Random(f"{config['k']}/{seed}").gauss(0, 0.01)

    configs = [{"k": k} for k in range(12)]
    results = SeedResults(make_study(tmp_path / "s", configs, equal))
    best = results.best
    assert best.estimate < best.mean, "the best of equal ones is flattered"
    narrow, wide = (high - low for low, high in (best.interval, best.seeds_interval))
    assert narrow < wide
    text = str(results)
    assert f"expected on a fresh seed: {best.estimate:.5g}, 95% interval " in text
    assert f"of these 3 seeds alone, chosen or not: {best.mean:.5g}, 95% interval " in text
    row = results.groups.iloc[0]
    assert (row["estimate"], row["low"]) == (best.estimate, best.interval.low)
    assert row["seeds_low"] == best.seeds_interval.low
    assert results.metric_range is None


@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_declared_range_holds_every_interval(tmp_path: Path, mode: str):
    def near_the_end(config, seed, epoch):
        value = min(1.0, 0.97 + random.Random(f"{config['k']}/{seed}").gauss(0, 0.03))
        return value if mode == "max" else 1 - value

    configs = [{"k": k} for k in range(8)]
    path = make_study(tmp_path / "s", configs, near_the_end, mode=mode, metric_range=(0.0, 1.0))
    results = SeedResults(path)
    frame = results.groups
    for column in ("low", "high", "estimate", "seeds_low", "seeds_high"):
        assert frame[column].between(0, 1).all()


def test_a_range_that_the_runs_contradict_is_not_used_and_that_is_said(tmp_path: Path):
    configs = [{"k": k} for k in range(5)]
    path = make_study(
        tmp_path / "s", configs, lambda *run: 100 * climbs(*run), metric_range=(0.0, 1.0)
    )
    results = SeedResults(path)
    assert results.metric_range is None
    assert results.best.estimate > 1
    assert "metric_range=(0, 1) is not used: a run reported " in str(results)


def test_a_study_of_before_there_was_a_range_still_reads(tmp_path: Path):
    path = make_study(tmp_path / "s", GRID, train)
    file = Path(path, "study.json")
    header = json.loads(file.read_text())
    del header["metric_range"]
    file.write_text(json.dumps(header))
    assert SeedResults(path).best.config == {"lr": 0.01, "opt": "sgd"}
