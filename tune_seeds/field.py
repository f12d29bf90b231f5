"""The field of a race: where every group stands, and which runs wait for a slot or hold one.

It decides nothing. ``race.py`` turns reports into decisions and events; the events change the
field, live or read back from the journal.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import fmean
from typing import Any

from tune_seeds.ledger import TO_THE_END, Ledger, Outcome, Rung, RunKey
from tune_seeds.policy import Policy

#: Epochs that count as recent, as a share of those of a rung, at least two.
RECENT_SHARE = 0.1


class OnSeedFailure(StrEnum):
    """What a failed or diverged seed means for its group."""

    FAIL = "fail"  # the group can't win
    WORST = "worst"  # the seed scores as the worst seen at the rung
    DROP = "drop"  # the group is scored on the rest


@dataclass(slots=True)
class Group:
    """Where one config stands.

    Attributes:
        index: its place in the order in which configs were suggested.
        goal: the rung it heads for, or waits at.
        scores: rung → aggregate over the rung's seeds, higher is better.
        values: rung → seed → what was aggregated, higher is better.
        failures: seed → why it failed.
        lost: it can't win: a failed seed is not made up for.
    """

    index: int
    goal: Rung
    scores: dict[Rung, float] = field(default_factory=dict[Rung, float])
    values: dict[Rung, dict[int, float]] = field(default_factory=dict[Rung, dict[int, float]])
    failures: dict[int, str] = field(default_factory=dict[int, str])
    lost: bool = False

    @property
    def heading(self) -> bool:
        """Whether runs of it still have to train."""
        return not self.lost and self.goal not in self.scores


class Field:
    """The state of a race.

    Args:
        ledger: an empty ledger.
        policy: hears what happens to groups.
        on_seed_failure: what a failed seed means for its group.
    """

    def __init__(self, ledger: Ledger, policy: Policy, on_seed_failure: OnSeedFailure) -> None:
        self.groups: dict[str, Group] = {}
        self.lost: list[str] = []
        self.heading: set[str] = set()
        self.confirming: set[RunKey] = set()
        self.queue: list[tuple[tuple[int, ...], RunKey]] = []
        self.busy: set[RunKey] = set()
        self._ledger = ledger
        self._policy = policy
        self._on_seed_failure = on_seed_failure
        self._top = policy.rungs[-1]
        self._worst: dict[int, float] = {}

    @property
    def promoted_run_waits(self) -> bool:
        """Whether a promoted group's run is in the queue."""
        return bool(self.queue) and self.queue[0][0][0] == 0

    def target(self, key: RunKey) -> int:
        """The epochs to which a run has to train."""
        fresh = key.seed not in self._ledger.seeds
        return self._top.epochs if fresh else self.groups[key.group].goal.epochs

    def finalists(self) -> list[str]:
        """The groups with a score at the last rung, best first."""
        complete = [
            (-group.scores[self._top], group.index, name)
            for name, group in self.groups.items()
            if self._top in group.scores and not group.lost
        ]
        return [name for *_, name in sorted(complete)]

    def arrived(self, name: str) -> dict[int, float] | None:
        """What a group is to be scored on at its goal, or None while a run of it is under way."""
        group = self.groups[name]
        if not group.heading:
            return None
        epochs = group.goal.epochs
        values: dict[int, float] = {}
        for seed in self._ledger.seeds[: group.goal.n_seeds]:
            if seed in group.failures:
                continue
            value = self._ledger.values_on(name, [seed], epochs)
            if value is None:
                return None
            values[seed] = value[0]
        if group.failures and self._on_seed_failure is OnSeedFailure.WORST:
            worst = min([*values.values(), self._worst.get(epochs, math.inf)])
            if not math.isfinite(worst):
                return None
            for seed in group.failures:
                values[seed] = worst
            values = {s: values[s] for s in self._ledger.seeds if s in values}
        return values or None

    def leave_queue(self, key: RunKey) -> None:
        """Take a run out of the queue."""
        self.queue = [item for item in self.queue if item[1] != key]

    # What events do

    def add(self, name: str, config: dict[str, Any]) -> None:
        """Enter a group."""
        self._ledger.add_group(name, config)
        self.groups[name] = Group(len(self.groups), self._policy.first())
        self.head_for(name, self._policy.first())

    def head_for(self, name: str, rung: Rung) -> None:
        """Send a group to a rung."""
        self.groups[name].goal = rung
        self._policy.promoted(name, rung)
        self.heading.add(name)
        self._enqueue(name)

    def confirm(self, groups: Sequence[str], seeds: Sequence[int]) -> None:
        """Open the runs of groups on fresh seeds."""
        for place, key in enumerate(self._ledger.add_confirmation(groups, seeds)):
            self.confirming.add(key)
            insort(self.queue, ((2, 0, 0, 0, place), key))

    def note_report(
        self, key: RunKey, epoch: int, metrics: Mapping[str, float], checkpoint: str | None
    ) -> None:
        """Record a report; a metric that is not finite is a failed seed."""
        self._ledger.record(key, epoch, metrics)
        run = self._ledger[key]
        if checkpoint is not None:
            run.checkpoints[epoch] = checkpoint
        if self.groups[key.group].lost or run.error is not None:
            return
        value = run.curve.get(epoch)
        if value is not None and not math.isfinite(value):
            name, shown = self._ledger.metric, self._ledger.sign * value
            self.note_failure(key, f"diverged: {name} is {shown} at epoch {epoch}")
        elif epoch >= self.target(key):
            self.busy.discard(key)

    def note_score(self, name: str, rung: Rung, values: dict[int, float], score: float) -> None:
        """Give a group its score at a rung."""
        group = self.groups[name]
        group.scores[rung] = score
        group.values[rung] = values
        real = [value for seed, value in values.items() if seed not in group.failures]
        self._worst[rung.epochs] = min([*real, self._worst.get(rung.epochs, math.inf)])
        self.heading.discard(name)
        self._policy.scored(
            name, rung, tuple(values.values()), score, self._recent(name, rung, values)
        )

    def note_stop(self, key: RunKey) -> None:
        """A run was ended from outside."""
        self._leave(key)
        self.confirming.discard(key)
        self._ledger[key].outcome = Outcome.STOPPED

    def note_end(self, key: RunKey) -> None:
        """A run came to its own end, which may have been too early."""
        self._leave(key)
        run, group = self._ledger[key], self.groups[key.group]
        if run.error is not None:
            return
        run.outcome = Outcome.COMPLETED
        self.confirming.discard(key)
        if group.lost:
            return
        target = self.target(key)
        if not run.curve:
            self.note_failure(key, f"ended without a report of {self._ledger.metric!r}")
        elif target == TO_THE_END:
            self._check_equal_ends(key)
        elif run.last_epoch < target:
            self.note_failure(
                key,
                f"ended by itself at epoch {run.last_epoch}, before the rung at epoch {target}; "
                "runs are compared at equal epochs, so leave stopping early to the scheduler",
            )

    def note_failure(self, key: RunKey, error: str) -> None:
        """A seed of a group failed; the study declared what that means."""
        self._leave(key)
        run, group = self._ledger[key], self.groups[key.group]
        run.outcome, run.error = Outcome.FAILED, error
        self.confirming.discard(key)
        if key.seed not in self._ledger.seeds:
            return
        group.failures[key.seed] = error
        if not group.lost and self._cannot_win(group):
            group.lost = True
            self.heading.discard(key.group)
            self.queue = [item for item in self.queue if item[1].group != key.group]
            self.lost.append(key.group)
            self._policy.dropped(key.group)

    def note_retry(self, key: RunKey) -> None:
        """A failed run is tried again."""
        run, group = self._ledger[key], self.groups[key.group]
        run.outcome, run.error = None, None
        if key.seed not in self._ledger.seeds:
            self.confirming.add(key)
            insort(self.queue, ((2, 0, 0, 0, 0), key))
            return
        group.failures.pop(key.seed, None)
        if group.lost and not self._cannot_win(group):
            group.lost = False
            self.lost.remove(key.group)
            for seed in self._ledger.seeds:
                sibling = self._ledger[RunKey(key.group, seed)]
                if sibling.outcome is Outcome.STOPPED:
                    sibling.outcome = None
            self._policy.revived(key.group)
        if group.heading:
            self.heading.add(key.group)
            self._enqueue(key.group)

    def _recent(self, name: str, rung: Rung, values: Mapping[int, float]) -> tuple[float, ...]:
        """Each seed's mean over its recent epochs; its value where it failed and was given one."""
        if rung.epochs == TO_THE_END:
            return ()
        begin = rung.epochs - max(2, round(RECENT_SHARE * rung.epochs))
        group, means = self.groups[name], list[float]()
        for seed, value in values.items():
            curve = self._ledger[RunKey(name, seed)].curve
            seen = [v for epoch, v in curve.items() if begin < epoch <= rung.epochs]
            means.append(value if seed in group.failures else fmean(seen))
        return tuple(means)

    def _cannot_win(self, group: Group) -> bool:
        if self._on_seed_failure is OnSeedFailure.FAIL:
            return bool(group.failures)
        return all(seed in group.failures for seed in self._ledger.seeds[: group.goal.n_seeds])

    def _enqueue(self, name: str) -> None:
        group = self.groups[name]
        queued = {key for _, key in self.queue}
        promoted = 0 if group.scores else 1
        for place, seed in enumerate(self._ledger.seeds[: group.goal.n_seeds]):
            key = RunKey(name, seed)
            run = self._ledger[key]
            if run.outcome is not None or group.goal.epochs in run.curve:
                continue
            if key in self.busy or key in queued:
                continue
            urgency = (promoted, -group.goal.epochs, -group.goal.n_seeds, group.index, place)
            insort(self.queue, (urgency, key))

    def _leave(self, key: RunKey) -> None:
        self.busy.discard(key)
        self.leave_queue(key)

    def _check_equal_ends(self, key: RunKey) -> None:
        """Fail the seeds that ended before their siblings did, once all have ended."""
        if key.seed not in self._ledger.seeds:
            return
        group = self.groups[key.group]
        keys = [RunKey(key.group, seed) for seed in self._ledger.seeds[: group.goal.n_seeds]]
        pairs = [(key, self._ledger[key]) for key in keys if key.seed not in group.failures]
        if any(run.outcome is not Outcome.COMPLETED for _, run in pairs):
            return
        last = max(run.last_epoch for _, run in pairs)
        ends = ", ".join(f"{key.seed} at {run.last_epoch}" for key, run in pairs)
        for key, run in pairs:
            if run.last_epoch < last:
                self.note_failure(key, f"the seeds of its group ended at different epochs ({ends})")
