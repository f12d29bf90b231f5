# pyright: reportPrivateUsage=false
"""Lightning's fit loop, paused and resumed between epochs without a trace.

Lightning saves in ``on_train_epoch_end`` and resumes inside the finished epoch: plateau schedulers
then miss a step, ``on_train_epoch_start`` runs after the loader has drawn its base seed, and the
metrics that schedulers and callbacks read are gone (Lightning 2.6; lightning#18780,
lightning#17543). Here the state is taken when an epoch is over, and put back right before the next
one, where an uninterrupted fit would be.
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
from lightning.pytorch.loops.fit_loop import _FitLoop
from torch.utils.data import DataLoader

from tune_seeds.carried import Carried
from tune_seeds.seeding import rng_state, set_rng_state
from tune_seeds.worker_rng import WorkerStates

logger = logging.getLogger(__name__)

_KEY = "tune_seeds"

_Borrowed = tuple[DataLoader[Any], torch.Generator | None]


class ExactFitLoop(_FitLoop):
    """The fit loop of a run.

    Args:
        trainer: whose fit loop it becomes.
        on_epoch: called with the number of finished epochs when one is over; a checkpoint saved in
            there is one that resumes exactly. It may draw random numbers, training won't notice.
        on_end: called when training is over and every ``on_train_end`` has run.
    """

    def __init__(
        self, trainer: Trainer, on_epoch: Callable[[int], None], on_end: Callable[[], None]
    ) -> None:
        replaced = trainer.fit_loop
        super().__init__(trainer, min_epochs=replaced.min_epochs, max_epochs=replaced.max_epochs)
        self.epoch_loop = replaced.epoch_loop
        self._on_epoch = on_epoch
        self._on_end = on_end
        self._between: dict[str, Any] | None = None
        self._resumed: dict[str, Any] | None = None
        self._carried: Carried | None = None
        self._workers: dict[int, WorkerStates] = {}
        self._val_workers: dict[int, WorkerStates] = {}
        self._val_made_with: dict[str, Any] | None = None
        self._borrowed: list[_Borrowed] = []
        self._val_borrowed: list[_Borrowed] = []
        self._follow_validation()
        trainer.fit_loop = self

    def on_save_checkpoint(self) -> dict[str, Any]:
        """Lightning's state, and between epochs what it leaves out."""
        state = super().on_save_checkpoint()
        if self._between is not None:
            # Rank 0 alone writes a checkpoint, and each rank has generators of its own. They may
            # not see the same devices, so what they exchange lies in main memory.
            state[_KEY] = [self._between]
            if self.trainer.world_size > 1:
                state[_KEY] = [None] * self.trainer.world_size
                own = move_data_to_device(self._between, "cpu")
                torch.distributed.all_gather_object(state[_KEY], own)
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
            self._resumed = ranks[self.trainer.global_rank]
        super().on_load_checkpoint(state_dict)

    def _load_combined_loader_states(self) -> None:
        # The one step between the making of the loaders and their first iteration.
        super()._load_combined_loader_states()
        self._workers = self._followed(self._train_loaders(), "workers")

    def _follow_validation(self) -> None:
        """Follow the validation loaders' workers too; they start at the sanity check."""
        loop = cast(Any, self.epoch_loop.val_loop)
        setup_data, run = loop.setup_data, loop.run

        def setup_and_follow() -> None:
            loaders, before = loop._combined_loader, rng_state()
            resumed = None if self._resumed is None else self._resumed["val_made_with"]
            if resumed is not None:
                set_rng_state(resumed)  # a random split made with the loaders is made again
            setup_data()
            if resumed is not None:
                set_rng_state(before)
            if loop._combined_loader is not loaders:
                self._val_made_with = resumed or before
                self._val_workers = self._followed(self._val_loaders(), "val_workers")

        def run_and_note() -> Any:
            try:
                return run()
            finally:
                for states in self._val_workers.values():
                    states.end_iteration()
                _give_back(self._val_borrowed)

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
        self._carried = Carried(self._roots())
        if self._resumed is not None:
            self._resume(self._resumed)
            self._resumed = None

    def advance(self) -> None:
        """One epoch."""
        super().advance()
        _give_back(self._borrowed)

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
        with self._between_epochs():
            self._on_end()

    @contextmanager
    def _between_epochs(self) -> Generator[None]:
        """A place where saving is exact, and drawing has no effect on training."""
        before = rng_state()
        self._between = {
            "rng": before,
            "carried": self._carried_state(),
            "workers": {i: states.state() for i, states in self._workers.items()},
            "val_workers": {i: states.state() for i, states in self._val_workers.items()},
            "metrics": dict(self.trainer.callback_metrics),
            "train_loaded_at": self._last_train_dl_reload_epoch,
            "val_loaded_at": self.epoch_loop.val_loop._last_val_dl_reload_epoch,
            "val_made_with": self._val_made_with,
            "val_iterated": [
                _has_iterator(loader) or any(loader is lent for lent, _ in self._val_borrowed)
                for loader in self._val_loaders()
            ],
        }
        try:
            yield
        finally:
            self._between = None
            set_rng_state(before)

    def _carried_state(self) -> dict[str, Any]:
        assert self._carried is not None
        for loader, generator in self._val_borrowed:
            loader.generator = generator
        try:
            return self._carried.state()
        finally:
            _lend(self._val_borrowed)

    def _resume(self, state: dict[str, Any]) -> None:
        for loop in (self, self.epoch_loop, self.epoch_loop.val_loop):
            # The last epoch is over: what follows is no restart but the next epoch, whose iterator
            # is made after its hooks have run.
            inner = cast(Any, loop)
            inner._restarting = inner._loaded_from_state_dict = False
            inner._resuming_from_checkpoint = False
        val_loop = cast(Any, self.epoch_loop.val_loop)
        if state["val_made_with"] is None:
            # Lightning makes them when a fit begins; the uninterrupted fit has not come to it.
            val_loop._combined_loader, self._val_made_with, self._val_workers = None, None, {}
        elif not self._val_loaders():
            self.trainer.validating = True
            val_loop.setup_data()
            self.trainer.training = True
        self._last_train_dl_reload_epoch = state["train_loaded_at"]
        val_loop._last_val_dl_reload_epoch = state["val_loaded_at"]
        for i, states in self._val_workers.items():
            states.restart()
            if state["val_iterated"][i]:
                loader = self._val_loaders()[i]
                self._val_borrowed.append((loader, loader.generator))
        for i, states in self._workers.items():
            states.restart()
            loader = self._train_loaders()[i]
            self._borrowed.append((loader, loader.generator))
        assert self._carried is not None
        missing = self._carried.restore(state["carried"])
        if missing:
            logger.warning(
                "the states of %s were saved at a pause but have no place to go back to: they are "
                "made after training starts; make them in __init__, setup or on_fit_start, or "
                "give their owner a state_dict. This run may differ from an uninterrupted one",
                ", ".join(missing),
            )
        _lend(self._borrowed)
        _lend(self._val_borrowed)
        metrics = {k: v.to(self.trainer.strategy.root_device) for k, v in state["metrics"].items()}
        self.trainer._logger_connector._callback_metrics.update(metrics)
        set_rng_state(state["rng"])

    def _train_loaders(self) -> list[Any]:
        return [] if self._combined_loader is None else self._combined_loader.flattened

    def _val_loaders(self) -> list[Any]:
        combined = self.epoch_loop.val_loop._combined_loader
        return [] if combined is None else combined.flattened

    def _roots(self) -> dict[str, Any]:
        trainer = cast(Any, self.trainer)
        roots: dict[str, Any] = {"model": trainer.lightning_module}
        if trainer.datamodule is not None:
            roots["data"] = trainer.datamodule
        for i, callback in enumerate(trainer.callbacks):
            if not type(callback).__module__.startswith(("lightning.", "tune_seeds.")):
                roots[f"callback{i}"] = callback
        loaders = [*self._train_loaders(), *self._val_loaders()]
        roots.update({f"loader{i}": loader for i, loader in enumerate(loaders)})
        return roots


def _lend(borrowed: list[_Borrowed]) -> None:
    """New workers cost a base seed; the uninterrupted fit, which kept its own, drew none."""
    for loader, _ in borrowed:
        loader.generator = torch.Generator()


def _give_back(borrowed: list[_Borrowed]) -> None:
    for loader, generator in borrowed:
        loader.generator = generator
    borrowed.clear()


def _is_persistent(loader: Any) -> bool:
    return isinstance(loader, DataLoader) and loader.num_workers > 0 and loader.persistent_workers


def _has_iterator(loader: Any) -> bool:
    return getattr(loader, "_iterator", None) is not None
