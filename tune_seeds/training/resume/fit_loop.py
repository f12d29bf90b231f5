"""Lightning's fit loop, paused and resumed between epochs without a trace.

Lightning saves in ``on_train_epoch_end`` and resumes inside the finished epoch: plateau schedulers
then miss a step, ``on_train_epoch_start`` runs after the loader has drawn its base seed, and the
metrics that schedulers and callbacks read are gone (Lightning 2.6; lightning#18780,
lightning#17543). Here the state is taken when an epoch is over, and put back right before the next
one, where an uninterrupted fit would be: after the hooks with which a fit starts, whose effects on
weights and optimizers it replaces.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from lightning import Trainer
from lightning.fabric.utilities import move_data_to_device
from torch.utils.data import DataLoader

from tune_seeds._compat.lightning_loops import (
    EndFitQuietly,
    FitLoop,
    combined_loader,
    forget_loaders,
    leave_out_optimizers,
    reload_epochs,
    set_callback_metrics,
    set_reload_epochs,
    start_next_epoch,
    train_loaders,
    val_loop,
)
from tune_seeds._compat.torch_loaders import has_iterator
from tune_seeds.training.resume.lent_generators import LentGenerators
from tune_seeds.training.resume.loader_workers import WorkerStates
from tune_seeds.training.resume.run_state import RunState
from tune_seeds.training.seeding import rng_state, set_rng_state

logger = logging.getLogger(__name__)

_KEY = "tune_seeds"


class ExactFitLoop(FitLoop):
    """The fit loop of a run.

    Args:
        trainer: whose fit loop it becomes.
        on_epoch: called with the number of finished epochs when one is over; a checkpoint saved in
            there is one that resumes exactly. It may draw random numbers, training won't notice.
        on_end: called when training is over and every ``on_train_end`` has run.
        pauses: whether a checkpoint will be saved in ``on_epoch``.
        restarts: how often the run was trained again from its beginning.

    Attributes:
        restarts: the same, or what the checkpoint says.
        lost: what a pause would change or has changed, by name.
        ended_early: nothing was trained, since the state of the checkpoint could not be put back:
            the run must start from its beginning.
    """

    def __init__(
        self,
        trainer: Trainer,
        on_epoch: Callable[[int], None],
        on_end: Callable[[], None],
        pauses: bool = True,
        restarts: int = 0,
    ) -> None:
        super().__init__(trainer)
        self._on_epoch = on_epoch
        self._on_end = on_end
        self._pauses = pauses
        self.restarts = restarts
        self.lost: list[str] = []
        self.ended_early = False
        self._between: dict[str, Any] | None = None
        self._resumed: dict[str, Any] | None = None
        self._state: RunState | None = None
        self._workers: dict[int, WorkerStates] = {}
        self._val_workers: dict[int, WorkerStates] = {}
        self._val_made_with: dict[str, Any] | None = None
        self._lent = LentGenerators()
        self._val_lent = LentGenerators()
        self._follow_validation()

    def on_save_checkpoint(self) -> dict[str, Any]:
        """Lightning's state, and between epochs what it leaves out."""
        state = super().on_save_checkpoint()
        if self._between is not None:
            between = {**self._between, **self._objects()}
            # Rank 0 alone writes a checkpoint, and each rank has generators of its own. They may
            # not see the same devices, so what they exchange lies in main memory.
            state[_KEY] = [between]
            if self.trainer.world_size > 1:
                state[_KEY] = [None] * self.trainer.world_size
                own = move_data_to_device(between, "cpu")
                torch.distributed.all_gather_object(state[_KEY], own)
            self._say_lost([name for rank in state[_KEY] for name in rank.get("lost", ())])
        return state

    def on_load_checkpoint(self, state_dict: dict[str, Any]) -> None:
        """Keep what is put back before the next epoch.

        Raises:
            ValueError: the checkpoint was written by another number of workers.
        """
        state_dict = dict(state_dict)
        ranks = state_dict.pop(_KEY, None)
        if ranks is not None:
            if len(ranks) != self.trainer.world_size:
                raise ValueError(
                    f"the checkpoint holds the states of {len(ranks)} workers, this run has "
                    f"{self.trainer.world_size}; a run's bits depend on their number"
                )
            self.restarts = ranks[0]["restarts"]
            self._end_if([name for rank in ranks for name in rank.get("lost", ())])
            own: dict[str, Any] = ranks[self.trainer.global_rank]
            self._resumed = own
            if _holds_objects(own):
                leave_out_optimizers(self.trainer)
        super().on_load_checkpoint(state_dict)

    def attributes(self) -> dict[str, str]:
        """A hash of each attribute of the run's objects, between epochs; empty after the last."""
        return {} if self._state is None else self._state.attributes()

    def _objects(self) -> dict[str, Any]:
        if self._state is None:
            return {}
        with self._val_lent.given_back():
            return self._state.take()

    def _say_lost(self, lost: list[str]) -> None:
        if lost and not self.lost:
            self.lost = sorted(set(lost))
            logger.warning(
                "this run can't be paused: it would lose %s. If it is paused, it is trained again "
                "from its beginning when it goes on",
                "; ".join(self.lost),
            )

    def _end_if(self, lost: list[str]) -> None:
        if lost:
            self.lost = sorted(set(lost))
            self.ended_early = True
            raise EndFitQuietly

    def on_loaders_made(self) -> None:
        """Follow the workers of the training loaders, before they start."""
        self._workers = self._followed(self._train_loaders(), "workers")

    def _follow_validation(self) -> None:
        """Follow the validation loaders' workers too; they start at the sanity check."""
        loop = val_loop(self)
        setup_data, run = loop.setup_data, loop.run

        def setup_and_follow() -> None:
            loaders, before = combined_loader(loop), rng_state()
            resumed = None if self._resumed is None else self._resumed["val_made_with"]
            if resumed is not None:
                set_rng_state(resumed)  # a random split made with the loaders is made again
            setup_data()
            if resumed is not None:
                set_rng_state(before)
            if combined_loader(loop) is not loaders:
                self._val_made_with = resumed or before
                self._val_workers = self._followed(self._val_loaders(), "val_workers")

        def run_and_note() -> Any:
            try:
                return run()
            finally:
                for states in self._val_workers.values():
                    states.end_iteration()
                self._val_lent.give_back()

        loop.setup_data, loop.run = setup_and_follow, run_and_note

    def _followed(self, loaders: list[Any], name: str) -> dict[int, WorkerStates]:
        saved = {} if self._resumed is None else self._resumed[name]
        persistent = {i: loader for i, loader in enumerate(loaders) if _is_persistent(loader)}
        if name == "workers" and len(loaders) > 1 and persistent:
            logger.warning(
                "of several training loaders, the random states of persistent workers are not "
                "carried over a pause; a paused run may differ from an uninterrupted one, unless "
                "persistent_workers is False"
            )
            return {}
        return {i: WorkerStates(loader, saved.get(i)) for i, loader in persistent.items()}

    def on_run_start(self) -> None:
        """Start as Lightning does; on a resume, put everything back after it."""
        super().on_run_start()
        if self._resumed is not None or self._pauses:
            self._state = RunState(self.trainer, self._loaders, pauses=True)
        if self._resumed is not None:
            self._resume(self._resumed)
            self._resumed = None

    def advance(self) -> None:
        """One epoch."""
        super().advance()
        self._lent.give_back()

    def on_advance_end(self) -> None:
        """End the epoch as Lightning does, then hand over."""
        super().on_advance_end()
        for states in self._workers.values():
            states.end_iteration()
        with self._between_epochs():
            self._on_epoch(self.epoch_progress.current.completed)

    def on_run_end(self) -> None:
        """End training as Lightning does, then hand over."""
        super().on_run_end()
        self._state = None  # nothing follows that a state would be put back for
        with self._between_epochs():
            self._on_end()

    @contextmanager
    def _between_epochs(self) -> Generator[None]:
        """A place where saving is exact, and drawing has no effect on training."""
        before = rng_state()
        self._between = {
            "rng": before,
            "restarts": self.restarts,
            "workers": {i: states.state() for i, states in self._workers.items()},
            "val_workers": {i: states.state() for i, states in self._val_workers.items()},
            "metrics": dict(self.trainer.callback_metrics),
            "loaded_at": reload_epochs(self),
            "val_made_with": self._val_made_with,
            "val_iterated": [
                has_iterator(loader) or loader in self._val_lent for loader in self._val_loaders()
            ],
        }
        try:
            yield
        finally:
            self._between = None
            set_rng_state(before)

    def _resume(self, state: dict[str, Any]) -> None:
        inner = val_loop(self)
        for loop in (self, self.epoch_loop, inner):
            start_next_epoch(loop)
        if state["val_made_with"] is None:
            # Lightning makes them when a fit begins; the uninterrupted fit has not come to it.
            forget_loaders(inner)
            self._val_made_with, self._val_workers = None, {}
        elif not self._val_loaders():
            self.trainer.validating = True
            inner.setup_data()
            self.trainer.training = True
        set_reload_epochs(self, state["loaded_at"])
        for states in (*self._val_workers.values(), *self._workers.values()):
            states.restart()
        if _holds_objects(state):
            assert self._state is not None
            lost = [self._state.put_back(state)]
            if self.trainer.world_size > 1:
                lost *= self.trainer.world_size
                torch.distributed.all_gather_object(lost, lost[0])
            self._end_if([name for names in lost for name in names])
        iterated = [i for i in self._val_workers if state["val_iterated"][i]]
        self._val_lent.note(self._val_loaders()[i] for i in iterated)
        self._lent.note(self._train_loaders()[i] for i in self._workers)
        self._lent.lend()
        self._val_lent.lend()
        metrics = {k: v.to(self.trainer.strategy.root_device) for k, v in state["metrics"].items()}
        set_callback_metrics(self.trainer, metrics)
        set_rng_state(state["rng"])

    def _train_loaders(self) -> list[Any]:
        return train_loaders(self)

    def _val_loaders(self) -> list[Any]:
        return train_loaders(val_loop(self))

    def _loaders(self) -> dict[str, Any]:
        named = (("train", self._train_loaders()), ("val", self._val_loaders()))
        return {
            f"{name}_dataloader[{i}]": loader
            for name, loaders in named
            for i, loader in enumerate(loaders)
            if hasattr(loader, "__dict__")
        }


def keep_new_weights(trainer: Trainer) -> None:
    """Let a fit that goes on from an exact checkpoint start as it did: with its new weights.

    The hooks that start a fit then find what they found before, and weights that have changed
    their names or number since are no error. The state is put back after those hooks.
    """
    strategy = cast(Any, trainer.strategy)
    load = strategy.load_model_state_dict

    def load_or_not(checkpoint: dict[str, Any], strict: bool = True) -> None:
        ranks = checkpoint["loops"]["fit_loop"]["state_dict"].get(_KEY)
        if ranks is None or not _holds_objects(ranks[0]):
            load(checkpoint, strict=strict)

    strategy.load_model_state_dict = load_or_not


def _holds_objects(state: dict[str, Any]) -> bool:
    return "pickle" in state


def _is_persistent(loader: Any) -> bool:
    return isinstance(loader, DataLoader) and loader.num_workers > 0 and loader.persistent_workers
