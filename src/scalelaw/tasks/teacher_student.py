"""A fixed random network is the teacher: examples without end, and a floor under the loss that is known exactly."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..trial import Value
from ._base import Draw, Floats, Task, TaskData

__all__ = ["TeacherStudent"]

TEST_EXAMPLES = 4096


class TeacherStudent(Task):
    """Learn the class probabilities of a random ReLU network (the teacher) on normal inputs.

    The targets are the teacher's probabilities themselves ("soft labels"), not classes drawn from them or its argmax: the
    lowest reachable loss is then the mean entropy of the targets, known to the last digit (`truths["floor"]` on the held-out
    inputs), the labels add no noise, and the boundary between classes is no cliff that only more width can follow.

        x ~ Normal(0, 1)^input_dim,   h_0 = x,   h_k = relu(W_k h_{k-1}),   W_k ~ Normal(0, 2 / fan_in)
        p = softmax(sharpness z),     z = the last layer's outputs, each class centred and scaled to deviation 1 over inputs

    Options:
        samples: 0 draws new examples at every step; n > 0 is a training set of n examples, gone through again and again.
        input_dim, classes: sizes of the problem.
        teacher_width, teacher_depth: hidden units per layer and hidden layers of the teacher.
        sharpness: how sure the teacher is; larger gives a lower floor.
        teacher_seed: which teacher.
    """

    name = "teacher_student"
    summary = "a fixed random network to imitate: endless examples, known lowest loss"
    defaults: Mapping[str, Value] = {
        "samples": 0,
        "input_dim": 32,
        "classes": 10,
        "teacher_width": 64,
        "teacher_depth": 2,
        "sharpness": 3.0,
        "teacher_seed": 0,
    }

    def load(self, options: Mapping[str, Value]) -> TaskData:
        """The teacher's examples; the held-out ones are the same whatever `samples` is."""
        for key, least in (("input_dim", 1), ("classes", 2), ("teacher_width", 1), ("teacher_depth", 1)):
            if int(options[key]) < least:
                raise self.wrong(key, options[key], f"Give {least} or more")
        if float(options["sharpness"]) <= 0:
            raise self.wrong("sharpness", options["sharpness"], "Give more than 0")
        dim, seed, samples = int(options["input_dim"]), int(options["teacher_seed"]), int(options["samples"])
        teacher = _Teacher(
            (dim, *[int(options["teacher_width"])] * int(options["teacher_depth"]), int(options["classes"])),
            float(options["sharpness"]),
            seed,
        )
        test_inputs = np.random.default_rng([seed, 2]).standard_normal((TEST_EXAMPLES, dim), dtype=np.float32)
        test_targets = teacher(test_inputs)
        known = np.maximum(test_targets.astype(np.float64), np.finfo(np.float64).tiny)
        truths = {"floor": float(-(known * np.log(known)).sum(axis=1).mean())}
        count = samples or TEST_EXAMPLES
        inputs = np.random.default_rng([seed, 3]).standard_normal((count, dim), dtype=np.float32)
        draw = None if samples else _fresh(teacher, dim)
        return TaskData(inputs, teacher(inputs), test_inputs, test_targets, truths, draw)


class _Teacher:
    """The fixed network: inputs (n, input_dim) -> class probabilities (n, classes)."""

    def __init__(self, sizes: tuple[int, ...], sharpness: float, seed: int) -> None:
        generator = np.random.default_rng([seed, 1])
        self.weights: list[Floats] = [
            generator.standard_normal((fan_in, fan_out), dtype=np.float32) * np.float32(math.sqrt(2 / fan_in))
            for fan_in, fan_out in itertools.pairwise(sizes)
        ]
        outputs = self._outputs(generator.standard_normal((TEST_EXAMPLES, sizes[0]), dtype=np.float32))
        deviation = np.maximum(outputs.std(axis=0), np.finfo(np.float32).tiny)
        self.centre, self.scale = outputs.mean(axis=0), np.float32(sharpness) / deviation

    def __call__(self, inputs: Floats) -> Floats:
        logits = (self._outputs(inputs) - self.centre) * self.scale
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

    def _outputs(self, inputs: Floats) -> Floats:
        return functools.reduce(lambda hidden, weight: np.maximum(hidden, 0) @ weight, self.weights[1:], inputs @ self.weights[0])


def _fresh(teacher: _Teacher, dim: int) -> Draw:
    def draw(generator: np.random.Generator, rows: NDArray[np.intp]) -> tuple[Floats, Floats]:
        inputs = generator.standard_normal((len(rows), dim), dtype=np.float32)
        return inputs, teacher(inputs)

    return draw
