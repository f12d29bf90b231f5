"""What a searcher is given of a space, and the configs that its suggestions become."""

from __future__ import annotations

import dataclasses
import enum
import functools
import itertools
import random
import threading
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import optuna
import pandas as pd
import pytest
import tiny
import torch
from hyperopt import hp
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Searcher
from ray.tune.search.hyperopt import HyperOptSearch
from ray.tune.search.optuna import OptunaSearch

from tune_seeds import LightningTrainer, SeedTuner
from tune_seeds.core.ledger import Ledger
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung
from tune_seeds.engine.search import SeedSearch
from tune_seeds.engine.searcher import make_searcher
from tune_seeds.engine.suggested_configs import Configs
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.race import Race
from tune_seeds.statistics.aggregate import get_aggregate
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.identity import identity
from tune_seeds.store.live_study import Study
from tune_seeds.training.function import from_function


class Phase(enum.Enum):
    WARM = 1
    COLD = 2


@dataclasses.dataclass
class Options:
    width: int


def train(config):
    tune.report({"score": 1.0})


SEARCHERS = {
    "random": lambda: None,
    "hyperopt": lambda: HyperOptSearch(random_state_seed=0, n_initial_points=2),
    "limited": lambda: ConcurrencyLimiter(HyperOptSearch(random_state_seed=0), 100),
    "optuna": lambda: OptunaSearch(seed=0),
}

KINDS: dict[str, tuple[Any, Any]] = {
    "classes": (torch.optim.SGD, torch.optim.Adam),
    "functions": (torch.relu, len),
    "partials": (functools.partial(int, base=2), functools.partial(int, base=3)),
    "lambdas": (lambda x: x, lambda x: x + 1),
    "enums": (Phase.WARM, Phase.COLD),
    "dtypes": (torch.float32, torch.bfloat16),
    "tuples": ((1, 2), (3,)),
    "lists": ([1, 2], [3, 4]),
    "dicts": ({"a": 1, "b": [2]}, {"a": 2, "b": [3]}),
    "tensors": (torch.ones(2), torch.zeros(3)),
    "arrays": (np.ones(3), np.zeros((2, 2))),
    "frames": (pd.DataFrame({"x": [1, 2]}), pd.DataFrame({"x": [3, 4]})),
    "modules": (torch.nn.Linear(1, 2), torch.nn.ReLU()),
    "dataclasses": (Options(1), Options(2)),
    "mixed": (None, torch.optim.SGD),
    "bytes": (b"a", b"b"),
    "numpy": (np.float64(0.5), np.int64(2)),
}


def started(path: Path, space: dict[str, Any], searcher: Any, n: int, trainable: Any = train):
    """The search of a study in its directory, as a launch or a restore makes it."""
    path.mkdir(exist_ok=True)
    tuning = tune.TuneConfig(metric="score", mode="max", num_samples=n, search_alg=searcher)
    inner, constants, n_configs = make_searcher(tuning, space, "score", "max", 1)
    race = Race(
        Ledger((1, 2), Metric("score", "max")),
        SuccessiveHalving((Rung(1, 2),), 2, 1),
        get_aggregate("mean"),
    )
    study = Study(ExperimentDir.at(path), race)
    configs = Configs.of(space, from_function(trainable, "t"))
    return study, SeedSearch(study, inner, constants, n_configs, configs.config)


def groups(study: Study, search: SeedSearch, limit: int = 100) -> dict[str, dict[str, Any]]:
    """Every config of a study; each group's runs are trained as soon as they are suggested."""
    for number in itertools.count():
        suggested = search.suggest(f"{id(search)}-{number}")
        if suggested in (None, Searcher.FINISHED) or len(study.race.groups) >= limit:
            return study.race.ledger.configs
        key = study.race.queue[0]
        study.race.start(key)
        study.race.report(key, 1, {"score": suggested["lr"]})
        study.race.complete(key)
    raise AssertionError


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("searcher", SEARCHERS)
def test_objects_of_any_kind_are_choices_and_constants(tmp_path: Path, kind: str, searcher: str):
    one, other = KINDS[kind]
    space = {
        "lr": tune.uniform(0, 1),
        "what": tune.choice([one, other]),
        "inner": {"constant": one, "what": tune.choice([other, one])},
    }
    found = groups(*started(tmp_path / "a", space, SEARCHERS[searcher](), 8))
    assert len(found) == 8
    wanted = {identity({"": value}) for value in (one, other)}
    for config in found.values():
        assert identity({"": config["inner"]["constant"]}) == identity({"": one})
        assert set(config) == {"lr", "what", "inner"}
    assert {identity({"": config["what"]}) for config in found.values()} == wanted
    assert {identity({"": config["inner"]["what"]}) for config in found.values()} == wanted
    # Killed after five, and restored in another process: arguments are pickled by then.
    first = groups(*started(tmp_path / "b", space, SEARCHERS[searcher](), 8), limit=5)
    before = [identity(config) for config in first.values()]
    again = cloudpickle.loads(cloudpickle.dumps((space, SEARCHERS[searcher]())))
    restored = groups(*started(tmp_path / "b", *again, 8))
    assert [identity(config) for config in restored.values()][:5] == before
    assert len(restored) == 8


