"""The base of every task. Standard library and NumPy only."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecError, near
from ..trial import Value

__all__ = ["Draw", "Floats", "Task", "TaskData", "one_hot"]

Floats = NDArray[np.float32]
Draw = Callable[[np.random.Generator, NDArray[np.intp]], tuple[Floats, Floats]]


@dataclass(frozen=True)
class TaskData:
    """A task's numbers, ready for a trainer.

    Args:
        inputs: training inputs, shape (examples, input_dim), float32.
        targets: training targets, shape (examples, classes), float32: each row a distribution over the classes.
        test_inputs: held-out inputs, drawn as the training inputs are seen (same augmentation), fixed once for all runs.
        test_targets: their targets.
        truths: what is known exactly, by name, for example `floor`, the lowest loss any network can reach.
        draw: (generator, rows of the training set) -> the batch; None takes the rows as they stand. A task that augments or
            makes fresh examples does it here.
    """

    inputs: Floats
    targets: Floats
    test_inputs: Floats
    test_targets: Floats
    truths: Mapping[str, float] = field(default_factory=dict[str, float])
    draw: Draw | None = None

    @property
    def input_dim(self) -> int:
        """Numbers per example."""
        return self.test_inputs.shape[1]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.test_targets.shape[1]

    @property
    def chance_loss(self) -> float:
        """ln(classes): the cross-entropy, in nats, of calling every class equally likely."""
        return math.log(self.classes)

    def batches(self, seed: int, batch_size: int, chunks: list[int]) -> Iterator[tuple[Floats, Floats]]:
        """Training batches in order, `chunks[i]` of them at a time.

        The order is a fresh permutation per pass over the training set, so each example is seen once before any is seen
        twice. It depends on `seed` alone: not on the chunks, the rate or the network.

        Yields:
            inputs of shape (chunks[i], batch_size, input_dim) and targets of shape (chunks[i], batch_size, classes).
        """
        order, fresh = (np.random.default_rng([seed, stream]) for stream in (1, 2))
        waiting = np.empty(0, dtype=np.intp)
        for count in chunks:
            while len(waiting) < count * batch_size:
                waiting = np.concatenate([waiting, order.permutation(len(self.inputs))])
            rows, waiting = waiting[: count * batch_size], waiting[count * batch_size :]
            if self.draw is None:
                x, y = self.inputs[rows], self.targets[rows]
            else:
                x, y = self.draw(fresh, rows)
            yield x.reshape(count, batch_size, self.input_dim), y.reshape(count, batch_size, self.classes)


class Task(ABC):
    """One task: a classification problem that gives its data as NumPy arrays.

    A member sets `name` (its file's name), `summary`, `defaults` (every option it knows, with its default) and what N, D and
    C mean for it, and makes its data in `load`.
    """

    name: str
    summary: str
    defaults: Mapping[str, Value] = {}
    meaning: Mapping[str, str] = {
        "N": "weights and biases of the network; nothing is an embedding",
        "D": "training examples seen: steps times batch size, repeats counted",
        "C": "floating-point operations of training, multiply and add counted apart",
    }

    @abstractmethod
    def load(self, options: Mapping[str, Value]) -> TaskData:
        """The data for `options`, every one of which `resolve` has checked."""

    def data(self, options: Mapping[str, Value] | None = None) -> TaskData:
        """The data for the given options; what is not given takes its default.

        Raises:
            SpecError: an unknown option, or a value the task cannot use.
        """
        return self.load(self.resolve(options or {}))

    def resolve(self, options: Mapping[str, Value]) -> dict[str, Value]:
        """All options with their values. A number given for a number and text for text; whole where the default is whole.

        Raises:
            SpecError: an unknown option or a value of the wrong kind.
        """
        for key in options:
            if key not in self.defaults:
                close = near(key, self.defaults)
                hint = f"Did you mean {close!r}? Known" if close else "Known"
                raise SpecError(
                    f"unknown option {key!r}", f"task {self.name}", f"{hint}: {', '.join(sorted(self.defaults)) or 'none'}"
                )
        return {key: self._checked(key, options.get(key, default)) for key, default in self.defaults.items()}

    def wrong(self, key: str, value: Value, mend: str) -> SpecError:
        """The error for an option's value that the task cannot use."""
        return SpecError(f"option {key} = {value!r} cannot be used", f"task {self.name}", mend)

    def _checked(self, key: str, value: Value) -> Value:
        default = self.defaults[key]
        if isinstance(default, str):
            if not isinstance(value, str):
                raise self.wrong(key, value, f"Give text, for example {default!r}")
            return value
        if isinstance(value, (str, bool)) or not math.isfinite(value):
            raise self.wrong(key, value, f"Give a number, for example {default}")
        if isinstance(default, int):
            if value != int(value) or value < 0:
                raise self.wrong(key, value, "Give a whole number that is not negative")
            return int(value)
        return float(value)


def one_hot(labels: NDArray[np.integer], classes: int) -> Floats:
    """Labels as rows with a single one, shape (len(labels), classes)."""
    return np.eye(classes, dtype=np.float32)[labels]
