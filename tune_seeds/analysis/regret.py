"""How soon a study had what it found: the best config so far, over the epochs it had trained."""

from __future__ import annotations

from dataclasses import dataclass

from tune_seeds.analysis.errors import NothingToCompareError
from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.core.events import Reported, Scored
from tune_seeds.core.ledger import RunKey
from tune_seeds.core.rungs import Rung
from tune_seeds.store.journal import read_events


@dataclass(frozen=True, slots=True)
class Lead:
    """A config that came to be the best of those scored at one rung.

    Attributes:
        trained: epochs (or units of ``time_attr``) of all runs together, when it was scored.
        group: its name.
        score: at that rung, in the metric's own direction.
        regret: how much the best that the study ever scored there is better, at least 0.
    """

    trained: int
    group: str
    score: float
    regret: float


def leads(results: StudyRecord) -> tuple[dict[Rung, list[Lead]], int]:
    """Rung → the leads there in the order they were taken, and the epochs trained in all.

    Scores of different rungs do not compare, so each rung has leads of its own. The regret is to
    the best of *this study*: it ends at 0 because the search ended, not because nothing is better.
    Runs on the fresh seeds of a confirmation count for nothing here.

    Raises:
        NothingToCompareError: no config has a score, or the journal is no longer where it was.
    """
    race, metric = results.race, results.ledger.metric
    of_study = set(results.seeds)
    alive = {name: group.scores for name, group in race.groups.items() if not group.lost}
    best: dict[Rung, float] = {}
    for scores in alive.values():
        for rung, score in scores.items():
            best[rung] = max(score, best.get(rung, score))
    found: dict[Rung, list[Lead]] = {}
    led: dict[Rung, float] = {}
    reached: dict[RunKey, int] = {}
    trained = 0
    for event in read_events(results.directory):
        if isinstance(event, Reported) and event.seed in of_study:
            key = RunKey(event.group, event.seed)
            # A run that begins again after a pause trains these epochs again; they count once, as
            # everywhere in the package.
            trained += max(0, event.epoch - reached.get(key, 0))
            reached[key] = max(event.epoch, reached.get(key, 0))
        elif isinstance(event, Scored):
            # What was scored anew later, because a failed seed came back, counts with that score.
            score = alive.get(event.group, {}).get(event.rung)
            if score is None or score <= led.get(event.rung, -float("inf")):
                continue
            led[event.rung] = score
            regret = best[event.rung] - score
            lead = Lead(trained, event.group, metric.own(score), regret)
            found.setdefault(event.rung, []).append(lead)
    if not found:
        raise NothingToCompareError(
            "no config has a score yet, so there is nothing to regret"
            if not best
            else f"the journal of the study is no longer in {results.path}"
        )
    return {rung: found[rung] for rung in sorted(found)}, trained
