"""The base of every engine: a place that trains batches of trials and leaves a result file for each. Standard library only."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from ..errors import InputError, near
from ..trial import TrialSpec

__all__ = ["Batch", "Engine", "Pool", "Resources", "Shape", "shape", "whole"]

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
        trainer: the study's `[trainer]` table, resolved; empty for the built-in trainer.
    """

    specs: tuple[TrialSpec, ...]
    work: float = 0.0
    witnesses: bool = False
    trainer: Mapping[str, Any] = field(default_factory=dict[str, Any])

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
        """What a worker is told, as one JSON object (`worker.py`)."""
        told = {"batch": self.id, "specs": [spec.to_dict() for spec in self.specs], "witnesses": self.witnesses}
        return {**told, "trainer": dict(self.trainer)} if self.trainer else told


@dataclass(frozen=True)
class Resources:
    """What each batch in training may take, and how many there may be.

    Args:
        cpus: cores of a batch.
        gpus: accelerators of a batch; several batches share one where it is a fraction.
        memory: bytes of a batch; None says nothing of it.
        device: what the built-in trainer computes on: cpu, gpu or tpu.
        max_parallel: at most so many batches at once; None leaves it to the engine.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory: float | None = None
    device: str = "cpu"
    max_parallel: int | None = None

    def __post_init__(self) -> None:
        if self.max_parallel is not None and self.max_parallel < 1:
            what = f"cannot train {self.max_parallel} batches at once"
            raise InputError(what, "--max-parallel", "Give a whole number of 1 or more")
        if not (0 < self.cpus < math.inf):
            raise InputError(f"a batch cannot have {self.cpus:g} cores", "--cpus", "Give a number above 0")
        if not (0 <= self.gpus < math.inf) or (self.gpus > 1 and not float(self.gpus).is_integer()):
            mend = "Give a whole number, or a fraction below 1 that several batches share"
            raise InputError(f"a batch cannot have {self.gpus:g} GPUs", "--gpus", mend)
        if self.memory is not None and not (0 < self.memory < math.inf):
            raise InputError(f"a batch cannot have {self.memory:g} bytes", "--memory", "Give a size, for example 4GiB")


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

    def ahead(self) -> int:
        """How many batches the driver keeps submitted, those in training counted in."""
        return max(4 * self.capacity(), 64)

    def drain(self, seconds: float) -> None:
        """Drop the batches that wait, and give those being trained so long to end."""
        del seconds
        self.cancel()

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
    """One engine. A member sets `name` (its file's name), `summary` and `options`; its packages are imported in `open`."""

    name: str
    summary: str
    options: Mapping[str, str] = MappingProxyType({})
    """What `--option NAME=VALUE` may set, with a sentence each."""
    here: bool = False
    """Whether workers run from this installation, so that what they lack can be told before they start."""

    def devices(self) -> tuple[str, ...]:
        """What it can train on, of cpu, gpu and tpu. Asked only where something else than the processor is wanted."""
        return ("cpu",)

    def checked(self, options: Mapping[str, str]) -> Mapping[str, str]:
        """The options, all of them known. Raises InputError."""
        for name in options:
            if name not in self.options:
                close = near(name, self.options)
                known = ", ".join(self.options) or "none"
                hint = f"Did you mean {close!r}? " if close else ""
                raise InputError(f"the engine {self.name!r} has no option {name!r}", "--option", f"{hint}Known: {known}")
        return options

    @abstractmethod
    def open(self, resources: Resources, options: Mapping[str, str]) -> Pool:
        """Start working.

        Args:
            resources: of each batch. options: of the engine's own, by name, as text.

        Raises:
            MissingExtraError: a package that the engine needs is not installed.
            InputError: an option, or a wish, that the engine cannot fulfil; it says what to install or to start.
        """


def whole(name: str, text: str | None) -> int | None:
    """An option that is a whole number; None where it is not given. Raises InputError."""
    if text is None:
        return None
    if not text.isdigit() or int(text) < 1:
        raise InputError(f"{text!r} is not a whole number of 1 or more", f"--option {name}", "Give one")
    return int(text)
