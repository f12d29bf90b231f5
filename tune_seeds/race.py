"""The race between configs: a pure state machine from reports to decisions.

A policy (``policy.py``) says which group deserves to go on; the race knows which runs that takes,
which of them are running, and what each must do after a report. Everything that changes it is one
event (``events.py``), handed to ``log`` before it is applied, so that the same events, applied to
a new race, rebuild it. There is no Ray here: the live scheduler and a replay of recorded curves
drive the same object.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from tune_seeds.events import (
    EnvironmentRecorded,
    Event,
    GroupAdded,
    Promoted,
    Reported,
    RunCompleted,
    RunFailed,
    RunRetried,
    RunStopped,
    TrialAssigned,
)
from tune_seeds.ledger import TO_THE_END, Ledger, Outcome, Rung, RunKey
from tune_seeds.policy import Policy, Promotion


class Decision(StrEnum):
    """What a run does after a report."""

    CONTINUE = "continue"
    PAUSE = "pause"
    FINISH = "finish"  # it has every epoch
    STOP = "stop"  # its group can't win any more


class News(NamedTuple):
    """A group was scored at a rung, or can't be scored any more (then both are None)."""

    group: str
    rung: Rung | None
    score: float | None


class RungMissedError(ValueError):
    """A run went past a rung without a report there; usually it reports every few steps only."""


@dataclass(slots=True)
class Group:
    """Where one config stands.

    Attributes:
        index: its place in the order in which configs were suggested.
        goal: the rung it heads for, or waits at.
        scores: rung → aggregate over exactly the rung's seeds, higher is better.
        failures: seed → why it failed.
    """

    index: int
    goal: Rung
    scores: dict[Rung, float] = field(default_factory=dict[Rung, float])
    failures: dict[int, str] = field(default_factory=dict[int, str])

    @property
    def heading(self) -> bool:
        """Whether runs of it still have to train."""
        return not self.failures and self.goal not in self.scores


