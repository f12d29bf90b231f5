"""When failures are no run's own: a mistake that all runs share, found before it costs them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tune_seeds.core.ledger import RunKey
from tune_seeds.core.root_cause import RootCause

#: So many runs that fail alike, before any run reports, end a study.
ENOUGH = 3
#: So many, where they fail at the same line with the same exception, but its text differs.
ENOUGH_OF_A_KIND = 10
#: A run that is retried counts once it has failed alike so often, though retries are left.
ENOUGH_TRIES = 3


class CommonFailureError(RuntimeError):
    """Every run fails alike, before any of them has reported; nothing is gained by going on.

    Attributes:
        cause: the exception at the root, with file and line.
        runs: those that failed so.
    """

    def __init__(self, cause: RootCause, runs: tuple[RunKey, ...], message: str) -> None:
        super().__init__(message)
        self.cause = cause
        self.runs = runs

    def __reduce__(self) -> tuple[type[CommonFailureError], tuple[object, ...]]:
        return type(self), (self.cause, self.runs, str(self))


@dataclass(slots=True)
class CommonFailure:
    """Counts which runs fail alike.

    A failure that depends on the config looks like a common one as long as all configs that were
    tried have it. So nothing is decided while a run is at work that has neither failed nor
    reported, and where the texts differ, more runs have to fail.
    """

    _tries: dict[RunKey, Counter[RootCause]] = field(
        default_factory=dict[RunKey, Counter[RootCause]]
    )
    _causes: dict[RunKey, tuple[RootCause, RootCause]] = field(
        default_factory=dict[RunKey, tuple[RootCause, RootCause]]
    )

    def note(
        self, key: RunKey, cause: RootCause, own: Mapping[str, str], *, retried: bool = False
    ) -> None:
        """A run failed.

        Args:
            key: of the run.
            cause: why.
            own: what names this run in texts, see ``RootCause.like``.
            retried: whether it is tried again.
        """
        like = cause.like(own)
        tries = self._tries.setdefault(key, Counter())
        tries[like] += 1
        if not retried or tries[like] >= ENOUGH_TRIES:
            self._causes[key] = like, cause

    def has_failed(self, key: RunKey) -> bool:
        """Whether a run has failed, be it that it is tried again."""
        return key in self._tries

    def suspects(self) -> tuple[RunKey, ...]:
        """The runs that failed alike, where they are enough to end a study."""
        exact = Counter(like for like, _ in self._causes.values())
        kinds = Counter(_kind(like) for like, _ in self._causes.values())
        for key, (like, _) in self._causes.items():
            if exact[like] >= ENOUGH:
                return self._runs_like(key, exactly=True)
            if kinds[_kind(like)] >= ENOUGH_OF_A_KIND:
                return self._runs_like(key, exactly=False)
        return ()

    def all_alike(self, n_ended: int) -> tuple[RunKey, ...]:
        """The runs that failed, where all that the study had have failed alike.

        Args:
            n_ended: runs of the study that have ended, in whatever way.
        """
        likes = {like for like, _ in self._causes.values()}
        if len(likes) != 1 or n_ended != len(self._causes):
            return ()
        return tuple(self._causes)

    def error(self, runs: tuple[RunKey, ...]) -> CommonFailureError:
        """What to tell of runs that failed alike."""
        cause = self._causes[runs[0]][1]
        named = ", ".join(f"{key.group} with seed {key.seed}" for key in runs[:ENOUGH])
        more = f" and {len(runs) - ENOUGH} more" if len(runs) > ENOUGH else ""
        how = "failed alike" if len(runs) > 1 else "failed"
        message = f"{cause}\n{named}{more} {how} before any run had reported, so the study stopped."
        if (module := cause.missing_module) is not None:
            message += (
                f" The workers have no module {module!r}. A package has to be installed on every "
                "node, in the same version. A module of your own is found where the script that "
                "starts the study lies, or is sent by "
                'ray.init(runtime_env={"working_dir": ".", "excludes": [...]}).'
            )
        return CommonFailureError(cause, runs, message)

    def _runs_like(self, key: RunKey, *, exactly: bool) -> tuple[RunKey, ...]:
        own = self._causes[key][0]
        return tuple(
            other
            for other, (like, _) in self._causes.items()
            if (like == own if exactly else _kind(like) == _kind(own))
        )


def _kind(cause: RootCause) -> tuple[str, str]:
    return cause.kind, cause.place