def test_domains_in_lists_and_tuples_keep_their_places(tmp_path: Path):
    space = {
        "lr": tune.uniform(0, 1),
        "widths": [tune.randint(1, 9), 3, (tune.choice([[1], [2]]), "x")],
    }
    for name, make in SEARCHERS.items():
        for config in groups(*started(tmp_path / name, space, make(), 4)).values():
            first, second, (third, text) = config["widths"]
            assert type(config["widths"]) is list and type(config["widths"][2]) is tuple
            assert 1 <= first < 9 and second == 3 and third in ([1], [2]) and text == "x"


def suggestions(space: dict[str, Any], searcher: Any, n: int = 3) -> list[dict[str, Any]]:
    tuning = tune.TuneConfig(metric="score", mode="max", num_samples=n, search_alg=searcher)
    inner, _, _ = make_searcher(tuning, space, "score", "max", 1)
    configs = Configs.of(space, from_function(train, "t"))
    made = []
    for k in range(n):
        made.append(configs.config(inner, inner.suggest(str(k))))
        inner.on_trial_complete(str(k), {"score": 1.0, "training_iteration": 1})
    return made


NESTED = {"lr": tune.uniform(0, 1), "net": {"depth": tune.randint(1, 9), "act": None}, "c": [1]}
NESTED["net"]["act"] = tune.choice([torch.relu, torch.tanh])
POINT = {"lr": 0.5, "net": {"depth": 3, "act": torch.tanh}, "c": [1]}


@pytest.mark.parametrize("kind", [HyperOptSearch, OptunaSearch])
@pytest.mark.parametrize("flat", [False, True])
def test_nested_points_are_suggested_first_and_learnt_from(kind: Any, flat: bool):
    other = {"lr": 0.25, "net/depth": 4, "net/act": torch.relu} if flat else POINT
    extra = {"n_initial_points": 1} if kind is HyperOptSearch else {}
    searcher = kind(points_to_evaluate=[POINT, other], **extra)
    made = suggestions(NESTED, searcher, 6)
    assert made[0] == POINT
    assert made[1] == (
        {"lr": 0.25, "net": {"depth": 4, "act": torch.relu}, "c": [1]} if flat else POINT
    )


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"lr": 0.5}, "no value for 'net/depth'"),
        ({**POINT, "lrr": 1}, "the key 'lrr'"),
        ({**POINT, "net": {"depth": 3, "act": torch.sin}}, "none of its choices"),
        (3, "must be a dict"),
    ],
)
@pytest.mark.parametrize("kind", [HyperOptSearch, OptunaSearch])
def test_points_that_do_not_fit(kind: Any, point: Any, message: str):
    with pytest.raises(ValueError, match=message):
        suggestions(NESTED, kind(points_to_evaluate=[point]))


def own_hyperopt(**kwargs: Any) -> HyperOptSearch:
    space = {
        "lr": hp.uniform("learning rate", 0, 1),
        "net": {"depth": hp.quniform("d", 1, 9, 1), "act": hp.choice("a", ["relu", "tanh"])},
        "weights": np.ones(2),
        "mask": torch.ones(3),
        "kind": torch.optim.SGD,
    }
    return HyperOptSearch(space, metric="score", mode="max", n_initial_points=1, **kwargs)


def test_hyperopts_own_space_keeps_constants_and_nested_points():
    point = {"lr": 0.5, "net": {"depth": 3.0, "act": "tanh"}}
    made = suggestions(
        {"extra": [1], "arr": np.zeros(2)}, own_hyperopt(points_to_evaluate=[point]), 5
    )
    assert made[0]["net"] == point["net"] and made[0]["lr"] == 0.5
    for config in made:
        assert config["kind"] is torch.optim.SGD and config["extra"] == [1]
        assert config["weights"].tolist() == [1, 1] and config["mask"].tolist() == [1, 1, 1]
        assert config["arr"].tolist() == [0, 0] and config["net"]["act"] in ("relu", "tanh")
    with pytest.raises(ValueError, match=r"points_to_evaluate\[0\].* no value for 'net'"):
        suggestions({}, own_hyperopt(points_to_evaluate=[{"lr": 0.5}]))


