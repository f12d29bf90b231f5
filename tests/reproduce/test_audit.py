from __future__ import annotations

import planted
import pytest

from tune_seeds import LightningTrainer
from tune_seeds.reproduce.audit import AuditError, Cause, Stage, audit
from tune_seeds.reproduce.audit.diagnosis import diagnose
from tune_seeds.reproduce.audit.evidence import Evidence
from tune_seeds.reproduce.audit.finding import Finding
from tune_seeds.reproduce.audit.pauses import paused_in_processes
from tune_seeds.reproduce.audit.process import traced_in_process
from tune_seeds.reproduce.audit.trace import Point, Trace, first_difference

# fault → cause, stage and (part of the) name that must be found
EXPECTED = {
    "unseeded init": (Cause.UNSEEDED, Stage.INITIAL_WEIGHTS, "last.weight"),
    "unseeded augmentation": (Cause.UNSEEDED, Stage.BATCH_CONTENT, ""),
    "same numpy in workers": (Cause.SAME_IN_WORKERS, Stage.BATCH_CONTENT, "numpy"),
    "set order": (Cause.HASH_ORDER, Stage.BATCH_CONTENT, ""),
    "clock seed": (Cause.UNSEEDED, Stage.INITIAL_WEIGHTS, "first.weight"),
    "early split": (Cause.BEFORE_SEED, Stage.SPLIT, ""),
    "train mode in validation": (Cause.TRAIN_MODE, Stage.FORWARD, "dropout"),
    "drawing logger": (Cause.UNSEEDED, Stage.HOOK, "DrawingLogger.log_metrics"),
    "module global": (Cause.EARLIER_RUN, Stage.LOSS, ""),
    "hard-coded init": (Cause.HARD_CODED, Stage.INITIAL_WEIGHTS, "first.weight"),
    "hard-coded split": (Cause.HARD_CODED, Stage.SPLIT, ""),
    "unseeded order": (Cause.UNSEEDED, Stage.BATCH_ORDER, ""),
    "unseeded layer": (Cause.UNSEEDED, Stage.FORWARD, "dropout: NoisyLayer"),
    "unseeded gradient": (Cause.UNSEEDED, Stage.GRADIENT, "first.weight"),
    "unseeded optimizer": (Cause.UNSEEDED, Stage.OPTIMIZER, "first.weight"),
    "copied generator": (Cause.SAME_IN_WORKERS, Stage.BATCH_CONTENT, "dataset/rng"),
}


@pytest.fixture(scope="module")
def findings() -> dict[str, list[Finding]]:
    """The findings in all planted and sound trainings; three processes trace them all."""
    trainings = {**planted.faults(), **planted.sound()}
    both = [(trainer, {}, [5, 6, 5]) for trainer in trainings.values()]
    once = [(trainer, {}, [5]) for trainer in trainings.values()]
    limits = {"n_epochs": 2, "n_batches": 4}
    here = traced_in_process(both, 0, **limits)
    elsewhere = traced_in_process(once, 1, **limits)
    same_hash = traced_in_process(once, 0, **limits)
    return {
        name: diagnose(Evidence(*here[i], elsewhere[i][0], same_hash[i][0]))
        for i, name in enumerate(trainings)
    }


@pytest.mark.parametrize("fault", EXPECTED)
def test_a_planted_fault_is_found_and_placed(findings, fault):
    cause, stage, name = EXPECTED[fault]
    found = findings[fault]
    assert [(f.cause, f.stage) for f in found[:1]] == [(cause, stage)], list(map(str, found))
    assert name in found[0].name


@pytest.fixture(scope="module")
def over_pauses() -> dict[str, list[Finding]]:
    """The findings of the pauses alone; two processes train all of them."""
    lossy = {name: trainer for name, (trainer, _) in planted.lossy().items()}
    trainings = {**planted.survivors(), **lossy}
    jobs = [(trainer, {}, 5) for trainer in trainings.values()]
    pauses = paused_in_processes(jobs, n_epochs=2, n_batches=3)
    same = Trace()
    return {
        name: diagnose(Evidence(same, same, same, same, pauses=found))
        for name, found in zip(trainings, pauses, strict=True)
    }


@pytest.mark.parametrize("name", planted.survivors())
def test_a_run_that_survives_pauses_is_not_accused(over_pauses, name):
    assert [str(finding) for finding in over_pauses[name]] == []


@pytest.mark.parametrize("name", planted.lossy())
def test_what_would_not_survive_a_pause_is_named(over_pauses, name):
    first = over_pauses[name][0]
    assert first.cause is Cause.PAUSE
    assert first.name == planted.lossy()[name][1], [str(f) for f in over_pauses[name]]
    assert "pause" in first.where
    assert 'LightningTrainer(pause="never")' in first.remedy


def test_a_run_that_never_pauses_is_not_paused():
    trainer = LightningTrainer(
        planted.PythonGenerator, planted.Data, trainer_kwargs={"max_epochs": 1}, pause="never"
    )
    report = audit(trainer, n_epochs=1, n_batches=1)
    assert not report.findings
    assert "pauses" not in str(report)


def test_every_planted_fault_is_expected():
    assert set(planted.faults()) == set(EXPECTED)
    assert len(EXPECTED) >= 10


@pytest.mark.parametrize("name", planted.sound())
def test_no_false_alarm(findings, name):
    assert [str(finding) for finding in findings[name]] == []


def test_the_line_that_seeds_is_named(findings):
    assert "planted.py" in findings["clock seed"][0].why
    assert "torch.manual_seed" in findings["clock seed"][0].why
    assert "default_rng" in findings["unseeded init"][0].why
    assert "without a seed" in findings["unseeded init"][0].why
    assert "torch.manual_seed(42)" in findings["hard-coded init"][0].why


def test_audit_in_one_call():
    report = audit(planted.faults()["set order"], n_epochs=1, n_batches=1)
    (finding,) = report.findings
    assert report.paused
    assert finding.cause is Cause.HASH_ORDER
    assert "sorted(" in finding.remedy
    assert "batch content at epoch 1, batch 0" in str(report)


class Broken(planted.Net):
    def training_step(self, batch, batch_index):
        raise RuntimeError("planted error")


def test_a_run_that_fails_is_said():
    with pytest.raises(AuditError, match="planted error"):
        audit(planted.trainer(Broken), n_epochs=1, n_batches=1)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="n_epochs=0"):
        audit(planted.trainer(), n_epochs=0)
    with pytest.raises(ValueError, match="LightningTrainer"):
        audit(len)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="4294967296"):
        audit(planted.trainer(), seed=2**32)


def test_gradients_are_compared_from_the_last_layer_back():
    first = Point(0, 0, Stage.GRADIENT, 1, "first")
    last = Point(0, 0, Stage.GRADIENT, 2, "last")
    a = Trace({first: "1", last: "1"})
    assert first_difference(a, Trace({first: "2", last: "2"})) == last
    assert first_difference(a, Trace({first: "1", last: "1"})) is None


def test_a_trace_survives_json():
    trace = Trace({Point(0, 1, Stage.LOSS, 1, ""): "x"}, workers=[{"numpy": "1"}])
    trace.constant.add(Point(-1, -1, Stage.SPLIT, 0, ""))
    assert Trace.from_plain(trace.to_plain()) == trace


def test_the_trainer_that_is_audited_is_left_as_it_was():
    trainer = planted.trainer()
    assert isinstance(trainer, LightningTrainer)
    assert trainer.build({})[2]["deterministic"] is True
