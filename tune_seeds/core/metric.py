"""The metric that is tuned, and the one place where its sign is turned."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tune_seeds.statistics.intervals import Interval


@dataclass(frozen=True, slots=True)
class Metric:
    """What is tuned.

    Inside the package higher is always better: what runs report is turned when it enters the
    ledger (``turned``), and turned back where people or files see it (``own``).

    Attributes:
        name: as runs report it.
        mode: ``"max"``, higher is better, or ``"min"``.
        score: what a run is worth at an epoch: ``"last"``, its value there; ``"best"``, its best
            value up to there; ``"mean_of_last:3"``, the mean of its last three.

    Raises:
        ValueError: ``mode`` or ``score`` is none of these.

    Example:
        >>> loss = Metric("val_loss", "min")
        >>> loss.turned(0.25), loss.own(-0.25)
        (-0.25, 0.25)
    """

    name: str
    mode: str
    score: str = "last"
    _window: int = field(init=False, repr=False, compare=False, default=1)

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', got {self.mode!r}")
        object.__setattr__(self, "_window", window(self.score))

    def __str__(self) -> str:
        match self.score:
            case "last":
                return self.name
            case "best":
                return f"best {self.name} so far"
            case _:
                return f"mean of the last {self._window} {self.name}"

    def worth(self, reported: Sequence[float]) -> float:
        """What a run is worth after these reports, such that higher is better.

        Where the newest value is not finite, so is this: the run has diverged.

        Args:
            reported: at least one value, as reported, oldest first.
        """
        newest = self.turned(reported[-1])
        if self.score == "last" or not math.isfinite(newest):
            return newest
        values = [self.turned(value) for value in reported if math.isfinite(value)]
        if self.score == "best":
            return max(values)
        last = values[-self._window :]
        return math.fsum(last) / len(last)

    @property
    def higher_is_better(self) -> bool:
        """Whether ``mode`` is ``"max"``."""
        return self.mode == "max"

    def turned(self, value: float) -> float:
        """A reported value, such that higher is better."""
        return value if self.higher_is_better else -value

    def own(self, score: float) -> float:
        """A score from inside, in the metric's own unit and direction again."""
        return score if self.higher_is_better else -score

    def own_by_seed(self, scores: dict[int, float]) -> dict[int, float]:
        """Seed → score, in the metric's own direction."""
        return {seed: self.own(score) for seed, score in scores.items()}

    def own_interval(self, interval: Interval) -> Interval:
        """An interval of scores, in the metric's own direction."""
        return interval if self.higher_is_better else interval.reflected()


def window(score: str) -> int:
    """How many of a run's newest values its score rests on; 0 for all of them.

    Raises:
        ValueError: it is no score.
    """
    found = re.fullmatch(r"mean_of_last:([1-9][0-9]{0,5})", score)
    if found is not None:
        return int(found[1])
    if score not in ("last", "best"):
        raise ValueError(
            f"score must be 'last', 'best' or 'mean_of_last:N' with N of at least 1, such as "
            f"'mean_of_last:3', got {score!r}"
        )
    return 1 if score == "last" else 0