def test_a_conditional_space_of_rays_takes_points_too():
    space = {
        "lr": tune.uniform(0, 1),
        "opt": tune.choice([{"name": "sgd", "m": tune.uniform(0, 1)}, {"name": "adam"}]),
    }
    point = {"lr": 0.5, "opt": {"name": "sgd", "m": 0.25}}
    made = suggestions(space, HyperOptSearch(points_to_evaluate=[point], n_initial_points=1), 5)
    assert made[0] == point
    with pytest.raises(ValueError, match="holds domains of its own"):
        suggestions(space, OptunaSearch())
    assert all(
        not isinstance(c["opt"].get("m"), tune.search.sample.Domain)
        for c in suggestions(space, None, 6)
    )


class NeedsBoth(tiny.TinyModule):
    def __init__(self, lr, width):
        super().__init__(lr=lr, width=width)


def by_run(trial):
    trial.suggest_float("lr", 0.01, 0.1)
    trial.suggest_int("width", 1, 4)


def local_space():
    low = 1

    def define(trial):
        trial.suggest_float("lr", 0.01, 0.1)
        return {"width": low + trial.suggest_int("w", 0, 3), "w": None}

    return define


OWN = {"metric": "val/loss", "mode": "min"}
FLOAT = optuna.distributions.FloatDistribution(0.01, 0.1)
INT = optuna.distributions.IntDistribution(1, 4)


def check(searcher: Any, space: dict[str, Any] | None = None) -> None:
    SeedTuner(
        LightningTrainer(NeedsBoth, tiny.TinyData, trainer_kwargs={"max_epochs": 1}),
        seeds=[1],
        param_space=space or {},
        tune_config=tune.TuneConfig(**OWN, search_alg=searcher, num_samples=2),
        run_config=tune.RunConfig(name="never_run", storage_path="/nowhere"),
    )


@pytest.mark.parametrize(
    "searcher",
    [
        lambda: HyperOptSearch(
            {"lr": hp.uniform("a", 0, 1), "width": hp.randint("b", 1, 4)}, **OWN
        ),
        lambda: HyperOptSearch({"lr": hp.uniform("a", 0, 1), "width": 3}, **OWN),
        lambda: OptunaSearch(by_run, **OWN),
        lambda: OptunaSearch({"lr": FLOAT, "width": INT}, **OWN),
        lambda: OptunaSearch({"model": {"lr": FLOAT, "width": INT}}, **OWN),
    ],
)
def test_a_searchers_own_space_gives_what_has_no_default(searcher: Any):
    check(searcher(), {"batch_size": 16})


@pytest.mark.parametrize(
    ("searcher", "space", "message"),
    [
        (lambda: OptunaSearch(by_run, **OWN), {"widht": 3}, "did you mean 'width'"),
        (
            lambda: HyperOptSearch({"lr": hp.uniform("a", 0, 1)}, **OWN),
            {},
            "NeedsBoth needs 'width'",
        ),
        (
            lambda: HyperOptSearch({"lr": hp.uniform("a", 0, 1), "wdth": 3}, **OWN),
            {"width": 3},
            "a suggestion of HyperOptSearch does not fit: config key 'wdth'",
        ),
        (lambda: OptunaSearch({"lr": FLOAT, "wdth": INT}, **OWN), {"width": 3}, "'wdth'"),
        (lambda: OptunaSearch(local_space(), **OWN), {}, "config key 'w'"),
        (
            lambda: OptunaSearch(lambda trial: {"lr": tune.uniform(0, 1), "width": 3}, **OWN),
            {},
            "OptunaSearch has the domain .* at 'lr'",
        ),
        (lambda: OptunaSearch(lambda trial: 3, **OWN), {}, "can't suggest a config from its space"),
        (
            lambda: OptunaSearch(by_run, points_to_evaluate=[{"lrr": 0.05}], **OWN),
            {},
            r"points_to_evaluate\[0\] has the key 'lrr'",
        ),
        (lambda: None, {"lr": hp.uniform("lr", 0, 1), "width": tune.randint(1, 4)}, "HyperOpt's"),
        (lambda: HyperOptSearch(), {"lr": FLOAT, "width": tune.randint(1, 4)}, "Optuna's"),
    ],
)
def test_what_a_searcher_suggests_is_checked_before_the_study(searcher, space, message: str):
    with pytest.raises(ValueError, match=message):
        check(searcher(), space)


class Odd(Searcher):
    """A searcher of the user's own."""

    def __init__(self, config: Any):
        super().__init__()
        self.config = config

    def set_search_properties(self, metric, mode, config, **spec):
        return True

    def suggest(self, trial_id):
        return self.config

    def on_trial_complete(self, trial_id, result=None, error=False):
        pass

    def save(self, checkpoint_path):
        Path(checkpoint_path).write_text("")


