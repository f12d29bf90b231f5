"""A study that may run: what it is, what it trains, what its user gave, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ray.tune import ResumeConfig

from tune_seeds._compat.ray_tune import user_verbosity
from tune_seeds.core.events import Grown
from tune_seeds.engine.arguments import Arguments
from tune_seeds.policies.base import Policy
from tune_seeds.store.directory import ExperimentDir, joined
from tune_seeds.store.study_spec import HEADER, Header
from tune_seeds.training.trainable import SeededTrainable
from tune_seeds.views.terminal import restore_call


@dataclass(frozen=True, slots=True)
class Launch:
    """A study that may run, everything about it checked.

    Attributes:
        header: what the study is.
        arguments: what its user gave.
        trainable: a run.
        directory: of the experiment.
        policy: a user's own, before it was told anything; None where the study has one of ours.
        resume: for an experiment that goes on, which of Ray's trials do; None for a new one.
        growth: what an experiment that goes on is asked for beyond that.
        grown: what it was asked for before.
        take_over: whether to drive it though another process seems to.
    """

    header: Header
    arguments: Arguments
    trainable: SeededTrainable
    directory: ExperimentDir
    policy: Policy | None = None
    resume: ResumeConfig | None = None
    growth: Grown | None = None
    grown: tuple[Grown, ...] = ()
    take_over: bool = False

    @property
    def seeds(self) -> tuple[int, ...]:
        """All of the study, also those that it is asked for now."""
        asked = self.grown if self.growth is None else (*self.grown, self.growth)
        return self.header.grown(asked).seeds

    @property
    def uri(self) -> str:
        """The experiment's directory, as a user names it."""
        run_config: Any = self.arguments.run_config
        return joined(str(run_config.storage_path), run_config.name)

    def check_new(self) -> None:
        """Refuse to begin a study where there is one.

        Raises:
            FileExistsError: there is one.
        """
        if self.directory.exists(HEADER):
            fs = self.arguments.run_config.storage_filesystem
            raise FileExistsError(
                f"the experiment {self.directory.path} exists; continue it with "
                f"{restore_call(self.uri, fs)}, or choose another RunConfig(name=...)"
            )

    @property
    def verbosity(self) -> int:
        """How much of Ray's own output the user asked for."""
        return user_verbosity(self.arguments.run_config)