class Race:
    """Configs racing over rungs on the same seeds.

    Args:
        ledger: an empty ledger; the race is its only writer.
        policy: who goes on.
        aggregate: one score from the values of a group's seeds, higher is better.
        log: hears of each event before it is applied.
    """

    def __init__(
        self,
        ledger: Ledger,
        policy: Policy,
        aggregate: Callable[[Sequence[float]], float],
        log: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.ledger = ledger
        self.policy = policy
        self.groups: dict[str, Group] = {}
        self.news: deque[News] = deque()
        self.exhausted = False
        self._aggregate = aggregate
        self.log = log
        self.failed: list[str] = []
        self._heading: set[str] = set()
        self._queue: list[tuple[tuple[int, ...], RunKey]] = []
        self._busy: set[RunKey] = set()
        self._last_epoch = max(rung.epochs for rung in policy.rungs)

    # What may be asked

    @property
    def queue(self) -> list[RunKey]:
        """Runs that should get a slot, the most urgent first: promoted groups, then new ones."""
        return [key for _, key in self._queue]

    @property
    def busy(self) -> frozenset[RunKey]:
        """Runs that hold a slot."""
        return frozenset(self._busy)

    @property
    def done(self) -> bool:
        """Whether nothing is left to train."""
        return self.exhausted and not self._heading and self._proposal() is None

    def target(self, key: RunKey) -> int:
        """The epochs to which a run has to train for its group's goal."""
        return self.groups[key.group].goal.epochs

    # What is decided

    def add_group(self, config: dict[str, Any]) -> str:
        """Enter a new config; its runs join the queue.

        Returns:
            The name of its group.
        """
        group = f"g{len(self.groups) + 1:04d}"
        self._do(GroupAdded(group=group, config=config))
        return group

    def promote_next(self) -> Promotion | None:
        """Send one group on if the policy has one, unless a promoted run waits for a slot already.

        One at a time: a promotion that no slot can take yet would be judged too early.
        """
        if self._queue and self._queue[0][0][0] == 0:
            return None
        promotion = self._proposal()
        if promotion is not None:
            self._do(Promoted(group=promotion.group, rung=promotion.rung))
        return promotion

    def start(self, key: RunKey) -> None:
        """A queued run got a slot."""
        self._queue = [item for item in self._queue if item[1] != key]
        self._busy.add(key)

    def report(
        self,
        key: RunKey,
        epoch: int,
        metrics: Mapping[str, float],
        checkpoint: str | None = None,
    ) -> Decision:
        """Take one report of a run and say what the run does next.

        Raises:
            RungMissedError: the run went past its group's rung without a report there.
        """
        self._do(Reported(key.group, key.seed, epoch, dict(metrics), checkpoint))
        group = self.groups[key.group]
        if group.failures:
            return Decision.STOP
        run = self.ledger[key]
        target = group.goal.epochs
        if target == TO_THE_END or epoch < target:
            return Decision.CONTINUE
        if target not in run.curve:
            raise RungMissedError(
                f"the run of group {key.group} with seed {key.seed} reported at {epoch} but never "
                f"at the rung {target}: report {self.ledger.metric!r} at every rung, or choose "
                "grace_period, reduction_factor and max_t so that rungs fall on reports"
            )
        if epoch >= self._last_epoch:
            return Decision.FINISH
        # The slot is free now; where its best use is this very group, the run just goes on.
        promotion = self._proposal()
        if promotion is not None and promotion.group == key.group:
            promoted = self.promote_next()
            if promoted is not None and key in self.queue:
                self.start(key)
                return Decision.CONTINUE
        return Decision.PAUSE

    def note_environment(self, key: RunKey, environment: dict[str, Any]) -> None:
        """Note what a run's bits depend on."""
        self._do(EnvironmentRecorded(key.group, key.seed, environment))

    def complete(self, key: RunKey) -> None:
        """A run came to its own end."""
        self._do(RunCompleted(key.group, key.seed))

    def stop(self, key: RunKey) -> None:
        """A run was ended by us, or by the end of the study."""
        self._do(RunStopped(key.group, key.seed))

    def fail(self, key: RunKey, error: str) -> None:
        """A run failed for good; its group can't win."""
        self._do(RunFailed(key.group, key.seed, error))

    def retry(self, key: RunKey) -> None:
        """A failed run is tried again."""
        self._do(RunRetried(key.group, key.seed))

    def assign(self, key: RunKey, trial_id: str, trial_dir: str | None) -> None:
        """A Ray trial was made for a run."""
        self._do(TrialAssigned(key.group, key.seed, trial_id, trial_dir))

    # How events change it

    def apply(self, event: Event) -> None:
        """Change the state by one event, as it happened or as it is read back."""
        match event:
            case GroupAdded(group, config):
                self.ledger.add_group(group, config)
                self.groups[group] = Group(len(self.groups), self.policy.first())
                self._head_for(group, self.policy.first())
            case Promoted(group, rung):
                self._head_for(group, rung)
            case Reported(group, seed, epoch, metrics, checkpoint):
                self._note_report(RunKey(group, seed), epoch, metrics, checkpoint)
            case EnvironmentRecorded(group, seed, environment):
                self.ledger[RunKey(group, seed)].environment = environment
            case RunCompleted(group, seed):
                self._note_end(RunKey(group, seed))
            case RunStopped(group, seed):
                self._leave(RunKey(group, seed))
                self.ledger[RunKey(group, seed)].outcome = Outcome.STOPPED
            case RunFailed(group, seed, error):
                self._note_failure(RunKey(group, seed), error)
            case RunRetried(group, seed):
                self._note_retry(RunKey(group, seed))
            case TrialAssigned(group, seed, trial_id, trial_dir):
                run = self.ledger[RunKey(group, seed)]
                run.trial_id, run.trial_dir = trial_id, trial_dir

    def _do(self, event: Event) -> None:
        self.log(event)
        self.apply(event)

    def _proposal(self) -> Promotion | None:
        return self.policy.propose(exhausted=self.exhausted)

    def _head_for(self, group: str, rung: Rung) -> None:
        state = self.groups[group]
        state.goal = rung
        self.policy.promoted(group, rung)
        self._heading.add(group)
        self._enqueue(group)
        self._settle(group)

    def _enqueue(self, group: str) -> None:
        state = self.groups[group]
        promoted = 0 if state.scores else 1
        for place, seed in enumerate(self.ledger.seeds[: state.goal.n_seeds]):
            key = RunKey(group, seed)
            run = self.ledger[key]
            if run.outcome is not None or state.goal.epochs in run.curve or key in self._busy:
                continue
            urgency = (promoted, -state.goal.epochs, -state.goal.n_seeds, state.index, place)
            insort(self._queue, (urgency, key))

    def _leave(self, key: RunKey) -> None:
        self._busy.discard(key)
        self._queue = [item for item in self._queue if item[1] != key]

    def _note_report(
        self, key: RunKey, epoch: int, metrics: Mapping[str, float], checkpoint: str | None
    ) -> None:
        self.ledger.record(key, epoch, metrics)
        run = self.ledger[key]
        if checkpoint is not None:
            run.checkpoints[epoch] = checkpoint
        value = run.curve.get(epoch)
        if self.groups[key.group].failures:
            return
        if value is not None and not math.isfinite(value):
            name, shown = self.ledger.metric, self.ledger.sign * value
            self._note_failure(key, f"diverged: {name} is {shown} at epoch {epoch}")
        elif epoch >= self.target(key):
            self._busy.discard(key)
            self._settle(key.group)

    def _note_end(self, key: RunKey) -> None:
        self._leave(key)
        run, state = self.ledger[key], self.groups[key.group]
        run.outcome = Outcome.COMPLETED
        if state.failures:
            return
        if not run.curve:
            self._note_failure(key, f"ended without a report of {self.ledger.metric!r}")
        elif state.goal.epochs == TO_THE_END:
            self._settle(key.group)
        elif run.last_epoch < state.goal.epochs:
            self._note_failure(
                key,
                f"ended by itself at epoch {run.last_epoch}, before the rung at epoch "
                f"{state.goal.epochs}; runs are compared at equal epochs, so leave stopping early "
                "to the scheduler",
            )

    def _note_failure(self, key: RunKey, error: str) -> None:
        self._leave(key)
        run, state = self.ledger[key], self.groups[key.group]
        run.outcome, run.error = Outcome.FAILED, error
        first = not state.failures
        state.failures[key.seed] = error
        if not first:
            return
        self._heading.discard(key.group)
        self._queue = [item for item in self._queue if item[1].group != key.group]
        self.failed.append(key.group)
        self.policy.dropped(key.group)
        self.news.append(News(key.group, None, None))

    def _note_retry(self, key: RunKey) -> None:
        run, state = self.ledger[key], self.groups[key.group]
        run.outcome, run.error = None, None
        state.failures.pop(key.seed, None)
        if state.failures:
            return
        for seed in self.ledger.seeds:
            sibling = self.ledger[RunKey(key.group, seed)]
            if sibling.outcome is Outcome.STOPPED:
                sibling.outcome = None
        self.policy.revived(key.group)
        if state.heading:
            self._heading.add(key.group)
            self._enqueue(key.group)

    def _settle(self, group: str) -> None:
        """Score a group at its goal once every run it takes is there."""
        state = self.groups[group]
        if state.failures or state.goal in state.scores:
            return
        values = self.ledger.values_at(group, state.goal)
        if values is None:
            self._check_equal_ends(group)
            return
        score = self._aggregate(values)
        state.scores[state.goal] = score
        self._heading.discard(group)
        self.policy.scored(group, state.goal, values, score)
        self.news.append(News(group, state.goal, score))

    def _check_equal_ends(self, group: str) -> None:
        state = self.groups[group]
        keys = [RunKey(group, seed) for seed in self.ledger.seeds[: state.goal.n_seeds]]
        runs = [self.ledger[key] for key in keys]
        if state.goal.epochs != TO_THE_END or any(
            run.outcome is not Outcome.COMPLETED for run in runs
        ):
            return
        last = max(run.last_epoch for run in runs)
        pairs = list(zip(keys, runs, strict=True))
        ends = ", ".join(f"{key.seed} at {run.last_epoch}" for key, run in pairs)
        for key, run in pairs:
            if run.last_epoch < last:
                self._note_failure(
                    key, f"the seeds of its group ended at different epochs ({ends})"
                )
