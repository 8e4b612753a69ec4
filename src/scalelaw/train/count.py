"""What training a spec costs, before it is trained. Standard library and NumPy only: the driver counts without JAX."""

from __future__ import annotations

import functools
import itertools

from ..tasks import tasks
from ..trial import TrialSpec, Value
from .recipe import Recipe

__all__ = ["compute", "count", "flops", "group_size", "sizes"]


def sizes(input_dim: int, width: int, depth: int, classes: int) -> list[tuple[int, int]]:
    """(fan_in, fan_out) of every layer: `depth` hidden ones and the output."""
    edges = [input_dim, *[width] * depth, classes]
    return list(itertools.pairwise(edges))


def count(layers: list[tuple[int, int]]) -> int:
    """N: weights and biases, sum over layers of (fan_in + 1) fan_out. None is an embedding."""
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in layers)


def compute(layers: list[tuple[int, int]], batch_size: int, steps: int) -> float:
    """C: FLOPs of training, multiply and add counted apart.

    Each layer costs 2 B fan_in fan_out forward, the same for the gradient of its weights and the same for the gradient of its
    inputs; the first layer's inputs are data and need none. Biases, ReLU, the loss and Adam are left out, as is usual.
    """
    products = [2 * batch_size * fan_in * fan_out for fan_in, fan_out in layers]
    return float(steps * (3 * sum(products) - products[0]))


def flops(spec: TrialSpec) -> float:
    """C of a spec, as its trial will report it.

    Raises:
        SpecError: the trainer cannot train the spec.
    """
    recipe = Recipe.of(spec)
    input_dim, classes = _ends(recipe.task, recipe.task_options)
    return compute(sizes(input_dim, recipe.width, recipe.depth, classes), recipe.batch_size, recipe.steps)


def group_size(width: int) -> int:
    """Networks per compiled call. Small ones leave the core waiting between operations; large ones fill it, and its cache."""
    return 4 if width <= 128 else 1


@functools.cache
def _ends(task: str, options: tuple[tuple[str, Value], ...]) -> tuple[int, int]:
    """(numbers per example, classes) of a task."""
    data = tasks[task].data(dict(options))
    return data.input_dim, data.classes
