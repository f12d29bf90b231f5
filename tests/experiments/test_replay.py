from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from benchmarks import funnels, peers, restated, small_studies
from benchmarks.record import made_up
from benchmarks.replay import Cell, main, methods, replay
from benchmarks.report import (
    area,
    lost,
    n_lost,
    over_seeds,
    picked_on_the_other_half,
    standard_error,
)
from benchmarks.simulate import Batches, Draw, Job, Plan, draw, simulate
from benchmarks.tables import Table


class InTurn:
    """Trains config 0, 1, 2, … fully; its answer is the last one that it heard of."""

    def __init__(self, n_configs: int, n_epochs: int) -> None:
        self.left = [Job(c, 0, 0, n_epochs) for c in range(n_configs)]
        self.heard: list[tuple[Job, Sequence[float]]] = []

    def ask(self) -> Job | None:
        return self.left.pop(0) if self.left else None

    def tell(self, job: Job, values: Sequence[float]) -> None:
        self.heard.append((job, values))

    def best(self) -> int | None:
        return self.heard[-1][0].config if self.heard else None


def curves(n_configs: int = 4, n_seeds: int = 2, n_epochs: int = 3) -> np.ndarray:
    shape = (n_configs, n_seeds, n_epochs)
    return np.arange(math.prod(shape), dtype=float).reshape(shape)


def test_a_job_counts_where_it_ends_at_the_budget_and_not_one_epoch_later():
    assert simulate(InTurn(4, 3), curves(), (0.9, 1, 2.5, 9)) == [None, 0, 1, 3]


def test_workers_share_the_budget():
    # Two at once: after 3 units of time 6 epochs are spent, and the first is heard of.
    assert simulate(InTurn(4, 3), curves(), (1.9, 2, 4), n_workers=2) == [None, 1, 3]


def test_a_diverged_run_costs_the_epochs_until_it_diverges():
    table = curves()
    table[0, 0, 1:] = np.nan
    method = InTurn(4, 3)
    assert simulate(method, table, (1, 5 / 3)) == [0, 1]
    assert method.heard[0][1][0] == 0.0
    assert len(method.heard[0][1]) == 2
    assert math.isnan(method.heard[0][1][1])


def test_batches_wait_for_each_other():
    seen = []

    def plan(state: Batches) -> Plan:
        seen.append((yield [Job(0, 0, 0, 1), Job(1, 0, 0, 1)]))
        state.answer = 1
        seen.append((yield [Job(1, 0, 1, 3)]))

    assert simulate(Batches(plan), curves(), (2 / 3, 4 / 3), n_workers=4) == [1, 1]
    assert seen == [[0.0, 6.0], [8.0]]


def test_regret_is_zero_for_the_best_config_and_100_for_the_median_one():
    values = np.tile(np.array([0.0, 1.0, 2.0, 3.0, 4.0])[:, None, None], (1, 4, 2))
    one = draw(Table("t", values), 2, rng=np.random.default_rng(0))
    order = one.curves[:, 0, 0].astype(int)
    assert one.regret.tolist() == [[100, 100, 100, 50, 0][i] for i in order]
    with pytest.raises(ValueError, match="leave fewer than 2"):
        draw(Table("t", values), 3, rng=np.random.default_rng(0))


def test_the_search_never_sees_the_seeds_that_judge_it():
    table = Table("t", np.random.default_rng(0).normal(size=(5, 6, 1)))
    one = draw(table, 4, rng=np.random.default_rng(1))
    best = int(np.argmax(table.curves.mean(axis=1)))
    scale = table.curves.mean(axis=1).max() - np.median(table.curves.mean(axis=1))
    for shown, regret in zip(one.curves, one.regret, strict=True):
        (config,) = (c for c in range(5) if np.isin(shown, table.curves[c]).all())
        hidden = [s for s in range(6) if table.curves[config, s, 0] not in shown]
        behind = table.curves[best, hidden].mean() - table.curves[config, hidden].mean()
        assert regret == pytest.approx(min(100 * behind / scale, 100))


@pytest.mark.parametrize("name", list(methods()))
@pytest.mark.parametrize("n_workers", [1, 3])
def test_every_method_answers_and_stays_in_the_table(name: str, n_workers: int):
    table = made_up(12, 5, 9, rng=np.random.default_rng(0))
    table.curves[3, :, 4:] = np.nan
    one = draw(table, 3, rng=np.random.default_rng(0))
    entry = methods()[name]
    trained: dict[tuple[int, int], int] = {}

    class Watched:
        def __init__(self) -> None:
            self.method = entry.make(one.curves.shape, 40, n_workers, np.random.default_rng(0))
            self.best = self.method.best

        def ask(self) -> Job | None:
            job = self.method.ask()
            if job is not None:
                assert trained.get((job.config, job.seed), 0) == job.start, "epochs follow on"
                assert job.start < job.stop <= 9
                trained[job.config, job.seed] = job.stop
            return job

        def tell(self, job: Job, values: Sequence[float]) -> None:
            self.method.tell(job, values)

    answers = simulate(Watched(), one.curves, (5, 40), n_workers)
    assert all(answer is not None for answer in answers)
    assert np.isfinite(one.curves[answers[-1], :, -1]).all(), "a diverged config wins"
    again = simulate(
        entry.make(one.curves.shape, 40, n_workers, np.random.default_rng(0)),
        one.curves,
        (5, 40),
        n_workers,
    )
    assert answers == again


