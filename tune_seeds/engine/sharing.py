"""How several studies on one cluster share it: each says what it can use, and takes its part."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence

from tune_seeds._compat import ray_kv

_PREFIX = "tune_seeds/studies/"

#: A study whose sign of life has not changed for so long has ended without saying so.
GONE_AFTER_S = 30.0


def fair_part(others: Sequence[float]) -> float:
    """The part of the cluster that a study may use, so that the smallest part is largest.

    What the study itself could use does not matter: it may need more the next moment.

    Args:
        others: the parts that the other studies can use, 0 to 1 each.

    Returns:
        What is left once those who want less than an equal part have theirs, divided equally.
    """
    left, n = 1.0, len(others) + 1
    for wanted in sorted(others):
        if wanted >= left / n:
            break
        left -= wanted
        n -= 1
    return left / n


class Shared:
    """A study among those of one cluster, known to the others as long as it runs."""

    def __init__(self) -> None:
        self._key = _PREFIX + secrets.token_hex(8)
        self._beat = 0
        self._seen: dict[str, tuple[int, float]] = {}

    def part(self, wanted: float) -> float:
        """Say what part of the cluster the study can use, and hear what part it may.

        Args:
            wanted: 0 to 1.
        """
        self._beat += 1
        ray_kv.put(self._key, json.dumps({"beat": self._beat, "wanted": wanted}))
        others = {key: record for key, record in self._records().items() if key != self._key}
        return fair_part([float(record["wanted"]) for record in others.values()])

    def leave(self) -> None:
        """Give the study's part to the others."""
        with contextlib.suppress(Exception):  # Ray may be gone, and with it the record
            ray_kv.delete(self._key)

    def _records(self) -> Mapping[str, Mapping[str, float]]:
        """Of the studies that are alive: their clocks may differ, so a beat has to change."""
        now = time.monotonic()
        found = {key: json.loads(record) for key, record in ray_kv.items(_PREFIX).items()}
        for key, record in found.items():
            beat, _ = self._seen.get(key, (None, now))
            if beat != record["beat"]:
                self._seen[key] = int(record["beat"]), now
        return {key: r for key, r in found.items() if now - self._seen[key][1] < GONE_AFTER_S}
