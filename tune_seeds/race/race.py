"""The race between configs: a pure state machine from reports to decisions.

A policy (``policies/``) says which group deserves to go on; the race knows which runs that takes,
which of them are running, and what each must do after a report. Everything that changes it is one
event (``core/events.py``), handed to ``log`` before it is applied, so that the same events, applied
to a new race, rebuild it. There is no Ray here: the live scheduler and a replay of recorded curves
drive the same object.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from tune_seeds.core.events import (
    CheckpointDeleted,
    ConfirmationAdded,
    EnvironmentRecorded,
    Event,
    GroupAdded,
    Grown,
    Promoted,
    Reported,
    RunCompleted,
    RunFailed,
    RunRetried,
    RunStarted,
    RunStopped,
    Scored,
    SearchExhausted,
    StudyLeft,
    TrialAssigned,
)
from tune_seeds.core.ledger import Ledger, RunKey
from tune_seeds.core.rungs import TO_THE_END, Rung
from tune_seeds.policies.base import Policy, Promotion, Settling
from tune_seeds.race.field import Field
from tune_seeds.race.groups import Group, OnSeedFailure
from tune_seeds.statistics.aggregate import Aggregate

__all__ = ["Decision", "Group", "News", "OnSeedFailure", "Race", "RungMissedError"]


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


class Confirm(NamedTuple):
    """What to confirm when the search is over: the ``top`` best groups, on fresh seeds."""

    seeds: tuple[int, ...]
    top: int


class Race:
    """Configs racing over rungs on the same seeds.

    Args:
        ledger: an empty ledger; the race is its only writer.
        policy: who goes on.
        aggregate: one score from the values of a group's seeds, higher is better.
        on_seed_failure: what a failed seed means for its group.
        confirm: what to train on fresh seeds once the search is over.
        log: hears of each event before it is applied.
    """

    def __init__(
        self,
        ledger: Ledger,
        policy: Policy,
        aggregate: Aggregate | Callable[[Float[np.ndarray, " seed"]], float],
        on_seed_failure: OnSeedFailure = OnSeedFailure.FAIL,
        confirm: Confirm | None = None,
        log: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.ledger = ledger
        self.policy = policy
        self.news: deque[News] = deque()
        #: Every score so far, as group and rung, in the order in which they came.
        self.scored: list[tuple[str, Rung]] = []
        #: What the study was left by, if that is the last that happened to it.
        self.left: str | None = None
        #: What was asked for after the study had begun, in its order.
        self.growths: list[Grown] = []
        #: Why fewer configs have come than were asked for, where that is known.
        self.why_exhausted: str | None = None
        self._exhausted = False
        self._n_slots: int | None = None
        self.on_seed_failure = on_seed_failure
        self._log = log
        self.aggregate = aggregate
        self._confirm = confirm
        self._field = Field(ledger, policy, on_seed_failure)
        self._last_epoch = max(rung.epochs for rung in policy.rungs)

    # What may be asked

    @property
    def log(self) -> Callable[[Event], None]:
        """What hears of each event before it is applied; ``record_to`` changes it."""
        return self._log

    @property
    def groups(self) -> dict[str, Group]:
        """Every group by its name."""
        return self._field.groups

    @property
    def failed(self) -> list[str]:
        """The groups that can't win, in the order in which that came out."""
        return self._field.lost

    @property
    def finalists(self) -> list[str]:
        """The groups with a score at the last rung, best first."""
        return self._field.finalists()

    @property
    def queue(self) -> list[RunKey]:
        """Runs that should get a slot, most urgent first: promoted, of new groups, fresh seeds."""
        return list(self._field.queue)

    @property
    def busy(self) -> frozenset[RunKey]:
        """Runs that hold a slot."""
        return frozenset(self._field.busy)

    @property
    def exhausted(self) -> bool:
        """Whether no new config is to come."""
        return self._exhausted

    @property
    def search_over(self) -> bool:
        """Whether no group has anything left to train on the study's own seeds."""
        return self.exhausted and not self._field.heading and self._proposal() is None

    @property
    def done(self) -> bool:
        """Whether nothing at all is left to train."""
        return self.search_over and not self._field.confirming and not self._unconfirmed()

    def target(self, key: RunKey) -> int:
        """The epochs to which a run has to train for its group's goal."""
        return self._field.target(key)

    # What is decided

    def record_to(self, log: Callable[[Event], None]) -> Callable[[Event], None]:
        """Let every event from now on be handed to ``log`` before it is applied.

        Returns:
            What heard of them until now.
        """
        before, self._log = self._log, log
        return before

    def set_slots(self, n_slots: int | None) -> None:
        """Say how many runs can train at once from now on; None where that is not known.

        It is not part of the record: what was decided with it is.

        Raises:
            ValueError: there is not even one.
        """
        if n_slots is not None and n_slots < 1:
            raise ValueError(f"a race needs at least one slot, got {n_slots}")
        self._n_slots = n_slots

    def add_group(self, config: dict[str, Any]) -> str:
        """Enter a new config; its runs join the queue.

        Returns:
            The name of its group.
        """
        # Not by how many there are: a damaged journal may have lost one in the middle.
        group = f"g{self._field.last_number + 1:04d}"
        self._do(GroupAdded(group=group, config=config))
        return group

    def exhaust(self, why: str | None = None) -> None:
        """Note that no new config is to come; to say so again changes nothing.

        Args:
            why: where fewer have come than were asked for.
        """
        if not self._exhausted:
            self._do(SearchExhausted(why))

    def settled(self) -> str | None:
        """Why the policy wants no more configs, where it is one that says so; else None."""
        return self.policy.settled() if isinstance(self.policy, Settling) else None

    def promote_next(self) -> Promotion | None:
        """Send one group on if the policy has one, unless a promoted run waits for a slot already.

        A promotion that no slot can take yet would be judged too early, so where it is not known
        how many slots are free, one waits at a time. When the search is over, the confirmation is
        opened.
        """
        if self._field.promoted_run_waits and not self._slot_is_free():
            return None
        promotion = self._proposal()
        if promotion is not None:
            self._do(Promoted(group=promotion.group, rung=promotion.rung))
            self._settle(promotion.group)
        elif self.search_over and (unconfirmed := self._unconfirmed()):
            assert self._confirm is not None
            self._do(ConfirmationAdded(groups=tuple(unconfirmed), seeds=self._confirm.seeds))
        return promotion

    def start(self, key: RunKey) -> None:
        """A queued run got a slot."""
        self._do(RunStarted(key.group, key.seed))

    def report(
        self,
        key: RunKey,
        epoch: int,
        metrics: Mapping[str, float],
        checkpoint: str | None = None,
        checkpoint_bytes: int | None = None,
    ) -> Decision:
        """Take one report of a run and say what the run does next.

        Raises:
            RungMissedError: the run went past its group's rung without a report there.
        """
        self._do(Reported(key.group, key.seed, epoch, dict(metrics), checkpoint, checkpoint_bytes))
        self._settle(key.group)
        run = self.ledger[key]
        if self.groups[key.group].lost or run.error is not None:
            return Decision.STOP
        target = self.target(key)
        if target == TO_THE_END or epoch < target:
            return Decision.CONTINUE
        if target not in run.curve:
            raise RungMissedError(
                f"the run of group {key.group} with seed {key.seed} reported at {epoch} but never "
                f"at the rung {target}: report {self.ledger.metric.name!r} at every rung, or "
                "choose grace_period, reduction_factor and max_t so that rungs fall on reports"
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

    def complete(self, key: RunKey) -> None:
        """A run came to its own end."""
        self._do(RunCompleted(key.group, key.seed))
        self._settle(key.group)

    def stop(self, key: RunKey) -> None:
        """A run was ended by us, or by the end of the study."""
        self._do(RunStopped(key.group, key.seed))

    def fail(self, key: RunKey, error: str) -> None:
        """A run failed for good; what that means for its group, the study declared."""
        self._do(RunFailed(key.group, key.seed, error))
        self._settle(key.group)

    def retry(self, key: RunKey) -> None:
        """A failed run is tried again."""
        self._do(RunRetried(key.group, key.seed))
        # What its group needs may all be there: then no run of it will report any more.
        if self._last_epoch in self.ledger[key].curve:
            self.complete(key)
        else:
            self._settle(key.group)

    def assign(self, key: RunKey, trial_id: str, trial_dir: str | None) -> None:
        """A Ray trial was made for a run."""
        self._do(TrialAssigned(key.group, key.seed, trial_id, trial_dir))

    def leave(self, reason: str) -> None:
        """The study ends before its end."""
        self._do(StudyLeft(reason))

    def drop_checkpoint(self, key: RunKey, epoch: int) -> str:
        """Go without a checkpoint from now on.

        Returns:
            Its directory, which may be deleted once this event is stored.
        """
        path = self.ledger[key].checkpoints[epoch]
        self._do(CheckpointDeleted(key.group, key.seed, epoch))
        return path

    def note_environment(self, key: RunKey, environment: dict[str, Any]) -> None:
        """A run said what its bits depend on."""
        self._do(EnvironmentRecorded(key.group, key.seed, environment))

    def resume(self) -> None:
        """Go on where a journal ends: a study may be left between any two events.

        Runs that had a slot are the first to get one again, as they were training. One that
        reported its last epoch has nothing left to train, so it ends here, without another slot;
        so does one whose group can't win any more. What is complete is scored.
        """
        for key, run in self.ledger.items():
            if run.outcome is None and self._last_epoch in run.curve:
                self.complete(key)
            elif key in self._field.busy and self.groups[key.group].lost:
                self.stop(key)
        for group in sorted(self._field.heading):
            self._settle(group)
        self._field.interrupt()

    def grow(self, event: Grown) -> None:
        """Go on with more seeds, longer training, more configs or more finalists.

        Raises:
            ValueError: the seeds don't begin with those of the study, or have confirmed configs.
        """
        self._do(event)
        for group in list(self.groups):
            self._settle(group)

    def settle(self, group: str) -> None:
        """Score a group where every run that it takes is there."""
        self._settle(group)

    def send(self, group: str, rung: Rung) -> None:
        """Send a group on; only for what is known to have happened, the policy is not asked."""
        self._do(Promoted(group, rung))

    # How events change it

    def apply(self, event: Event) -> None:
        """Change the state by one event, as it happened or as it is read back."""
        field = self._field
        self.left = None
        match event:
            case GroupAdded(group, config):
                field.add(group, config)
            case Promoted(group, rung):
                field.head_for(group, rung)
            case Reported(group, seed, epoch, metrics, checkpoint, size):
                field.note_report(RunKey(group, seed), epoch, metrics, checkpoint, size)
            case CheckpointDeleted(group, seed, epoch):
                run = self.ledger[RunKey(group, seed)]
                run.checkpoints.pop(epoch, None)
                run.checkpoint_bytes.pop(epoch, None)
            case Scored(group, rung, scores, score):
                turned = self.ledger.metric.turned
                field.note_score(
                    group, rung, {s: turned(v) for s, v in scores.items()}, turned(score)
                )
                self.news.append(News(group, rung, turned(score)))
                self.scored.append((group, rung))
            case ConfirmationAdded(groups, seeds):
                field.confirm(groups, seeds)
            case RunStarted(group, seed):
                field.start(RunKey(group, seed))
            case RunCompleted(group, seed):
                field.note_end(RunKey(group, seed))
            case RunStopped(group, seed):
                field.note_stop(RunKey(group, seed))
            case RunFailed(group, seed, error):
                field.note_failure(RunKey(group, seed), error)
            case RunRetried(group, seed):
                field.note_retry(RunKey(group, seed))
            case EnvironmentRecorded(group, seed, environment):
                self.ledger[RunKey(group, seed)].environment = environment
            case SearchExhausted(why):
                self._exhausted, self.why_exhausted = True, why
            case Grown():
                self.policy = self.policy.fresh(event.rungs, event.n_finalists)
                self._last_epoch = max(rung.epochs for rung in event.rungs)
                field.grow(event.seeds, self.policy)
                self._exhausted, self.why_exhausted = False, None
                self.growths.append(event)
            case StudyLeft(reason):
                self.left = reason
            case TrialAssigned(group, seed, trial_id, trial_dir):
                run = self.ledger[RunKey(group, seed)]
                run.trial_id, run.trial_dir = trial_id, trial_dir

    def _do(self, event: Event) -> None:
        n_lost = len(self.failed)
        self._log(event)
        self.apply(event)
        self.news.extend(News(group, None, None) for group in self.failed[n_lost:])

    def _slot_is_free(self) -> bool:
        """Whether a slot is neither busy nor spoken for, as far as that is known."""
        taken = len(self._field.busy) + len(self._field.queue)
        return self._n_slots is not None and taken < self._n_slots

    def _proposal(self) -> Promotion | None:
        n_busy = len(self._field.busy)
        # Whoever asks has a slot to give away, so there is at least one more than are taken.
        n_slots = max(self._n_slots or 1, n_busy + 1)
        return self.policy.propose(exhausted=self.exhausted, n_slots=n_slots, n_busy=n_busy)

    def _settle(self, group: str) -> None:
        """Score a group where every run that it takes is there: at its goal, or once more."""
        metric = self.ledger.metric
        while (due := self._field.due(group)) is not None:
            rung, values = due
            score = float(self.aggregate(np.array(list(values.values()))))
            self._do(Scored(group, rung, metric.own_by_seed(values), metric.own(score)))

    def _unconfirmed(self) -> list[str]:
        """The groups that are to be confirmed and have no run on some fresh seed yet."""
        if self._confirm is None:
            return []
        best = self._field.finalists()[: self._confirm.top]
        return [
            group
            for group in best
            if any(self._is_to_confirm(RunKey(group, seed)) for seed in self._confirm.seeds)
        ]

    def _is_to_confirm(self, key: RunKey) -> bool:
        return key not in self.ledger or self._field.is_too_short(key)
