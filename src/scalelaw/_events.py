"""What a run tells while it goes on and when it ends. Re-exported by `run.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .trial import Trial

__all__ = ["Event", "Progress", "Retried", "RunSummary", "Started", "Stopping", "TrialEnded"]


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    Args:
        trials, done: trials of the study, and those that need no more training.
        diverged, failed, lost: of the trials that ended, in this run or before it.
        flops, flops_done: training compute of all trials and of those done; None where it cannot be told beforehand.
        elapsed: seconds since the run began.
        speed: FLOPs per second of this run so far; None before the first trial ended.
        eta: seconds until the run ends at this speed, small networks' overhead counted in; None before the first trial ended.
            Where the compute cannot be told, every trial counts the same.
    """

    trials: int
    done: int
    diverged: int
    failed: int
    lost: int
    flops: float | None
    flops_done: float | None
    elapsed: float
    speed: float | None
    eta: float | None


@dataclass(frozen=True)
class Started:
    """The run begins: `workers` work on what is missing."""

    study: str
    workers: int
    progress: Progress


@dataclass(frozen=True)
class TrialEnded:
    """A trial's result is in the store."""

    trial: Trial
    progress: Progress


@dataclass(frozen=True)
class Retried:
    """A worker was lost; so many trials of its batch are trained again."""

    trials: int
    reason: str
    progress: Progress


@dataclass(frozen=True)
class Stopping:
    """A signal asked the run to stop; what is finished is being stored."""

    signal: str
    progress: Progress


Event = Started | TrialEnded | Retried | Stopping


@dataclass(frozen=True)
class RunSummary:
    """How a run ended.

    Args:
        study, storage: what was run and where it is stored.
        progress: how far the study is now.
        skipped: trials that were done before.
        trained: trials whose result this run added.
        interrupted: the signal that stopped the run, or None.
        broken: result files that held no trial and were set aside.
        errors: why trials failed or were lost in this run, the hundred most frequent reasons, each with how many.
    """

    study: str
    storage: str
    progress: Progress
    skipped: int
    trained: int
    interrupted: str | None = None
    broken: tuple[Path, ...] = ()
    errors: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def complete(self) -> bool:
        """Whether every trial of the study is done."""
        return self.progress.done == self.progress.trials

    @property
    def message(self) -> str:
        """The outcome in a sentence, and what to do next."""
        at = self.progress
        told = f"{at.done} of {at.trials} trials are done ({self.skipped} were before), {at.diverged} of them diverged"
        if self.interrupted:
            return f"Stopped by {self.interrupted}: {told}. Nothing finished is lost; run the same command again to resume."
        if at.failed or at.lost:
            why = next(iter(self.errors), None)
            first = "" if why is None else f" ({self.errors[why]} of them: {why.rstrip('.')})"
            return f"{told}; {at.failed} failed and {at.lost} were lost{first}. Run the same command again to retry them."
        return f"{told}. They are in {self.storage}."