@pytest.mark.parametrize(
    ("suggested", "message"),
    [
        ({"lr": tune.uniform(0, 1)}, "the domain"),
        ({"lr": [0.5, {"a": tune.choice([1])}]}, r"at 'lr\[1\].a'"),
        ({"lr": {"grid_search": [1]}}, "at 'lr'"),
        ({"lr": FLOAT}, "Optuna's"),
        ({"seed": 3, "lr": 1}, "'seed'"),
        ({}, "nothing for 'lr'"),
        ([1], "no dict"),
    ],
)
def test_every_suggestion_is_checked_before_a_run_gets_it(tmp_path, suggested, message: str):
    study, search = started(tmp_path, {"lr": tune.uniform(0, 1)}, Odd(suggested), 2)
    with pytest.raises(ValueError, match=message):
        search.suggest("t")
    assert not study.race.groups


def test_points_whose_values_are_known_are_learnt_from():
    searcher = OptunaSearch(points_to_evaluate=[POINT, POINT], evaluated_rewards=[0.5, 0.25])
    for config in suggestions(NESTED, searcher):
        assert config["net"]["act"] in (torch.relu, torch.tanh) and config != POINT


class Locked(Odd):
    def __init__(self):
        super().__init__({"lr": 1})
        self.lock = threading.Lock()


def test_a_searcher_that_cannot_be_kept_is_refused():
    with pytest.raises(ValueError, match=r"search_alg can't be pickled .*locks"):
        check(Locked(), {"lr": tune.uniform(0, 1), "width": 3})


def test_what_cannot_be_pickled_is_named_before_the_study():
    lock = threading.Lock()

    def define(trial):
        with lock:
            trial.suggest_float("lr", 0.01, 0.1)

    def trains(config):
        with lock:
            tune.report({"val/loss": 1})

    with pytest.raises(ValueError, match=r"search_alg can't be pickled .*lock"):
        check(OptunaSearch(define, **OWN), {"width": 3})
    with pytest.raises(ValueError, match=r"param_space\['a'\]\['lock'\] can't be pickled"):
        check(None, {"lr": tune.uniform(0, 1), "width": 3, "a": {"lock": lock}})
    with pytest.raises(ValueError, match="the trainable can't be pickled"):
        SeedTuner(
            trains,
            seeds=[1],
            param_space={"lr": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(**OWN),
        )


def test_an_optuna_space_may_be_a_local_function(tmp_path: Path):
    def searcher() -> OptunaSearch:
        low = 1

        def define(trial):
            trial.suggest_float("lr", 0.01, 0.1)
            trial.suggest_int("width", low, 4)

        return OptunaSearch(define, metric="score", mode="max", seed=3)

    whole = groups(*started(tmp_path / "a", {}, searcher(), 14))
    groups(*started(tmp_path / "b", {}, searcher(), 14), limit=7)
    study, search = started(tmp_path / "b", {}, searcher(), 14)
    assert list(groups(study, search).values()) == list(whole.values())


class Counts(Odd):
    """Suggests 0, 1, 2, ... and can't save how far it has come."""

    def __init__(self):
        super().__init__(None)
        self.n = 0

    def suggest(self, trial_id):
        self.n += 1
        return {"lr": self.n - 1}

    def save(self, checkpoint_path):
        raise TypeError("cannot pickle '_thread.lock' object")


def test_a_searcher_that_cannot_save_its_state_starts_anew_and_says_so(tmp_path: Path, caplog):
    space = {"lr": tune.uniform(0, 9)}
    groups(*started(tmp_path, space, Counts(), 6), limit=3)
    assert caplog.text.count("Counts can't save its state (TypeError") == 1
    found = groups(*started(tmp_path, space, Counts(), 6))
    # What it suggests again is the same group and costs nothing.
    assert [config["lr"] for config in found.values()] == [0, 1, 2, 3, 4, 5]


def test_sample_from_draws_by_the_search_seed_alone(tmp_path: Path):
    space = {
        "lr": tune.uniform(0, 1),
        "a": tune.sample_from(lambda config: np.random.rand()),
        "b": tune.sample_from(lambda config: random.random()),
        "c": tune.sample_from(lambda config: torch.rand(1).item()),
        "grid": tune.grid_search([1, 2]),
    }

    def made(name: str) -> list[Any]:
        return list(groups(*started(tmp_path / name, space, None, 3)).values())

    np.random.seed(1)
    random.seed(1)
    torch.manual_seed(1)
    first = made("first")
    drawn = np.random.rand(), random.random(), torch.rand(1).item()
    assert made("second") == first
    np.random.seed(1)
    random.seed(1)
    torch.manual_seed(1)
    assert (np.random.rand(), random.random(), torch.rand(1).item()) == drawn
    assert len({config[key] for config in first for key in "abc"}) == 18
    groups(*started(tmp_path / "third", space, None, 3), limit=3)
    assert made("third") == first
