"""What a study says while it runs: one line whenever a group has been scored."""

from __future__ import annotations

import time
from typing import Any

from ray.tune import Callback

from tune_seeds.study import Study


class ProgressLines(Callback):
    """Prints the newest score, the best so far and the time, one line per scored group.

    Args:
        study: read only.
        num_samples: how many configs are to be tried, or None if that is open.
    """

    def __init__(self, study: Study, num_samples: int | None) -> None:
        self._study = study
        self._num_samples = num_samples
        self._n_printed = sum(len(g.scores) for g in study.race.groups.values())
        self._seen: dict[str, int] = {g: len(s.scores) for g, s in study.race.groups.items()}
        self._failed: set[str] = set(study.race.failed)
        self._start = time.monotonic()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Print what is new."""
        race = self._study.race
        sign = race.ledger.sign
        for name, group in race.groups.items():
            for rung, score in list(group.scores.items())[self._seen.get(name, 0) :]:
                self._print(
                    f"{name} scored {sign * score:.6g} at {rung}  {race.ledger.configs[name]}"
                )
            self._seen[name] = len(group.scores)
        for name in race.failed:
            if name not in self._failed:
                self._failed.add(name)
                why = "; ".join(f"seed {s}: {e}" for s, e in race.groups[name].failures.items())
                self._print(f"{name} failed, {why}")

    def _print(self, text: str) -> None:
        elapsed = int(time.monotonic() - self._start)
        total = "" if self._num_samples is None else f"/{self._num_samples}"
        n = len(self._study.race.groups)
        print(f"[{elapsed // 60:3d}:{elapsed % 60:02d}] {n}{total} configs | {text}", flush=True)