def test_ray_asha_stops_what_is_below_the_top_third():
    falling = np.linspace(1, 0, 6)[:, None, None] * np.ones((6, 1, 9))
    method = peers.RayAsha((6, 1, 9), seed=0, rng=np.random.default_rng(0))
    jobs = []
    while (job := method.ask()) is not None:
        jobs.append(job)
        method.tell(job, falling[job.config, job.seed, job.start : job.stop].tolist())
    assert [j.stop for j in jobs if j.config == 0] == [1, 3, 9], "the first goes through"
    assert [j.stop for j in jobs if j.config > 0] == [1] * 5
    assert method.best() == 0


def test_repeater_averages_what_is_left_of_a_crashed_group():
    method = peers.RayRepeater((2, 3, 1))
    for values in ([20.0], [math.nan], [22.0], [20.5], [20.5], [20.5]):
        method.tell(method.ask(), values)
    assert method.best() == 0, "the mean of 20, crash, 22 is 21 to Repeater"


def test_halving_on_means_keeps_the_top_third():
    levels = np.arange(9.0)[:, None, None] * np.ones((9, 2, 9))
    method = restated.halving_on_means((9, 2, 9))
    jobs = []
    while (job := method.ask()) is not None:
        jobs.append(job)
        method.tell(job, levels[job.config, job.seed, job.start : job.stop].tolist())
    counts = [len([j for j in jobs if j.stop == stop]) for stop in (1, 3, 9)]
    assert counts == [18, 6, 2]
    assert method.best() == 8


def test_hyperband_keeps_half_its_budget_for_the_top():
    table = made_up(60, 3, 9, rng=np.random.default_rng(0))
    method = restated.hyperband_then_top_ten((60, 3, 9), budget=20)
    jobs = []
    while (job := method.ask()) is not None:
        jobs.append(job)
        method.tell(job, table.curves[job.config, job.seed, job.start : job.stop].tolist())
    spent = sum(job.stop - job.start for job in jobs)
    assert 16 * 9 <= spent <= 20 * 9 + 5 * 9
    assert len({job.config for job in jobs if job.seed > 0}) == 5


def test_the_area_weighs_each_doubling_the_same():
    regret = np.array([[8.0, 4.0, 2.0]])
    assert area(regret, (1, 2, 8)) == pytest.approx((6 * 1 + 3 * 2) / 3)


def test_losing_is_beyond_two_standard_errors():
    noise = np.array([1.0, -1.0] * 50)
    assert standard_error(noise) == pytest.approx(0.1005, abs=1e-4)
    assert not lost(noise + 0.19, np.zeros(100))[2]
    assert lost(noise + 0.21, np.zeros(100))[2]


def test_a_peer_that_is_best_by_luck_is_not_best_on_the_other_half():
    rng = np.random.default_rng(0)
    names = [f"peer {k}" for k in range(30)]
    regret = {name: rng.normal(size=(2000, 1)) for name in ["ours", *names]}
    by_seed = {name: x[:, :, None] for name, x in regret.items()}
    cell = Cell("t", 3, by_seed, np.zeros(2000), funnels.Reached(*np.zeros((2, 2000, 1))))
    luckiest = min(names, key=lambda name: regret[name].mean())
    picked = lost(regret["ours"][:, 0], regret[luckiest][:, 0])[0]
    fair = picked_on_the_other_half(cell, 0, "ours", names)
    assert fair.mean() < picked
    assert abs(fair.mean() - regret["ours"].mean()) < 3 * math.sqrt(1 / 2000)


def test_repeats_on_the_same_seeds_do_not_make_a_difference_sure():
    rng = np.random.default_rng(0)
    # One method's answer is better by 1 on every seed, the other's by 10 on one seed of ten.
    evenly, at_one = np.ones((500, 10)), np.zeros((500, 10))
    at_one[:, 3] = 10.0
    for difference in (evenly, at_one):
        difference[rng.random((500, 10)) < 0.3] = np.nan  # seen by the search
    nothing = np.zeros((500, 10))
    assert over_seeds(evenly, nothing) == 0
    assert over_seeds(at_one, nothing) == pytest.approx(1.0)
    assert standard_error(np.nanmean(at_one, axis=1)) < 0.1


