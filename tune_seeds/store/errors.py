"""What can be wrong with the record of an experiment."""

from __future__ import annotations


class UnreadableExperimentError(ValueError):
    """The record of an experiment is damaged, or of another version of this package."""


class IntegrityError(ValueError):
    """The journal contradicts what the study declared; it was edited, or two studies wrote it."""


class StudyInUseError(RuntimeError):
    """Another process drives the study; two would each lose what the other records."""


class StudyLostError(RuntimeError):
    """The study that runs was taken over by another process, or its directory was deleted."""


class CannotLoadPolicyError(RuntimeError):
    """The policy that a user gave to the study can't be unpickled here; the message says why."""


class JournalNotStoredError(OSError):
    """The last events of a study did not reach its storage; the message says where they lie."""
