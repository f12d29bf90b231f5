"""What a study fixes before its first run, recorded beside the journal."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import version
from typing import Any, cast

from tune_seeds.core.events import Grown
from tune_seeds.core.jsonable import plain
from tune_seeds.core.metric import Metric
from tune_seeds.core.rungs import Rung
from tune_seeds.core.seeds import check_fresh_seeds, check_seeds
from tune_seeds.policies.adaptive import PATIENCE, Adaptive
from tune_seeds.policies.base import Policy
from tune_seeds.policies.successive_halving import SuccessiveHalving
from tune_seeds.race.groups import OnSeedFailure
from tune_seeds.race.kept_checkpoints import KeepCheckpoints
from tune_seeds.statistics.metric_range import MetricRange
from tune_seeds.store.codec import MAX_ENTRIES
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.errors import UnreadableExperimentError

HEADER = "study.json"

#: What a reader of a journal has to know: 2 are the events of studies that have grown. An older
#: reader refuses a header with a format, and so does not take the journal for a damaged one.
FORMAT = 2

#: Entries that headers of older versions lack; what they say means the same without.
_NEWER = frozenset(
    {
        "metric_range",
        "patience",
        "keep_checkpoints",
        "score",
        "format",
        "seeds_per_rung",
        "fingerprint",
        "stop_when",
        "warm_start",
    }
)

_BUILT_IN = ("halving", "adaptive")

_TYPES: dict[str, tuple[type, ...]] = {
    "seeds": (list,),
    "metric": (str,),
    "mode": (str,),
    "time_attr": (str,),
    "policy": (str,),
    "rungs": (list,),
    "reduction_factor": (int, float),
    "n_finalists": (int,),
    "aggregate": (str,),
    "on_seed_failure": (str,),
    "confirm_seeds": (list,),
    "confirm_top": (int,),
    "num_samples": (int,),
    "search_seed": (int, type(None)),
    "param_space": (dict,),
    "version": (str,),
    "format": (int,),
    "seeds_per_rung": (str, list, type(None)),
    "fingerprint": (dict,),
    "stop_when": (int, float, type(None)),
    "warm_start": (dict, type(None)),
}


@dataclass(frozen=True, slots=True)
class Header:
    """The constants of a study.

    Attributes:
        seeds: the distinct seeds, in the order in which rungs take them.
        metric: what is tuned.
        mode: ``"max"`` or ``"min"``.
        time_attr: the report key that counts progress.
        policy: who goes on: ``"halving"``, ``"adaptive"``, or ``module:Class`` of a policy that the
            user gave; its pickle lies beside the header.
        rungs: (epochs, seeds) of each rung, lowest first.
        reduction_factor: η of successive halving, and of what an adaptive study may cost.
        n_finalists: groups that are to hold every epoch and every seed.
        aggregate: how one score is made of a config's scores over seeds.
        on_seed_failure: what a failed seed means for its config.
        confirm_seeds: fresh seeds for the best configs; empty where none were asked for.
        confirm_top: how many of the best configs are trained on them.
        num_samples: configs to be suggested; with grids, how often the whole grid is.
        search_seed: of random sampling; None with a searcher, which has its own.
        param_space: the search space, for people.
        version: of this package.
        metric_range: lowest and highest value of the metric, where the user declared them.
        patience: of the adaptive policy: how far a slot is left idle until results are there.
        keep_checkpoints: whose checkpoints stay when the search is over.
        score: what a run is worth at a rung: its last value, its best, or a mean of its last ones.
        format: what a reader of the journal has to know.
        seeds_per_rung: as the user gave it; None where a version did not record it.
        fingerprint: of the trainable, part by part; a restore compares it.
        stop_when: of the adaptive policy: the expected gain of a further full training below which
            no more configs are asked for; None goes on. A study that grows goes on without it.
        warm_start: path of an earlier study and how many of its configs the searcher was told of.
    """

    seeds: tuple[int, ...]
    metric: str
    mode: str
    time_attr: str
    policy: str
    rungs: tuple[Rung, ...]
    reduction_factor: float
    n_finalists: int
    aggregate: str
    on_seed_failure: str
    confirm_seeds: tuple[int, ...]
    confirm_top: int
    num_samples: int
    search_seed: int | None
    param_space: dict[str, Any]
    version: str
    metric_range: tuple[float, float] | None = None
    patience: float = PATIENCE
    keep_checkpoints: str = "all"
    format: int = FORMAT
    seeds_per_rung: str | list[int] | None = None
    fingerprint: dict[str, str] = field(default_factory=dict[str, str])

    score: str = "last"
    stop_when: float | None = None
    warm_start: dict[str, Any] | None = None

    @property
    def measure(self) -> Metric:
        """What runs are compared by."""
        return Metric(self.metric, self.mode, self.score)

    @property
    def unit(self) -> str:
        """What ``Rung.epochs`` counts, in words for people."""
        return "steps" if self.time_attr == "step" else "epochs"

    def grown(self, growths: Iterable[Grown]) -> Header:
        """What holds after a study was asked for more."""
        header = self
        for growth in growths:
            header = replace(
                header,
                seeds=growth.seeds,
                rungs=growth.rungs,
                n_finalists=growth.n_finalists,
                num_samples=growth.num_samples,
                fingerprint=growth.fingerprint or header.fingerprint,
                stop_when=None,
            )
        return header

    def counts_for(self, n_milestones: int) -> str | Sequence[int]:
        """What to lay seeds with over more milestones, so that the old rungs are among them."""
        given = self.seeds_per_rung
        if self.policy == "adaptive":
            return "adaptive"
        if given is None:
            last = self.rungs[-1]
            counts = [rung.n_seeds for rung in self.rungs]
            if len(counts) == 1 or (counts[0] > 1 and set(counts) == {last.n_seeds}):
                return "all"
            if len(counts) > 1 and self.rungs[-2].epochs == last.epochs:
                counts.pop()
            given = "ladder" if set(counts) == {1} else counts
        if isinstance(given, str):
            return given
        return [*given, *[given[-1]] * (n_milestones - len(given))]

    @property
    def has_own_policy(self) -> bool:
        """Whether the study is steered by a policy that its user gave."""
        return self.policy not in _BUILT_IN

    def make_policy(self, own: Policy | None = None) -> Policy:
        """A new policy, as the study declared it.

        Args:
            own: the user's, before it was told anything, where the study has one; it is copied.

        Raises:
            ValueError: the study has one and it is not given, or another one is given.
        """
        if self.has_own_policy:
            if own is None:
                raise ValueError(
                    f"the study is steered by its user's policy {self.policy}, which is not given"
                )
            if tuple(own.rungs) != self.rungs:
                raise ValueError(
                    f"the policy has the rungs {' '.join(map(str, own.rungs))}, and the study was "
                    f"started with {' '.join(map(str, self.rungs))}; give the policy as it was then"
                )
            return copy.deepcopy(own)
        if self.policy == "halving":
            return SuccessiveHalving(self.rungs, self.reduction_factor, self.n_finalists)
        epochs = sorted({rung.epochs for rung in self.rungs})
        return Adaptive(
            epochs,
            len(self.seeds),
            self.reduction_factor,
            self.n_finalists,
            self.patience,
            self.stop_when,
        )

    def policy_to_read(self, own: Policy | None = None) -> Policy:
        """A policy for a study that is read only, where the user's own may be out of reach.

        Successive halving that promotes nobody before the end then stands in for it: it says the
        same about whether a study is finished, and its leader is the best group at the highest rung
        that any has reached. What was promoted and scored is on record and does not depend on it.
        """
        if self.has_own_policy and own is None:
            return SuccessiveHalving(self.rungs, math.inf, self.n_finalists)
        return self.make_policy(own)

    def write(self, directory: ExperimentDir) -> None:
        """Record it in an experiment's directory."""
        data = {**asdict(self), "rungs": [[rung.epochs, rung.n_seeds] for rung in self.rungs]}
        text = json.dumps(plain(data), indent=2, allow_nan=False)
        directory.write(HEADER, text.encode(), private=True)

    @classmethod
    def read(cls, directory: ExperimentDir) -> Header:
        """The header of an experiment.

        Raises:
            FileNotFoundError: there is none; usually the path is not an experiment of this package.
            UnreadableExperimentError: it is damaged, or of another version of this package.
        """
        file = directory.join(HEADER)
        if not directory.exists(HEADER):
            raise FileNotFoundError(
                f"{directory.path} holds no {HEADER}: it is not the directory of an experiment "
                "that SeedTuner ran; give storage_path/name"
            )
        try:
            data = cast(dict[str, Any], dict(json.loads(directory.read(HEADER))))
        except (ValueError, TypeError, RecursionError) as error:
            raise UnreadableExperimentError(f"{file} is damaged: {error}") from error
        names = {field.name for field in fields(cls)}
        # Studies of older versions have no metric_range; what they say means the same without it.
        if missing := sorted(names - set(data) - _NEWER):
            raise _of_another_version(file, data, f"lacks {', '.join(missing)}")
        if unknown := sorted(set(data) - names):
            raise _of_another_version(file, data, f"holds {', '.join(unknown)}")
        try:
            return cls._checked(data)
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise UnreadableExperimentError(f"{file} is damaged: {error}") from error

    @classmethod
    def _checked(cls, data: dict[str, Any]) -> Header:
        for name, types in _TYPES.items():
            if name in _NEWER and name not in data:
                continue
            if not isinstance(data[name], types) or isinstance(data[name], bool):
                raise ValueError(f"{name} is {data[name]!r}")
        for name in ("seeds", "confirm_seeds", "rungs"):
            if len(data[name]) > MAX_ENTRIES:
                raise ValueError(f"{len(data[name])} {name} are more than {MAX_ENTRIES}")
        seeds = data["seeds"] = check_seeds(data["seeds"])
        data["confirm_seeds"] = check_fresh_seeds(data["confirm_seeds"], seeds)
        for epochs, n_seeds in data["rungs"]:
            if type(epochs) is not int or type(n_seeds) is not int or n_seeds > len(seeds):
                raise ValueError(f"a rung is {[epochs, n_seeds]!r}, with {len(seeds)} seeds")
        data["rungs"] = tuple(Rung(*rung) for rung in data["rungs"])
        if data.get("metric_range") is not None:
            low, high = map(float, data["metric_range"])
            found = MetricRange(low, high)
            data["metric_range"] = (found.low, found.high)
        data.setdefault("format", 1)
        if not 1 <= data["format"] <= FORMAT:
            raise ValueError(
                f"format is {data['format']}, and tune-seeds {version('tune-seeds')} reads up to "
                f"{FORMAT}; read the experiment with the version that made it"
            )
        header = cls(**data)
        OnSeedFailure(header.on_seed_failure)
        KeepCheckpoints(header.keep_checkpoints)
        Metric(header.metric, header.mode, str(header.score))
        if header.has_own_policy and ":" not in header.policy:
            raise ValueError(f"policy is {header.policy!r}")
        if isinstance(header.patience, bool) or not isinstance(header.patience, (int, float)):
            raise ValueError(f"patience is {header.patience!r}")
        if not math.isfinite(header.reduction_factor):
            raise ValueError(f"reduction_factor is {header.reduction_factor}")
        if header.num_samples < 1 or header.confirm_top < 1:
            raise ValueError("num_samples and confirm_top must be at least 1")
        if header.policy_to_read().rungs[-1] != header.rungs[-1]:
            raise ValueError(f"the last rung is {header.rungs[-1]}, with {len(seeds)} seeds")
        return header


def _of_another_version(file: str, data: dict[str, Any], what: str) -> UnreadableExperimentError:
    return UnreadableExperimentError(
        f"{file} {what}: tune-seeds {data.get('version', 'of an unknown version')} wrote it, and "
        f"this is {version('tune-seeds')}; read the experiment with the version that made it"
    )
