"""The field of a race: where every group stands, and which runs wait for a slot or hold one.

It decides nothing. ``race.py`` turns reports into decisions and events; the events change the
field, live or read back from the journal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tune_seeds.core.ledger import Ledger, Outcome, RunKey
from tune_seeds.core.rungs import TO_THE_END, Rung
from tune_seeds.policies.base import Policy
from tune_seeds.race.groups import Group, OnSeedFailure
from tune_seeds.race.scored_values import arrived_values, recent_means
from tune_seeds.race.waiting import Kind, Urgency, Waiting


class Field:
    """The state of a race.

    Args:
        ledger: an empty ledger.
        policy: hears what happens to groups.
        on_seed_failure: what a failed seed means for its group.
    """

    def __init__(self, ledger: Ledger, policy: Policy, on_seed_failure: OnSeedFailure) -> None:
        self.groups: dict[str, Group] = {}
        self.last_number = 0  # of a group's name
        self.lost: list[str] = []
        self.heading: set[str] = set()
        self.confirming: set[RunKey] = set()
        self.queue = Waiting()
        self.busy: set[RunKey] = set()
        self._ledger = ledger
        self._policy = policy
        self._on_seed_failure = on_seed_failure
        self._top = policy.rungs[-1]
        self._worst: dict[int, float] = {}

    @property
    def promoted_run_waits(self) -> bool:
        """Whether a run of a group that has a score already, or one cut short, is in the queue."""
        return self.queue.first_kind in (Kind.INTERRUPTED, Kind.PROMOTED)

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

    def due(self, name: str) -> tuple[Rung, dict[int, float]] | None:
        """Where a group is to be scored and on what; None while the runs for it are under way."""
        group = self.groups[name]
        if group.lost:
            return None
        rungs = sorted(group.stale)
        if group.goal not in group.scores:
            rungs.append(group.goal)
        for rung in rungs:
            worst = self._worst.get(rung.epochs, math.inf)
            values = arrived_values(self._ledger, name, group, rung, self._on_seed_failure, worst)
            if values is not None:
                return rung, values
        return None

    def is_too_short(self, key: RunKey) -> bool:
        """Whether a run came to its end before the study was asked to train for longer."""
        run, last = self._ledger[key], self._top.epochs
        return run.outcome is Outcome.COMPLETED and last != TO_THE_END and run.last_epoch < last

    # What events do

    def start(self, key: RunKey) -> None:
        """A run got a slot."""
        self.queue.remove(key)
        self.busy.add(key)

    def interrupt(self) -> None:
        """Put the runs that held a slot when the study was left at the head of the queue."""
        for key in sorted(self.busy):
            self._hurry(key)
        self.busy.clear()

    def add(self, name: str, config: dict[str, Any]) -> None:
        """Enter a group."""
        self._ledger.add_group(name, config)
        if name[1:].isdecimal():
            self.last_number = max(self.last_number, int(name[1:]))
        self.groups[name] = Group(len(self.groups), self._policy.first())
        self.head_for(name, self._policy.first())

    def head_for(self, name: str, rung: Rung) -> None:
        """Send a group to a rung."""
        self.groups[name].goal = rung
        self._policy.promoted(name, rung)
        self.heading.add(name)
        self._enqueue(name)

    def grow(self, seeds: Sequence[int], policy: Policy) -> None:
        """Go on with more seeds, or over other rungs; what is known stays known.

        A group keeps its scores at the rungs that are left, and its place there. One that headed
        for a rung that is gone waits where it was scored last, or begins at the lowest rung with
        everything that its runs have reported. Runs that ended below the new last epoch, and those
        that were ended because nothing was left to do, may go on.

        Args:
            seeds: all of them; the ones before are their head.
            policy: a new one, over the new rungs; it is told where every group stands.
        """
        self.interrupt()
        interrupted = [key for key in self.queue if self.queue.kind(key) is Kind.INTERRUPTED]
        self._ledger.extend(seeds)
        self._policy, self._top = policy, policy.rungs[-1]
        self.queue, self.heading = Waiting(), set()
        self.confirming = {key for key in self.confirming if key.seed not in self._ledger.seeds}
        for name, group in self.groups.items():
            group.lay_over(policy.rungs)
            group.lost = group.cannot_win(self._ledger.seeds, self._on_seed_failure)
            self._reopen(name, group)
            self._tell(name, group)
        self.lost = [name for name in self.lost if self.groups[name].lost]
        self.lost += [n for n, g in self.groups.items() if g.lost and n not in self.lost]
        for name in self.lost:
            self._policy.dropped(name)
        for key in interrupted:
            if key in self.confirming or self._is_wanted(key):
                self._hurry(key)
        for name, group in self.groups.items():
            if group.heading:
                self.heading.add(name)
                self._enqueue(name)
        for place, key in enumerate(key for key in self._ledger if key in self.confirming):
            self.queue.add(key, Urgency(Kind.FRESH_SEED, (place,)))

    def _reopen(self, name: str, group: Group) -> None:
        for key in (RunKey(name, seed) for seed in self._ledger.seeds):
            run = self._ledger[key]
            was_stopped = run.outcome is Outcome.STOPPED and not group.lost
            if was_stopped or self.is_too_short(key):
                run.outcome = None

    def _tell(self, name: str, group: Group) -> None:
        """Tell a new policy where a group stands, as if it had climbed there rung by rung."""
        self._policy.promoted(name, self._policy.first())
        for rung in self._policy.rungs:
            if rung not in group.scores:
                continue
            if rung != self._policy.first():
                self._policy.promoted(name, rung)
            values = group.values[rung]
            recent = recent_means(self._ledger, name, group, rung, values)
            self._policy.scored(name, rung, tuple(values.values()), group.scores[rung], recent)
        if group.goal not in group.scores and group.goal != self._policy.first():
            self._policy.promoted(name, group.goal)

    def _is_wanted(self, key: RunKey) -> bool:
        """Whether its group still needs a run that was cut short."""
        group, run = self.groups[key.group], self._ledger[key]
        if key.seed not in self._ledger.seeds[: group.goal.n_seeds] or not group.heading:
            return False
        return run.outcome is None and group.goal.epochs not in run.curve

    def confirm(self, groups: Sequence[str], seeds: Sequence[int]) -> None:
        """Open the runs of groups on fresh seeds, and anew those that ended in a shorter study."""
        keys = self._ledger.add_confirmation(groups, seeds)
        for key in (RunKey(group, seed) for group in groups for seed in seeds):
            if key not in keys and self.is_too_short(key):
                self._ledger[key].outcome = None
                keys.append(key)
        for place, key in enumerate(keys):
            self.confirming.add(key)
            self.queue.add(key, Urgency(Kind.FRESH_SEED, (place,)))

    def note_report(
        self,
        key: RunKey,
        epoch: int,
        metrics: Mapping[str, float],
        checkpoint: str | None,
        checkpoint_bytes: int | None = None,
    ) -> None:
        """Record a report; a metric that is not finite is a failed seed."""
        self._ledger.record(key, epoch, metrics)
        run = self._ledger[key]
        if checkpoint is not None:
            run.checkpoints.pop(epoch, None)  # repeated by a run that began anew: it is the latest
            run.checkpoints[epoch] = checkpoint
            if checkpoint_bytes is not None:
                run.checkpoint_bytes[epoch] = checkpoint_bytes
        if self.groups[key.group].lost or run.error is not None:
            return
        value = run.curve.get(epoch)
        if value is not None and not math.isfinite(value):
            metric = self._ledger.metric
            name, shown = metric.name, metric.own(value)
            self.note_failure(key, f"diverged: {name} is {shown} at epoch {epoch}")
        elif epoch >= (target := self.target(key)) and target in run.curve:
            self._leave(key)

    def note_score(self, name: str, rung: Rung, values: dict[int, float], score: float) -> None:
        """Give a group its score at a rung."""
        group = self.groups[name]
        group.scores[rung] = score
        group.values[rung] = values
        real = [value for seed, value in values.items() if seed not in group.failures]
        self._worst[rung.epochs] = min([*real, self._worst.get(rung.epochs, math.inf)])
        group.stale.pop(rung, None)
        if not group.heading:
            self.heading.discard(name)
        recent = recent_means(self._ledger, name, group, rung, values)
        self._policy.scored(name, rung, tuple(values.values()), score, recent)

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
            self.note_failure(key, f"ended without a report of {self._ledger.metric.name!r}")
        elif target == TO_THE_END:
            self._check_equal_ends(key)
        elif run.last_epoch < target:
            self.note_failure(
                key,
                f"ended by itself at epoch {run.last_epoch}, before the rung at epoch {target}; "
                "runs are compared at equal epochs, so leave stopping early to the scheduler",
            )
        elif target not in run.curve:
            self.note_failure(
                key,
                f"ended at epoch {run.last_epoch} without a report of {self._ledger.metric.name!r} "
                f"at the rung at epoch {target}",
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
        for rung in list(group.stale):  # what stands in for the seed stays
            group.stale[rung].discard(key.seed)
            if not group.stale[rung]:
                del group.stale[rung]
        if not group.heading:
            self.heading.discard(key.group)
        if not group.lost and group.cannot_win(self._ledger.seeds, self._on_seed_failure):
            group.lost = True
            self.heading.discard(key.group)
            for seed in self._ledger.seeds:
                self.queue.remove(RunKey(key.group, seed))
            self.lost.append(key.group)
            self._policy.dropped(key.group)

    def note_retry(self, key: RunKey) -> None:
        """A failed run is tried again."""
        run, group = self._ledger[key], self.groups[key.group]
        run.outcome, run.error = None, None
        if key.seed not in self._ledger.seeds:
            self.confirming.add(key)
            self.queue.add(key, Urgency(Kind.FRESH_SEED, (0,)))
            return
        group.failures.pop(key.seed, None)
        if group.lost and not group.cannot_win(self._ledger.seeds, self._on_seed_failure):
            group.lost = False
            self.lost.remove(key.group)
            for seed in self._ledger.seeds:
                sibling = self._ledger[RunKey(key.group, seed)]
                if sibling.outcome is Outcome.STOPPED:
                    sibling.outcome = None
            self._policy.revived(key.group)
        for rung, values in group.values.items():
            if key.seed in self._ledger.seeds[: rung.n_seeds]:
                own = self._ledger.values_on(key.group, [key.seed], rung.epochs)
                if own is None or own[0] != values.get(key.seed):
                    group.stale.setdefault(rung, set()).add(key.seed)
        if group.heading:
            self.heading.add(key.group)
            self._enqueue(key.group)

    def _enqueue(self, name: str) -> None:
        group = self.groups[name]
        kind = Kind.PROMOTED if group.scores else Kind.NEW
        for place, seed in enumerate(self._ledger.seeds[: group.goal.n_seeds]):
            key = RunKey(name, seed)
            run = self._ledger[key]
            if run.outcome is not None or group.goal.epochs in run.curve:
                continue
            if key not in self.busy:
                order = (-group.goal.epochs, -group.goal.n_seeds, group.index, place)
                self.queue.add(key, Urgency(kind, order))

    def _hurry(self, key: RunKey) -> None:
        fresh = key.seed not in self._ledger.seeds
        index = self.groups[key.group].index
        self.queue.remove(key)
        self.queue.add(key, Urgency(Kind.INTERRUPTED, (fresh, index, key.seed)))

    def _leave(self, key: RunKey) -> None:
        self.busy.discard(key)
        self.queue.remove(key)

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
