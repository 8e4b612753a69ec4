"""The base of every engine: a place that trains batches of trials and leaves a result file for each. Standard library only."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..trial import TrialSpec

__all__ = ["Batch", "Engine", "Pool", "Shape", "shape"]

Shape = tuple[object, ...]


# What trials of one compilation may differ in: numbers of the step, not of the program.
RATES = frozenset(
    {
        *("learning_rate", "weight_decay", "beta1", "beta2", "epsilon", "momentum"),
        *("gradient_clip", "dropout", "init_scale"),
    }
)


def shape(spec: TrialSpec) -> Shape:
    """Equal for trials that one compilation serves: all but the seed and the hyperparameters that are rates."""
    fixed = [(key, value) for key, value in spec.hyperparameters.items() if key not in RATES]
    first = None if spec.init_from is None else shape(spec.init_from)
    return (spec.model, spec.task, tuple(spec.task_options.items()), tuple(spec.scale.items()), tuple(fixed), first)


@dataclass(frozen=True)
class Batch:
    """Trials of one shape that are sent to a worker together.

    Args:
        specs: the trials, in the order in which they should be trained; at least one.
        work: what the batch costs, in FLOPs; an engine may use it to balance its workers.
        witnesses: whether the trials' metrics should tell what goes on inside while they train (`train/witness.py`).
    """

    specs: tuple[TrialSpec, ...]
    work: float = 0.0
    witnesses: bool = False

    @cached_property
    def id(self) -> str:
        """A hash of the specs' ids. 16 hexadecimal digits."""
        return hashlib.sha256("".join(spec.id for spec in self.specs).encode()).hexdigest()[:16]

    @cached_property
    def shape(self) -> Shape:
        """The shape that its trials share."""
        return shape(self.specs[0])

    @property
    def message(self) -> dict[str, Any]:
        """What a worker is told, as one JSON object (`train/worker.py`)."""
        return {"batch": self.id, "specs": [spec.to_dict() for spec in self.specs], "witnesses": self.witnesses}


class Pool(ABC):
    """An engine at work. A context manager: leaving it ends every worker.

    Whatever happens to a worker, every future ends: with a result, or with an exception.
    """

    @abstractmethod
    def capacity(self) -> int:
        """How many batches can be trained at once."""

    @abstractmethod
    def submit(self, batch: Batch, spool: Path) -> Future[tuple[str, ...]]:
        """Train a batch; each finished trial is written into `spool` with `spool.write`.

        The driver submits all it has, the costliest batches first; the engine queues.

        Returns:
            a future of the ids of the trials whose results are in `spool`. Its exception is a `WorkerLostError` when the worker
            ended without an answer, and another `ScalelawError` when the worker says that it cannot train the batch.
        """

    @abstractmethod
    def cancel(self) -> None:
        """Drop the batches that wait and stop those being trained, promptly. Results already in the spool stay."""

    @abstractmethod
    def close(self) -> None:
        """End every worker and give back what the engine holds. Cancels what is still running."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Engine(ABC):
    """One engine. A member sets `name` (its file's name) and `summary`; its optional packages are imported in `open`.

    One that trains on processors alone leaves `devices` as it is, and its `open` need not take a device.
    """

    name: str
    summary: str

    def devices(self) -> tuple[str, ...]:
        """What it can train on, of cpu, gpu and tpu. Asked only where something else than the processor is wanted."""
        return ("cpu",)

    @abstractmethod
    def open(self, max_parallel: int | None = None, device: str = "cpu") -> Pool:
        """Start working.

        Args:
            max_parallel: at most so many batches at once; None leaves it to the engine.
            device: what to train on, one of `devices`; handed over only where it is not the processor.

        Raises:
            MissingExtraError: a package that the engine needs is not installed.
        """