def test_a_method_loses_a_cell_to_the_best_of_its_rivals_only():
    noise = np.random.default_rng(0).normal(size=(200, 2, 1))
    levels = {"good": (0.0, 5.0), "bad": (9.0, 9.0), "mixed": (5.0, 0.0)}
    by_seed = {name: noise + np.array(level)[:, None] for name, level in levels.items()}
    cell = Cell("t", 3, by_seed, np.zeros(200), funnels.Reached(*np.zeros((2, 200, 1))))
    counts = [n_lost([cell], (0, 1), name, [o for o in levels if o != name]) for name in levels]
    assert counts == [1, 2, 1]
    assert n_lost([cell], (0, 1), "good", ["bad"]) == 0


def test_a_mean_over_repeats_is_that_over_seeds():
    table = made_up(12, 5, 9, rng=np.random.default_rng(0))
    one = draw(table, 3, rng=np.random.default_rng(0))
    assert np.isnan(one.by_seed).sum() == 12 * 3
    np.testing.assert_allclose(np.nanmean(one.by_seed, axis=1), one.regret)
    assert one.regret.max() == 100


def test_a_split_of_a_budget_is_spent_from_the_lowest_rung_up():
    assert funnels.shape((5, 5, 5, 5), 200, (1, 3, 9, 27), 8) == (54, 27, 9, 3)
    # 12 of 54 configs are there; the rest of their part goes up.
    assert funnels.shape((5, 5, 5, 5), 12, (1, 3, 9, 27), 8) == (12, 12, 12, 6)
    assert funnels.shape((10, 4, 1, 5), 200, (1, 3, 9), 4) == (18, 4, 1)
    assert funnels.shape((1, 1, 1, 17), 200, (1, 3, 9, 27), 1) == (1, 1, 1, 1)
    for split in funnels.SPLITS[::37]:
        found = funnels.shape(split, 46, (1, 3, 9, 27), 8)
        assert list(found) == sorted(found, reverse=True)
        assert np.dot(found, (1, 2, 6, 18)) <= 8 * 27


def test_halving_takes_the_best_on_one_seed_up_and_an_oracle_names_the_last():
    curves = np.zeros((4, 2, 3))
    curves[:, 0, 0] = [1, 2, 3, np.nan]
    curves[:, 0, 2] = [1, 2, 0, np.nan]
    one = Draw(curves, np.zeros((4, 4)), np.array([0.0, 7.0, 5.0, 1.0]))
    found = funnels.halve(one, (1, 3), [(4, 1), (4, 2), (2, 2), (4, 4), (3, 3)])
    assert found.answer.tolist() == [5, 7, 7, 7, 7]
    assert found.oracle.tolist() == [5, 5, 0, 0, 0]


def test_a_replay_is_reproducible_and_does_not_depend_on_its_parts():
    table = made_up(12, 5, 9, rng=np.random.default_rng(0))
    few, more = (replay([table], (3,), (4, 8), n) for n in (2, 3))
    (cell,), (longer,) = few, more
    assert isinstance(cell, Cell)
    for name in cell.regret:
        np.testing.assert_array_equal(cell.regret[name], longer.regret[name][:2])


def test_the_small_replay_prints_a_table_and_writes_a_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "replay.png"
    main(["--small", "--processes", "1", "--repeats", "2", "--plot", str(file)])
    text = capsys.readouterr().out
    for name in methods():
        assert name in text
    assert "normalised area under regret" in text
    assert file.read_bytes().startswith(b"\x89PNG")


def test_a_missing_folder_is_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--curves", str(tmp_path / "nowhere")])
    assert "no folder of recorded curves" in capsys.readouterr().err


def test_a_study_of_few_configs_ends_with_an_answer_and_its_cost(
    capsys: pytest.CaptureFixture[str],
):
    table = made_up(12, 5, 9, rng=np.random.default_rng(0))
    for kind in small_studies.POLICIES:
        ended = small_studies.study(table, kind, 0)
        # Every config's first epoch, and three finalists with every epoch and seed.
        assert (12 - 3) / 9 + 9 <= ended.cost < 12 * 3
        assert ended.regret < 100
    assert small_studies.part(table, 40, 9, 0) is None
    assert small_studies.part(table, 4, 3, 0).curves.shape == (4, 5, 3)
    small_studies.main(["--repeats", "2"])
    assert "made up, 40, 27" in capsys.readouterr().out


def test_many_slots_are_compared_at_equal_work_and_at_equal_time(
    capsys: pytest.CaptureFixture[str],
):
    main(["--small", "--slots", "1", "4", "--repeats", "2", "--processes", "1"])
    out = capsys.readouterr().out
    work, time = out.split("at equal time")
    assert "1 slots         4 slots" in work and "1 slots         4 slots" in time
    names = [line.split("  ")[0] for line in work.splitlines() if "±" in line]
    assert {"ladder", "ASHA fixed seed", "Repeater", "HB + top 10"} <= set(names)
    assert "HB + top 10" not in time  # it plans with work
    # The Repeater trains every seed of a config in full: more slots are what it gains most from.
    row = next(line for line in time.splitlines() if line.startswith("Repeater"))
    alone, wide = (float(number) for number in re.findall(r"([\d.]+) ±", row))
    assert wide < alone
