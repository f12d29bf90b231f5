from __future__ import annotations

import json

import pytest
import torch
from benchmarks.exact_models import Data, Net

from tune_seeds import LightningTrainer
from tune_seeds._compat.torch_dynamo import has_compiled
from tune_seeds.training import reporting
from tune_seeds.training.ddp.relay import Relay
from tune_seeds.training.seeding import reset_process
from tune_seeds.training.trainable import Plan


def test_never_saves_nothing_before_the_end():
    trainer = LightningTrainer(Net, Data, trainer_kwargs={"max_epochs": 3}, pause="never")
    saves = {}
    trainer.retrain(
        {"seed": 1},
        Plan(frozenset({1, 2}), 3),
        lambda metrics, save, _: saves.update({metrics["epoch"]: save is not None}),
    )
    assert saves == {1: False, 2: False, 3: True}
    assert not trainer.as_trainable(None).pauses


def test_another_word_is_refused():
    with pytest.raises(ValueError, match="pause must be 'exact' or 'never', got 'sometimes'"):
        LightningTrainer(Net, Data, trainer_kwargs={"max_epochs": 1}, pause="sometimes")


def test_a_run_that_starts_again_says_so_in_its_record_once(monkeypatch):
    reported = []
    monkeypatch.setattr(reporting.tune, "report", lambda m, checkpoint: reported.append(m))
    monkeypatch.setattr(reporting.tune, "get_checkpoint", lambda: object())
    report = reporting.TuneReport(lambda: {"threads": 1})
    for epoch in (1, 2):
        report({"epoch": epoch}, None, {"restarts": "1", "lost": "model.numbers"})
    record = json.loads(reported[0][reporting.ENVIRONMENT])
    assert (record["restarts"], record["lost"]) == ("1", "model.numbers")
    assert reporting.ENVIRONMENT not in reported[1]


@pytest.mark.filterwarnings("ignore")
def test_compiled_code_is_noticed_until_the_next_run():
    compiled = torch.compile(lambda x: x * 2, backend="eager")
    reset_process(1)
    assert not has_compiled()
    compiled(torch.ones(2))
    assert has_compiled()
    reset_process(1)
    assert not has_compiled()


class Told:
    """The trial's side of the talk."""

    def __init__(self):
        self.parcels = []

    def hand_over(self, parcel):
        self.parcels.append(parcel)
        return True


def test_a_run_of_several_workers_that_starts_again_says_so_too(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1
    )
    try:
        told = Told()
        goes_on = Relay(told, 0, lambda: {"threads": 1}, first=False)
        goes_on({"epoch": 2}, None, {})
        goes_on({"epoch": 3}, None, {"restarts": "1", "lost": "model.numbers"})
        goes_on({"epoch": 4}, None, {"restarts": "1", "lost": "model.numbers"})
        new = Relay(told, 0, lambda: {"threads": 1}, first=True)
        new({"epoch": 1}, None, {"first_batch": "x"})
        new({"epoch": 2}, None, {"first_batch": "x"})
    finally:
        torch.distributed.destroy_process_group()
    assert [parcel.record for parcel in told.parcels] == [
        None,
        {"threads": 1, "restarts": "1", "lost": "model.numbers"},
        None,
        {"threads": 1, "first_batch": "x"},
        None,
    ]
