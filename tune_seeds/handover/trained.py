"""The trained module of a run, from its checkpoint."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, cast

import torch
from lightning import LightningModule
from ray.tune import Checkpoint

from tune_seeds.core.blueprint import Blueprint
from tune_seeds.engine.trainable_file import TRAINABLE, load_trainable
from tune_seeds.handover.ensemble import SeedEnsemble
from tune_seeds.handover.lightning_cli import stand_in
from tune_seeds.handover.retraining import check_study
from tune_seeds.store.blueprint_file import read_blueprint
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.training.config_routing import route
from tune_seeds.training.fit import CHECKPOINT_FILE
from tune_seeds.training.lightning_trainer import LightningTrainer
from tune_seeds.training.seeding import rng_state, seed_run, set_rng_state


def load_module(
    module: Callable[..., LightningModule] | LightningTrainer,
    config: Mapping[str, Any],
    seed: int,
    blueprint: Blueprint,
    state: Mapping[str, Any],
) -> LightningModule:
    """Build a run's module as the run did, with the weights of a checkpoint, in evaluation mode.

    The global random generators are left as they were.

    Raises:
        ValueError: the checkpoint does not fit the module.
    """
    if isinstance(module, LightningTrainer):
        module = module.module
    targets: dict[str, Any] = {p: stand_in(target) for p, target in blueprint.targets.items()}
    routed = route({**config, "seed": seed}, {**targets, "model": module})
    before = rng_state()
    try:
        # What the constructor draws and no state_dict holds is then as it was in the run.
        seed_run(seed)
        made = module(**routed["model"])
    finally:
        set_rng_state(before)
    made.configure_model()
    made.on_load_checkpoint(dict(state))
    try:
        made.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        raise ValueError(
            f"the checkpoint of seed {seed} does not fit {type(made).__name__}: is it the module "
            f"that the study trained ({blueprint.targets['model'].name})? {error}"
        ) from error
    return made.eval()


def read_state(fs: Any, path: str) -> dict[str, Any]:
    """What Lightning has saved, onto the CPU: of a checkpoint's directory, or of a file.

    Only tensors and plain values are read where the file holds nothing else; hyperparameters of
    other types are unpickled, which runs code: only for experiments of one's own.
    """
    place, file = (path, CHECKPOINT_FILE)
    if path.endswith(".ckpt"):
        place, file = str(PurePosixPath(path).parent), PurePosixPath(path).name
    with Checkpoint(place, filesystem=fs).as_directory() as directory:
        target = Path(directory, file)
        if not target.exists():
            raise ValueError(
                f"{path} holds no {CHECKPOINT_FILE}: a plain function made it. Read its own files: "
                "with best.checkpoints[seed].as_directory() as folder: ..."
            )
        try:
            return cast(dict[str, Any], torch.load(target, map_location="cpu", weights_only=True))
        except pickle.UnpicklingError:
            return cast(dict[str, Any], torch.load(target, map_location="cpu", weights_only=False))


def best_epoch_file(state: Mapping[str, Any], files: list[str], metric: str) -> str:
    """The file that a run's ``ModelCheckpoint`` holds for the best, of those in the experiment.

    Args:
        state: of the run's last checkpoint, which holds the callbacks' states.
        files: the run's model checkpoints.
        metric: of the study; where there are several callbacks, the one that monitors it counts.

    Raises:
        ValueError: the run had none, or none that monitors the metric.
    """
    callbacks: Mapping[Any, Any] = state.get("callbacks", {})
    kept = {
        inner.get("monitor"): str(inner["best_model_path"])
        for name, inner in callbacks.items()
        if str(name).startswith("ModelCheckpoint") and inner.get("best_model_path")
    }
    kept.pop(None, None)  # without a monitor the newest is called the best
    chosen = kept.get(metric) or (next(iter(kept.values())) if len(kept) == 1 else None)
    found = [f for f in files if chosen and PurePosixPath(f).name == PurePosixPath(chosen).name]
    if not found:
        others = f"; its callbacks monitor {', '.join(map(str, kept))}" if kept else ""
        raise ValueError(
            f"the run kept no checkpoint of the epoch with the best {metric!r}{others}. Give "
            f"trainer_kwargs={{'callbacks': [ModelCheckpoint(monitor={metric!r}, mode=...)]}}; the "
            "last one is load(Module)"
        )
    return found[0]


def load_group(
    directory: ExperimentDir,
    config: Mapping[str, Any],
    paths: Mapping[int, str | None],
    module: Callable[..., LightningModule] | LightningTrainer | None,
    seed: int | str | None,
    choose: Callable[[int, Mapping[str, Any]], str] | None = None,
) -> LightningModule:
    """The trained module of one seed of a config, or all of them as one.

    Args:
        directory: of the experiment.
        config: with its objects.
        paths: seed → checkpoint.
        module: what made the modules; None for the one that the study pickled.
        seed: one of ``paths``, None for the first of them, ``"all"`` for their ensemble.
        choose: another file than the last checkpoint, by seed and what that checkpoint holds.

    Raises:
        ValueError: there is no such seed, or it has no checkpoint.
    """
    blueprint = read_blueprint(directory)
    if blueprint is None:
        check_study(directory)
        raise AssertionError
    if module is None:
        owner: Any = getattr(load_trainable(directory.read(TRAINABLE)).train, "__self__", None)
        module = cast(LightningTrainer, owner)

    def one(number: int) -> LightningModule:
        path = paths[number]
        if path is None:
            raise ValueError(
                f"seed {number} has no checkpoint: its run ended before the first one was made"
            )
        state = read_state(directory.fs, path)
        if choose is not None:
            state = read_state(directory.fs, choose(number, state))
        return load_module(module, config, number, blueprint, state)

    if seed == "all":
        return SeedEnsemble({number: one(number) for number in paths})
    if seed is None:
        return one(next(iter(paths)))
    if isinstance(seed, bool) or seed not in paths:
        raise ValueError(
            f"seed must be one of {', '.join(map(str, paths))}, or 'all', got {seed!r}"
        )
    return one(int(seed))
