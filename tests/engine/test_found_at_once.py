"""A mistake that all runs share ends a study at once, and its name is free again."""

from __future__ import annotations

import re
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from ray import tune

from tune_seeds import CommonFailureError, LightningTrainer, MetricNotFoundError, SeedTuner
from tune_seeds.core.ledger import RunKey

pytestmark = pytest.mark.usefixtures("ray_session")


class Unpicklable(Exception):
    def __init__(self):
        super().__init__("a lock is in here")
        self.lock = threading.Lock()


class Fails(tiny.TinyModule):
    """In as many ways as there are words for ``how``."""

    def __init__(self, how: str, lr: float = 0.1):
        super().__init__(lr)
        self.how = how

    def setup(self, stage: str):
        if self.how == "unpicklable":
            raise Unpicklable

    def training_step(self, batch, batch_index):
        if self.how == "first batch":
            batch = batch[0][:, :2], batch[1]
        if self.how == "chained":
            try:
                {}["width"]
            except KeyError as error:
                raise ValueError("the batch has no width") from error
        return super().training_step(batch, batch_index)


WAYS = {
    "unpicklable": "Unpicklable: a lock is in here (.*test_found_at_once.py:",
    "first batch": r"RuntimeError: mat1 and mat2 shapes .* multiplied .*tiny_lightning.py:",
    "chained": "KeyError: 'width'.*, which became ValueError: the batch has no width",
}


def imports_what_is_not_there(config: dict[str, Any]) -> None:
    import no_such_package  # noqa: F401 # pyright: ignore


def raises_its_seed(config: dict[str, Any]) -> None:
    raise ValueError(f"seed {config['seed']} is not right")


def of_a_module_that_workers_lack() -> Any:
    module = types.ModuleType("beside_no_script")
    exec("def train(config):\n    pass", module.__dict__)
    sys.modules["beside_no_script"] = module
    return module.train


def tuner(storage: str, trainable: Any, configs: Any = 8, **kwargs: Any) -> SeedTuner:
    space = {"x": tune.grid_search([(n + 1) / 10 for n in range(configs)])}
    return SeedTuner(
        trainable,
        seeds=kwargs.pop("seeds", [47, 881]),
        param_space=kwargs.pop("param_space", space),
        tune_config=tune.TuneConfig(
            metric=kwargs.pop("metric", "score"),
            mode="max",
            max_concurrent_trials=kwargs.pop("slots", 1),
        ),
        run_config=tune.RunConfig(
            name="again",
            storage_path=storage,
            failure_config=kwargs.pop("failure_config", None),
        ),
        **kwargs,
    )


def lightning(how: Any) -> dict[str, Any]:
    """A study of one way to fail, or of several."""
    return {
        "trainable": LightningTrainer(Fails, tiny.TinyData, trainer_kwargs={"max_epochs": 2}),
        "param_space": {"lr": tune.grid_search([0.1, 0.2, 0.3, 0.4]), "how": how},
        "metric": "val/loss",
    }


def test_each_kind_of_failure_is_recorded_by_its_root_and_different_ones_stop_nothing(
    storage: str,
):
    study = lightning(tune.grid_search(list(WAYS)))
    study["param_space"]["lr"] = 0.1
    results = tuner(storage, **study).fit()
    assert set(results.groups["state"]) == {"failed"}
    for group in results.race.groups:
        how = results.ledger.configs[group]["how"]
        found = results.ledger[RunKey(group, 47)].error
        assert found is not None
        assert re.search(WAYS[how].replace(" (.*test", r" \(.*test"), found), (how, found)


@pytest.mark.parametrize(("case", "n"), [("module", 1), ("import", 2), ("seed", 3)])
def test_the_root_cause_is_raised_after_three_runs_and_the_name_is_free(
    storage: str, case: str, n: int
):
    """Where a study has fewer runs than three, all of them are enough."""
    if case == "module":
        # Ray takes long to give up a process that can't even unpickle what it is to run.
        failing = tuner(storage, of_a_module_that_workers_lack(), 1)
        expected = "No module named 'beside_no_script'"
    elif case == "seed":
        failing = tuner(storage, raises_its_seed)
        expected = r"ValueError: seed \d+ is not right \(.*test_found_at_once.py:"
    else:
        failing = tuner(storage, imports_what_is_not_there, 2)
        expected = "ModuleNotFoundError: No module named 'no_such_package'"
    with pytest.raises(CommonFailureError, match=expected) as caught:
        failing.fit()
    assert "ray::" not in str(caught.value) and "internal error" not in str(caught.value)
    assert len(caught.value.runs) == n
    assert ("working_dir" in str(caught.value)) is (case in ("import", "module"))
    assert len(list(Path(failing.path).glob("*/error.txt"))) == n
    assert not SeedTuner.can_restore(failing.path)
    if case == "seed":
        results = tuner(storage, tiny.walk, 2).fit()
        assert len(results.groups) == 2 and set(results.groups["state"]) == {"complete"}


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.05)


def test_nothing_is_decided_while_a_run_is_at_work(storage: str):
    def some_fail(config: dict[str, Any]) -> None:
        """The first is at work while others fail alike; then it reports."""
        at_work = Path(storage).parent / "at work"
        if config["x"] > 0.1:
            wait_until(at_work.exists)
            raise ValueError(f"x={config['x']} is too large" if config["x"] > 0.4 else "too large")
        at_work.touch()
        wait_until(lambda: len(list(Path(storage, "again").glob("*/error.txt"))) >= 3)
        time.sleep(1)
        tiny.walk(config)

    study = tuner(storage, some_fail, 6, slots=2, seeds=[47]).fit()
    assert sorted(study.groups["state"]) == ["complete", *["failed"] * 5]


def test_retries_come_first_and_a_metric_that_is_missing_frees_the_name(storage: str):
    def flaky(config: dict[str, Any]) -> None:
        first = Path(storage).parent / f"{config['x']}-{config['seed']}"
        if not first.exists():
            first.touch()
            raise OSError("the file server is not up yet")
        tiny.walk(config)

    retries = tune.FailureConfig(max_failures=1)
    results = tuner(storage, flaky, 2, failure_config=retries).fit()
    assert set(results.groups["state"]) == {"complete"}

    def reports_something_else(config: dict[str, Any]) -> None:
        tune.report({"other": 1.0})

    failing = tuner(f"{storage}/b", reports_something_else)
    with pytest.raises(MetricNotFoundError, match="'score'"):
        failing.fit()
    assert not SeedTuner.can_restore(failing.path)
    tuner(f"{storage}/b", tiny.walk)


def test_what_cannot_be_pickled_is_named_and_the_name_is_free(storage: str):
    lock = threading.Lock()

    def holds_a_lock(config: dict[str, Any]) -> None:
        with lock:
            tiny.walk(config)

    for _ in range(2):
        with pytest.raises(ValueError, match=r"can't be pickled .*'_thread.lock'"):
            tuner(storage, holds_a_lock)
    tuner(storage, tiny.walk)
