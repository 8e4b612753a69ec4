"""The base of every task. Standard library and NumPy only."""

from __future__ import annotations

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecError, near
from ..trial import Value

__all__ = ["Array", "Draw", "Floats", "Loss", "Task", "TaskData", "Whole", "held_out", "located", "one_hot", "windows"]

Floats = NDArray[np.float32]
Whole = NDArray[np.int32]
Array = Floats | Whole
Draw = Callable[[np.random.Generator, NDArray[np.intp]], tuple[Array, Array]]


class Loss(enum.Enum):
    """What a network is trained to make small."""

    CROSS_ENTROPY = "mean cross-entropy, in nats"
    SQUARED_ERROR = "mean over the examples of the squared error summed over the outputs"


@dataclass(frozen=True)
class TaskData:
    """A task's numbers, ready for a trainer. Three kinds:

        vectors to a distribution   inputs (examples, I) float32, targets (examples, classes) float32
        vectors to a label          the same inputs, targets (examples,) int32, `labels` classes
        tokens to the next token    inputs (examples, T) int32, targets (examples, T) int32, `vocabulary` tokens

    Args:
        inputs: training inputs.
        targets: training targets: distributions over the classes (for SQUARED_ERROR: values), labels or next tokens.
        test_inputs: held-out inputs, drawn as the training inputs are seen (same augmentation), fixed once for all runs.
        test_targets: their targets.
        truths: what is known exactly, by name, for example `floor`, the lowest loss any network can reach.
        draw: (generator, rows of the training set) -> the batch; None takes the rows as they stand. A task that augments or
            makes fresh examples does it here.
        loss: what is to be made small.
        labels: number of classes where targets are labels.
        vocabulary: number of tokens where inputs are tokens.
        provenance: where the data come from, by name: a file, a hash of what was read.
    """

    inputs: Array
    targets: Array
    test_inputs: Array
    test_targets: Array
    truths: Mapping[str, float] = field(default_factory=dict[str, float])
    draw: Draw | None = None
    loss: Loss = Loss.CROSS_ENTROPY
    labels: int = 0
    vocabulary: int = 0
    provenance: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def examples(self) -> int:
        """Training examples that are gone through before any comes again; one with a `draw` may come anew each time."""
        return len(self.inputs)

    @property
    def input_dim(self) -> int:
        """Numbers, or tokens, per example."""
        return self.test_inputs.shape[1]

    @property
    def classes(self) -> int:
        """Number of classes, or of the network's outputs."""
        return self.vocabulary or self.labels or self.test_targets.shape[1]

    @property
    def tokens_per_example(self) -> int:
        """What an example adds to D: its tokens, or 1."""
        return self.input_dim if self.vocabulary else 1

    @property
    def chance_loss(self) -> float:
        """What knowing nothing costs.

        Cross-entropy: ln(classes), every class equally likely. Squared error: that of answering 0.
        """
        if self.loss is Loss.SQUARED_ERROR:
            return float(np.square(self.test_targets, dtype=np.float64).sum(axis=-1).mean())
        return math.log(self.classes)

    def rows(self, seed: int, batch_size: int, chunks: list[int]) -> Iterator[NDArray[np.intp]]:
        """Rows of the training set in the order in which they are seen, `chunks[i]` batches at a time.

        The order is a fresh permutation per pass over the training set, so each example is seen once before any is seen
        twice. It depends on `seed` alone: not on the chunks, the rate or the network.

        Yields:
            rows of shape (chunks[i] batch_size,).
        """
        order = np.random.default_rng([seed, 1])
        waiting = np.empty(0, dtype=np.intp)
        for count in chunks:
            while len(waiting) < count * batch_size:
                waiting = np.concatenate([waiting, order.permutation(len(self.inputs))])
            rows, waiting = waiting[: count * batch_size], waiting[count * batch_size :]
            yield rows

    def batches(self, seed: int, batch_size: int, chunks: list[int]) -> Iterator[tuple[Array, Array]]:
        """Training batches in the order of `rows`, `chunks[i]` of them at a time.

        Yields:
            inputs and targets of shape (chunks[i], batch_size, ...).
        """
        fresh = np.random.default_rng([seed, 2])
        for count, rows in zip(chunks, self.rows(seed, batch_size, chunks), strict=True):
            x, y = (self.inputs[rows], self.targets[rows]) if self.draw is None else self.draw(fresh, rows)
            yield x.reshape(count, batch_size, *x.shape[1:]), y.reshape(count, batch_size, *y.shape[1:])


class Task(ABC):
    """One task: a problem that gives its data as NumPy arrays.

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


def located(text: str) -> Path | None:
    """The file or folder at a path, with ~ filled in; None where there is none."""
    try:
        path = Path(text).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):
        return None


def held_out(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Places to train on and places to hold out of `count` examples: every twentieth, or the last of fewer."""
    places = np.arange(count)
    kept = places % 20 == min(19, count - 1)
    return places[~kept], places[kept]


def windows(stream: Whole, context: int) -> tuple[Whole, Whole]:
    """A stream of tokens as examples that do not overlap: windows (n, context), and the token after each of their tokens.

    n = (len(stream) - 1) // context; a rest shorter than a window is left out.
    """
    count = (len(stream) - 1) // context
    inputs, following = (stream[start : start + count * context].reshape(count, context) for start in (0, 1))
    return inputs, following


def one_hot(labels: NDArray[np.integer], classes: int) -> Floats:
    """Labels as rows with a single one, shape (len(labels), classes)."""
    return np.eye(classes, dtype=np.float32)[labels]
