"""The base of every trainer: what turns specs into trials on a worker. Standard library only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..trial import Trial, TrialSpec

__all__ = ["Order", "Trainer"]


@dataclass(frozen=True)
class Order:
    """What a worker is told beside the trials.

    Args:
        folder: the spool, in which a trainer may keep what belongs to its trials; each worker may have a different one.
        settings: the study's `[trainer]` table, as JSON values.
        witnesses: whether metrics should tell what goes on inside while training; a trainer that cannot does not.
        seconds: least time between two checkpoints.
        shared: whether the folder is the driver's, which all workers see.
        alone: whether the process is this worker's own: then it may be ended where a trial cannot be.
    """

    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    witnesses: bool = False
    seconds: float = 60.0
    shared: bool = True
    alone: bool = False


class Trainer(ABC):
    """One kind of trainer. A member sets `name` (its file's name) and `summary`; what it needs is imported when it trains.

    `check`, `flops`, `work`, `group` and `resolved` are asked by the driver, which may lack what training needs; the others by
    workers.
    """

    name: str
    summary: str
    devices: bool = False
    """Whether it computes on the device it is told (`Resources.device`); the others choose theirs."""

    def resolved(self, settings: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        """The settings, checked, with what they leave out, and with paths that are relative to `folder` made absolute.

        Raises:
            StudyError: a key or a value will not do.
        """
        del folder
        return dict(settings)

    @abstractmethod
    def check(self, spec: TrialSpec, settings: Mapping[str, Any]) -> None:
        """Raises SpecError where the trial cannot be trained as it is asked for."""

    @abstractmethod
    def flops(self, spec: TrialSpec, settings: Mapping[str, Any]) -> float | None:
        """C of a trial before it is trained; None where that cannot be told."""

    def work(self, spec: TrialSpec, settings: Mapping[str, Any], flops: float | None = None) -> float | None:
        """What a trial costs in FLOPs with the overhead of its steps counted in; None where that cannot be told.

        Args:
            flops: what `flops` says, where it has been asked.
        """
        return self.flops(spec, settings) if flops is None else flops

    def group(self, spec: TrialSpec, settings: Mapping[str, Any]) -> int:
        """How many trials of one shape and seed it trains side by side."""
        del spec, settings
        return 1

    def require(self) -> None:  # noqa: B027  (most need nothing that could be missing)
        """Raises MissingExtraError where a package that training needs is not installed here."""

    @abstractmethod
    def trained(self, specs: Sequence[TrialSpec], order: Order) -> Iterator[Trial]:
        """A result for every spec, each as soon as it is there.

        What cannot be trained is FAILED with its reason in one line, and fails alone. Nothing but a broken machine is raised.
        """
